"""FDP: the authors' `.pth` files, and the models that are trained here."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from merclip_jax.models.fdp import FRAMES, MAPS, POOL, SIZES, Fdp, FdpSize
from merclip_jax.models.frame_network import GLOBAL_SHARE, divisible
from merclip_jax.weights.families import numbers
from merclip_jax.weights.families.family import Family, any_begin
from merclip_jax.weights.families.numbers import Arrays, Shapes, Unclear
from merclip_jax.weights.families.rules import (
    SAME,
    Layout,
    Rule,
    linear,
    norm,
)

CONV = Layout(axes=(2, 3, 1, 0))  # (out, in, h, w) -> (h, w, in, out)
PIXEL = Layout(squeeze=(2, 3), axes=(1, 0))  # (out, in, 1, 1) -> (in, out)
SCORER = Layout(squeeze=(1,), axes=(1, 2, 3, 0))  # (out, 1, h, w, t) -> (h, w, t, out)

_BLOCK, _PATH = r"frame_rep\.features\.(\d+)", "frames/block_{0}"


def _batch_norm(key: str, path: str) -> list[Rule]:
    """The rules of a BatchNorm with its running statistics."""
    return [
        *norm(key, path),
        (rf"{key}\.running_mean", f"batch_stats/{path}/mean", SAME),
        (rf"{key}\.running_var", f"batch_stats/{path}/var", SAME),
    ]


def _kernel(key: str, path: str, layout: Layout, *, bias: bool = False) -> list[Rule]:
    """The rules of a convolution."""
    biases = [(rf"{key}\.bias", f"params/{path}/bias", SAME)] if bias else []
    return [(rf"{key}\.weight", f"params/{path}/kernel", layout), *biases]


def _embed(key: str, path: str) -> list[Rule]:
    return [
        *_kernel(rf"{key}\.conv", f"{path}/conv", PIXEL),
        *_batch_norm(rf"{key}\.norm", f"{path}/norm"),
    ]


def _block_rules(key: str, path: str) -> list[Rule]:
    """Those of a local block and of a global one, whose names do not overlap."""
    return [
        *_embed(rf"{key}\.patch_embed", f"{path}/patch"),
        *_kernel(rf"{key}\.mhca\.group_conv3x3", f"{path}/mix/conv", CONV),
        *_batch_norm(rf"{key}\.mhca\.norm", f"{path}/mix/norm"),
        *_kernel(rf"{key}\.mhca\.projection", f"{path}/mix/project", PIXEL),
        *_batch_norm(rf"{key}\.norm", f"{path}/norm"),
        *_kernel(rf"{key}\.mlp\.conv1", f"{path}/mlp/c_fc", PIXEL, bias=True),
        *_kernel(rf"{key}\.mlp\.conv2", f"{path}/mlp/c_proj", PIXEL, bias=True),
        *_batch_norm(rf"{key}\.norm1", f"{path}/norm1"),
        *_batch_norm(rf"{key}\.norm2", f"{path}/norm2"),
        *_embed(rf"{key}\.projection", f"{path}/project"),
        *_batch_norm(rf"{key}\.e_mhsa\.norm", f"{path}/attn/norm"),
        *(
            rule
            for name in ("q", "k", "v", "proj")
            for rule in linear(rf"{key}\.e_mhsa\.{name}", f"{path}/attn/{name}")
        ),
    ]


FDP: list[Rule] = [
    *_kernel(r"frame_rep\.stem\.(\d)\.conv", "frames/stem_{0}_conv", CONV),
    *_batch_norm(r"frame_rep\.stem\.(\d)\.norm", "frames/stem_{0}_norm"),
    *_block_rules(_BLOCK, _PATH),
    *_batch_norm(r"frame_rep\.norm", "frames/norm"),
    *linear(r"frame_rep\.proj_head\.0", "frames/projection"),
    *_kernel(r"mer\.conv3d", "scorer", SCORER, bias=True),
    *linear(r"mer\.fc1", "hidden"),
    *linear(r"mer\.fc2", "classifier"),
    *_kernel(r"dyimg_net\.conv(\d+)", "decoder/conv{0}", CONV, bias=True),
    *_batch_norm(r"dyimg_net\.bn(\d+)", "decoder/bn{0}"),
    *_kernel(r"dyimg_net\.conv(\d+)d", "decoder/conv{0}d", CONV, bias=True),
    *_batch_norm(r"dyimg_net\.bn(\d+)d", "decoder/bn{0}d"),
]


def module_of(model: Fdp, *, image_size: int) -> dict:
    """The numbers of a model, as a folder of its weights keeps them.

    They are those that `FAMILY.numbers` reads off the arrays of the authors' files.

    Args:
        model: the network.
        image_size: pixels of its frames' sides.
    """
    size = model.size
    return {
        "family": "fdp",
        "size": _size_name(size),
        "stem": list(size.stem),
        "stages": list(size.stages),
        "depths": list(size.depths),
        "global_widths": list(size.global_widths) if model.global_blocks else [],
        "segnet": list(size.segnet),
        "hidden": size.hidden,
        "local": model.kind,
        "ranks": model.ranks,
        "image_size": image_size,
        "classes": model.classes,
    }


def shapes_of(model: Fdp, *, image_size: int) -> Shapes:
    """Shapes of a network's variables by Flax path; nothing is computed.

    Args:
        model: the network.
        image_size: pixels of its frames' sides.
    """
    clip = jax.ShapeDtypeStruct((1, FRAMES, image_size, image_size, 1), jnp.float32)
    return numbers.by_path(
        jax.eval_shape(
            lambda clip: model.init(jax.random.key(0), clip, train=False), clip
        )
    )


def _numbers(arrays: Arrays) -> dict:
    at = "params/frames/"
    stem = [_last(arrays, f"{at}stem_{i}_conv/kernel", 4) for i in range(3)]
    count = numbers.count(arrays, rf"{at}block_(\d+)/.*")
    blocks = [_width(arrays, f"{at}block_{i}") for i in range(count)]
    stages, depths, ends = _stages(arrays, blocks)
    decoder = [_last(arrays, f"params/decoder/conv{i}1/kernel", 4) for i in range(1, 5)]
    hidden = numbers.shape_at(arrays, "params/hidden/kernel", 2)
    features = numbers.shape_at(arrays, f"{at}projection/kernel", 2)[1]
    side = round(features**0.5)
    if side * side != features or hidden[0] != MAPS * (side // POOL) ** 2:
        raise Unclear(
            f"{at}projection/kernel", f"{features} features are no square picture"
        )
    size = FdpSize(
        tuple(stem),
        tuple(stages),
        tuple(depths),
        tuple(ends) or SIZES["released"].global_widths,
        tuple(decoder),
        hidden[1],
    )
    return {
        "size": _size_name(size),
        "stem": stem,
        "stages": stages,
        "depths": depths,
        "global_widths": ends,
        "segnet": decoder,
        "hidden": hidden[1],
        "local": "grouped" if f"{at}block_0/mix/project/kernel" in arrays else "dense",
        "ranks": "params/ranker" in arrays,
        "image_size": side,
        "classes": numbers.classes(arrays, "params/classifier/bias"),
    }


def _stages(arrays: Arrays, blocks: list[tuple[int, bool]]):
    """Widths, depths and widths of the global blocks, stage by stage.

    A stage begins where a block has a patch embedding, or after a global block.
    """
    stages, depths, ends, new = [], [], [], True
    for i, (width, attends) in enumerate(blocks):
        if attends:
            ends.append(width)
            new = True
            continue
        embeds = f"params/frames/block_{i}/patch/conv/kernel" in arrays
        if new or embeds:
            stages.append(width)
            depths.append(0)
        depths[-1] += 1
        new = False
    if len(stages) != 4 or len(ends) not in (0, 4):
        raise Unclear(
            "params/frames/block_0/mix/conv/kernel",
            f"{len(stages)} stages and {len(ends)} global blocks, expected 4 and 0 or "
            "4",
        )
    return stages, depths, ends


def _width(arrays: Arrays, path: str) -> tuple[int, bool]:
    """A block's channels, and whether it attends."""
    attends = f"{path}/attn/q/kernel" in arrays
    kernel = f"{path}/mlp/c_proj/kernel"
    return numbers.shape_at(arrays, kernel, 2)[1], attends


def _last(arrays: Arrays, path: str, rank: int) -> int:
    return numbers.shape_at(arrays, path, rank)[-1]


def _size_name(size: FdpSize) -> str:
    """The name of this project's size, "" without one."""
    return next((name for name, known in SIZES.items() if known == size), "")


def _shapes(module: Mapping) -> Shapes:
    size = FdpSize(
        tuple(module["stem"]),
        tuple(module["stages"]),
        tuple(module["depths"]),
        tuple(module["global_widths"]),
        tuple(module["segnet"]),
        module["hidden"],
    )
    for width in size.global_widths:
        if not 0 < divisible(GLOBAL_SHARE * width) < width:
            raise ValueError(f"a global block of {width} channels")
    model = Fdp(
        module["classes"] or 1,
        size,
        module["local"],
        global_blocks=1 if size.global_widths else 0,
        ranks=module["ranks"],
    )
    shapes = shapes_of(model, image_size=module["image_size"])
    lacking = () if module["classes"] else ("params/classifier/",)
    return {p: shape for p, shape in shapes.items() if not p.startswith(lacking)}


def _described(module: Mapping) -> str:
    size = module["size"] or f"stages {module['stages']}, depths {module['depths']}"
    line = f"FDP, {size}, {module['image_size']} pixels, {module['local']} local mixers"
    line += ", " + ("a" if module["global_widths"] else "no") + " global block a stage"
    return line + (f", {module['classes']} classes" if module["classes"] else "")


FAMILY = Family(
    title="FDP",
    detect=lambda keys: any_begin(keys, "frame_rep.stem.0.conv.weight"),
    video=FDP,
    numbers=_numbers,
    shapes=_shapes,
    lacks=(("params/ranker", "the file was trained without a ranking loss"),),
    describe=_described,
)
