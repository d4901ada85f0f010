"""MER-CLIP: the authors' files, and the models that are trained here."""

from collections.abc import Mapping

from merclip_jax.models.factorized_vit import FactorizedViT
from merclip_jax.models.mer_clip import MerClip
from merclip_jax.weights.families import numbers, uniformer_v2
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.families.family import Family, any_begin
from merclip_jax.weights.families.numbers import Arrays, Shapes
from merclip_jax.weights.families.rules import (
    LINEAR,
    SAME,
    Rule,
    linear,
    norm,
    prefixed,
)
from merclip_jax.weights.families.uniformer_v2 import ENCODER

_BLOCK, _HEAD = r"cls_head\.blocks\.(\d+)", "head/block_{0}"

MER_CLIP: list[Rule] = [
    ("logit_scale", "params/logit_scale", SAME),
    # `ln_post1` follows the projection, `ln_final` and `to_cls_decoder` feed the head.
    *prefixed(ENCODER, key="vision_encoder.", path="encoder/"),
    *norm(r"vision_encoder\.transformer\.norm", "encoder/norm"),
    (r"vision_encoder\.proj", "params/video_projection", SAME),
    *norm(r"vision_encoder\.ln_post1", "video_norm"),
    *norm(r"vision_encoder\.ln_final", "head_norm"),
    (
        r"vision_encoder\.to_cls_decoder\.weight",
        "params/head_projection/kernel",
        LINEAR,
    ),
    *norm(rf"{_BLOCK}\.norm", f"{_HEAD}/norm"),
    *norm(rf"{_BLOCK}\.norm_ffn", f"{_HEAD}/norm_mlp"),
    *linear(rf"{_BLOCK}\.attn\.to_qkv", f"{_HEAD}/attn/qkv"),
    *linear(rf"{_BLOCK}\.attn\.proj", f"{_HEAD}/attn/proj"),
    *linear(rf"{_BLOCK}\.ffn\.net\.0", f"{_HEAD}/mlp/c_fc"),
    *linear(rf"{_BLOCK}\.ffn\.net\.3", f"{_HEAD}/mlp/c_proj"),
    *norm(r"cls_head\.norm", "head/norm"),
    *linear(r"cls_head\.fc_cls", "head/classifier"),
]


def modules_of(model: MerClip, *, image_size: int) -> dict[str, dict]:
    """The numbers of a model's parts, as a folder of its weights keeps them.

    They are those that `FAMILY.numbers` reads off the arrays of the authors' files,
    here for every structure that can be trained.

    Args:
        model: with UniFormerV2 or FactorizedViT as its encoder.
        image_size: pixels of its clips' sides.

    Returns:
        {"video": numbers}; the text tower is frozen and no part of the model.
    """
    encoder = model.encoder
    if isinstance(encoder, FactorizedViT):
        found = _factorized(encoder)
    else:
        found = uniformer_v2.numbers_of(encoder)
    found |= {
        "family": "mer_clip",
        # Not the module's: its position table is made for the first clip it sees.
        "image_size": image_size,
        "classes": model.classes,
        "embed": model.embed,
        "head_blocks": model.head_blocks,
        "temperature": model.learn_temperature,
        "bias": model.learn_bias,
    }
    return {"video": found}


def _factorized(encoder: FactorizedViT) -> dict:
    found = {
        "encoder": "factorized_vit",
        "width": encoder.width,
        "layers": encoder.layers,
        "patch_size": encoder.patch_size,
        "taps": 1,
        "frames": encoder.frames,
        "temporal_layers": encoder.temporal_layers,
    }
    return found | {"size": numbers.size_name(found)}


def _numbers(arrays: Arrays) -> dict:
    return uniformer_v2.encoder_numbers(arrays) | {
        "classes": numbers.classes(arrays, "params/head/classifier/bias"),
        "embed": numbers.shape_at(arrays, "params/video_projection", 2)[1],
        "head_blocks": numbers.count(arrays, r"params/head/block_(\d+)/.*"),
        "temperature": "params/logit_scale" in arrays,
        "bias": False,  # the sigmoid loss's, which the authors' code does not have
    }


def _shapes(module: Mapping) -> Shapes:
    if module["encoder"] == "factorized_vit":
        width, frames = module["width"], module["frames"]
        encoder = FactorizedViT(
            width,
            module["layers"],
            numbers.heads(width),
            module["patch_size"],
            frames,
            module["temporal_layers"],
        )
    else:
        encoder, frames = uniformer_v2.encoder_of(module), 1
    model = MerClip(
        encoder,
        module["classes"] or 1,
        module["embed"],
        learn_temperature=module["temperature"],
        learn_bias=module["bias"],
        head_blocks=module["head_blocks"],
    )
    shapes = numbers.shapes_of(model, module["image_size"], frames=frames)
    # A file may hold the encoder and its projectors alone.
    lacking = () if module["classes"] else ("params/head/",)
    return {p: shape for p, shape in shapes.items() if not p.startswith(lacking)}


FAMILY = Family(
    title="MER-CLIP",
    detect=lambda keys: any_begin(
        keys, "vision_encoder.transformer.temporal_cls_token", "cls_head.fc_cls."
    ),
    video=MER_CLIP,
    text=prefixed(CLIP_TEXT, key="text_encoder."),  # ViCLIP's, frozen
    numbers=_numbers,
    shapes=_shapes,
)
