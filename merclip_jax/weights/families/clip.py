"""CLIP (Radford et al., ICML 2021) under the names of OpenAI and open_clip.

Hugging Face's names become these in `hugging_face`.
"""

from collections.abc import Collection, Mapping

from merclip_jax.models.factorized_vit import FactorizedViT
from merclip_jax.weights.families import numbers
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.families.family import PROJECTORS, Family, any_begin
from merclip_jax.weights.families.numbers import Arrays, Shapes
from merclip_jax.weights.families.rules import (
    BLOCK,
    PATCH,
    SAME,
    Rule,
    block,
    norm,
    prefixed,
)

PROJECTION = "params/image_projection"  # beside the encoder, as in the AU detector

CLIP_VISUAL: list[Rule] = [
    (r"visual\.proj", PROJECTION, SAME),
    *prefixed(
        [
            ("class_embedding", "params/class_embedding", SAME),
            ("positional_embedding", "params/positional_embedding", SAME),
            (r"conv1\.weight", "params/patch_embed/kernel", PATCH),
            *norm("ln_pre", "ln_pre"),
            *norm("ln_post", "ln_post"),
            *block(BLOCK, "block_{0}"),
        ],
        key="visual.",
        path="encoder/",
    ),
]
DROPPED = (
    ("logit_scale", "CLIP's temperature: every model here has its own"),
    ("logit_bias", "CLIP's bias: every model here has its own"),
    (r"(input_resolution|context_length|vocab_size)", "a number, seen in the shapes"),
    (r"(.*\.)?(attn_mask|position_ids)", "a constant that is computed here"),
)
# What a MER-CLIP that starts from CLIP has no place for.
OWN_PROJECTION = (PROJECTION, "CLIP's image projection: MER-CLIP learns its own")
LN_POST = ("params/encoder/ln_post/.*", "CLIP's last norm: UniFormerV2 has none")
LACKS = (
    (r"(params|batch_stats)/encoder/block_\d+/lmhra\d/.*", "CLIP has no local MHRA"),
    (r"params/encoder/global_\d+/.*", "CLIP has no global blocks"),
    ("params/encoder/(temporal_cls_token|balance)", "CLIP has no global blocks"),
    ("params/encoder/temporal_.*", "CLIP has no blocks over time"),
    # ln_post norms a picture's feature before the projection, not the clip's.
    ("params/encoder/norm/.*", "CLIP has no norm of the clip's feature"),
)


def _detect(keys: Collection[str]) -> bool:
    if any_begin(keys, "visual.conv1", "vision_model.embeddings"):
        return True
    if any_begin(keys, "text_model.embeddings"):
        return True
    # A text tower alone has no name of its own beside these two.
    return any_begin(keys, "token_embedding.weight") and any_begin(
        keys, "transformer.resblocks."
    )


def _numbers(arrays: Arrays) -> dict:
    # A tower of pictures: no encoder of clips until `--into` or a training fits it.
    found = {"encoder": "clip_vit", "classes": None} | numbers.vit(arrays)
    # A tower that was cut out may have left it behind.
    if PROJECTION in arrays:
        found["embed"] = numbers.shape_at(arrays, PROJECTION, 2)[1]
    return found


def _shapes(module: Mapping) -> Shapes:
    """Of the factorised encoder without its blocks over time: what is left is CLIP."""
    width = module["width"]
    vit = FactorizedViT(
        width,
        module["layers"],
        numbers.heads(width),
        module["patch_size"],
        frames=1,
        temporal_layers=0,
    )
    ours = ("params/temporal_", "params/norm/")
    shapes = {
        path.replace("/", "/encoder/", 1): shape
        for path, shape in numbers.shapes_of(vit, module["image_size"]).items()
        if not path.startswith(ours)
    }
    # Folders of earlier versions were made without it.
    if "embed" in module:
        shapes[PROJECTION] = (width, module["embed"])
    return shapes


FAMILY = Family(
    title="CLIP",
    detect=_detect,
    video=CLIP_VISUAL,
    text=CLIP_TEXT,
    numbers=_numbers,
    shapes=_shapes,
    dropped=DROPPED,
    lacks=(PROJECTORS, *LACKS),
    beyond=(LN_POST, OWN_PROJECTION),
)
