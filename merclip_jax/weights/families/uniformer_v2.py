"""UniFormerV2 (Li et al., ICCV 2023): CLIP's ViT armed with mixers over time.

Its encoder is MER-CLIP's too: `ENCODER`, `encoder_numbers` and `encoder_of` serve both.
"""

from collections.abc import Mapping

from merclip_jax.models.mer_clip import STRUCTURES
from merclip_jax.models.uniformer_v2 import UniFormerV2, UniFormerV2Classifier
from merclip_jax.weights.families import numbers
from merclip_jax.weights.families.family import PROJECTORS, Family, any_begin
from merclip_jax.weights.families.numbers import Arrays, Shapes, Unclear
from merclip_jax.weights.families.rules import (
    BLOCK,
    DEPTHWISE,
    POINTWISE,
    QUERY,
    SAME,
    TEMPORAL,
    TUBELET,
    Rule,
    block,
    linear,
    norm,
    prefixed,
)

_MIXER = rf"{BLOCK}\.lmhra(\d)\.pos_embed"
_MIXER_PATH = "block_{0}/lmhra{1}"
_GLOBAL = r"transformer\.dec\.(\d+)"

ENCODER: list[Rule] = [
    ("class_embedding", "params/class_embedding", SAME),
    ("positional_embedding", "params/positional_embedding", SAME),
    (r"conv1\.weight", "params/patch_embed/kernel", TUBELET),
    *norm("ln_pre", "ln_pre"),
    (r"transformer\.temporal_cls_token", "params/temporal_cls_token", QUERY),
    (r"transformer\.balance", "params/balance", SAME),
    # A local MHRA is Sequential(BatchNorm, 1x1x1, 3x1x1 depthwise, 1x1x1).
    *norm(rf"{_MIXER}\.0", f"{_MIXER_PATH}/bn"),
    (rf"{_MIXER}\.0\.running_mean", f"batch_stats/{_MIXER_PATH}/bn/mean", SAME),
    (rf"{_MIXER}\.0\.running_var", f"batch_stats/{_MIXER_PATH}/bn/var", SAME),
    (rf"{_MIXER}\.1\.weight", f"params/{_MIXER_PATH}/reduce/kernel", POINTWISE),
    (rf"{_MIXER}\.1\.bias", f"params/{_MIXER_PATH}/reduce/bias", SAME),
    (rf"{_MIXER}\.2\.weight", f"params/{_MIXER_PATH}/kernel", TEMPORAL),
    (rf"{_MIXER}\.2\.bias", f"params/{_MIXER_PATH}/bias", SAME),
    (rf"{_MIXER}\.3\.weight", f"params/{_MIXER_PATH}/expand/kernel", POINTWISE),
    (rf"{_MIXER}\.3\.bias", f"params/{_MIXER_PATH}/expand/bias", SAME),
    *block(BLOCK, "block_{0}"),
    (r"transformer\.dpe\.(\d+)\.weight", "params/global_{0}/dpe_kernel", DEPTHWISE),
    (r"transformer\.dpe\.(\d+)\.bias", "params/global_{0}/dpe_bias", SAME),
    *block(_GLOBAL, "global_{0}"),
    *norm(rf"{_GLOBAL}\.ln_3", "global_{0}/ln_3"),
]

UNIFORMER_V2: list[Rule] = [
    *prefixed(ENCODER, path="encoder/"),
    # The authors keep the norm of the fused feature in the classifier's Sequential.
    *norm(r"transformer\.proj\.0", "encoder/norm"),
    *linear(r"transformer\.proj\.2", "classifier"),
]
CLASSIFIER = ("params/classifier/.*", "a classifier of the file's own classes")
NORM = ("params/encoder/norm/.*", "left at its start (norm_from_classifier=False)")


def encoder_numbers(arrays: Arrays) -> dict:
    """The numbers of a UniFormerV2 encoder, read off its arrays.

    Raises Unclear when an array that tells them is missing or odd.
    """
    found = {"encoder": "uniformer_v2"} | numbers.vit(arrays)
    at = numbers.ENCODER
    reduce, hidden = f"{at}block_0/lmhra1/reduce/bias", f"{at}global_0/mlp/c_fc/bias"
    blocks = numbers.count(arrays, rf"{at}global_(\d+)/.*")
    # The first block speaks for all: where another differs, its shapes do not fit.
    mixers = numbers.count(arrays, rf"{at}block_0/lmhra(\d)/.*", first=1)
    if blocks > found["layers"]:
        odd = next(p for p in arrays if p.startswith(f"{at}global_{blocks - 1}/"))
        layers = found["layers"]
        raise Unclear(odd, f"{blocks} global blocks, but {layers} blocks of the ViT")
    if mixers > 2:
        odd = next(p for p in arrays if p.startswith(f"{at}block_0/lmhra{mixers}/"))
        raise Unclear(odd, f"{mixers} local MHRA a block, expected at most 2")
    found |= {
        "local_mhra": mixers,
        "reduced": numbers.shape_at(arrays, reduce, 1)[0] if reduce in arrays else 0,
        "global_blocks": blocks,
        "global_hidden": 0,
        "frozen": f"{at}balance" not in arrays,
    }
    if hidden in arrays:
        found["global_hidden"] = numbers.shape_at(arrays, hidden, 1)[0]
    return found | {"structure": structure_name(found)}


def encoder_of(module: Mapping) -> UniFormerV2:
    """The encoder that numbers describe: its shapes are right, its heads a guess."""
    width, layers, blocks = module["width"], module["layers"], module["global_blocks"]
    return UniFormerV2(
        width,
        layers,
        numbers.heads(width),
        module["patch_size"],
        temporal_downsample=module["taps"] == 3,
        local_mhra=module["local_mhra"],
        # The half keeps int(width / reduction) at the number despite rounding.
        reduction=width / (module["reduced"] + 0.5),
        # Always the last ones in the published models; no shape depends on it.
        global_layers=tuple(range(layers - blocks, layers)),
        global_heads=numbers.heads(width),
        global_mlp_factor=module["global_hidden"] / width,
        frozen=module["frozen"],
    )


def numbers_of(encoder: UniFormerV2) -> dict:
    """The numbers that `encoder_numbers` reads off the arrays of an encoder.

    But for the image size, which a module takes from its clips.
    """
    width, blocks = encoder.width, len(encoder.global_layers)
    found = {
        "encoder": "uniformer_v2",
        "width": width,
        "layers": encoder.layers,
        "patch_size": encoder.patch_size,
        "taps": 3 if encoder.temporal_downsample else 1,
        "local_mhra": encoder.local_mhra,
        # 0 for what is not there, as in a file, whatever the option says.
        "reduced": int(width // encoder.reduction) if encoder.local_mhra else 0,
        "global_blocks": blocks,
        "global_hidden": round(encoder.global_mlp_factor * width) if blocks else 0,
        "frozen": encoder.frozen,
    }
    size, structure = numbers.size_name(found), structure_name(found)
    return found | {"size": size, "structure": structure}


def structure_name(module: Mapping) -> str:
    """The name of this project's structure with a module's numbers, or ""."""
    told = module["taps"] == 3, module["local_mhra"]
    for name, structure in STRUCTURES.items():
        # Not by the global blocks: their number also depends on the size.
        if told == structure[:2]:
            return name
    return ""


def _numbers(arrays: Arrays) -> dict:
    last = "params/classifier/bias"
    return encoder_numbers(arrays) | {"classes": numbers.classes(arrays, last)}


def _shapes(module: Mapping) -> Shapes:
    model = UniFormerV2Classifier(encoder_of(module), module["classes"] or 1)
    shapes = numbers.shapes_of(model, module["image_size"])
    # The module cannot be made without classes; a file without them lacks the layer.
    lacking = () if module["classes"] else ("params/classifier/",)
    return {p: shape for p, shape in shapes.items() if not p.startswith(lacking)}


FAMILY = Family(
    title="UniFormerV2",
    detect=lambda keys: any_begin(keys, "transformer.temporal_cls_token"),
    video=UNIFORMER_V2,
    numbers=_numbers,
    shapes=_shapes,
    lacks=(PROJECTORS,),
    beyond=(CLASSIFIER,),
)
