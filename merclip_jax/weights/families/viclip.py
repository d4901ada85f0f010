"""ViCLIP (Wang et al., ICLR 2024): the released MER-CLIP takes its text tower."""

from merclip_jax.text.vocabulary import CONTEXT
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.families.family import Family, any_begin
from merclip_jax.weights.families.rules import prefixed

FAMILY = Family(
    title="ViCLIP",
    detect=lambda keys: any_begin(keys, "text_encoder.token_embedding"),
    text=prefixed(CLIP_TEXT, key="text_encoder."),
    dropped=(
        (r"vision_encoder\..*", "ViCLIP's video encoder is another model"),
        ("temp|logit_scale", "ViCLIP's temperature: MER-CLIP has its own"),
    ),
    context=CONTEXT,  # it has 32 positions, the prompts need up to 77
)
