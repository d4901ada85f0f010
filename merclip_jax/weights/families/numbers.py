"""Fits placed arrays to a module's shapes, and says what became of every one."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.factorized_vit import FactorizedViT
from merclip_jax.models.mer_clip import SIZES, STRUCTURES, MerClip, Size
from merclip_jax.models.uniformer_v2 import UniFormerV2, UniFormerV2Classifier
from merclip_jax.weights.match import Placement, Why, flatten

Shapes = dict[str, tuple[int, ...]]
HEAD_DIM = 64  # of every published tower; no shape depends on it
_POSITIONS = "params/encoder/positional_embedding"
_PATCHES = "params/encoder/patch_embed/kernel"
_LAST = "params/head/classifier/"


@dataclasses.dataclass
class Fit:
    """Arrays float32 by Flax path, and the account of every path and key.

    used: path -> keys of the file; changed: path -> how; initialised: path -> why the
    file has nothing for it; dropped: key -> why; problems: what nobody can explain.
    """

    arrays: dict[str, np.ndarray]
    shapes: Shapes
    used: dict[str, tuple[str, ...]]
    changed: dict[str, str]
    initialised: dict[str, str]
    dropped: dict[str, str]
    problems: list[str]

    def parameters(self, paths: Iterable[str]) -> int:
        """How many parameters lie under some paths; BN statistics are none."""
        return sum(int(self.arrays[p].size) for p in paths if p.startswith("params/"))


def fit(
    placed: Placement,
    shapes: Shapes,
    *,
    fresh: Sequence[Why] = (),
    unused: Sequence[Why] = (),
    switch: str = "--new_head",
) -> Fit:
    """The arrays as `shapes` want them.

    `fresh` are paths that the file need not have, `unused` paths whose arrays are left
    aside, `switch` what a user sets to start the last layer anew. Adapted are: position
    embeddings of another resolution, patch kernels without time, text positions that
    end early. Anything else that differs is a problem.
    """
    fitted = Fit({}, shapes, {}, {}, {}, dict(placed.dropped), list(placed.problems))
    met = set(placed.bad)
    for path, array in placed.arrays.items():
        keys = placed.keys[path]
        shown = " + ".join(keys)
        if why := _reason(path, unused):
            fitted.dropped |= dict.fromkeys(keys, why)
        elif path not in shapes:
            fitted.problems.append(f"{shown}: this model has no {path}")
        else:
            met.add(path)
            array, note = adapt(path, array, shapes[path])
            if array.shape == shapes[path]:
                fitted.arrays[path] = array
                fitted.used[path] = keys
                fitted.changed |= {path: note} if note else {}
            else:
                hint = f" ({switch} starts it anew)" if path.startswith(_LAST) else ""
                fitted.problems.append(
                    f"{shown}: {array.shape} does not fit {path} {shapes[path]}{hint}"
                )
    for path in sorted(shapes.keys() - met):
        if why := _reason(path, fresh):
            fitted.initialised[path] = why
        else:
            fitted.problems.append(f"{path}: missing from the file")
    return fitted


def adapt(
    path: str, array: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, str]:
    """An array as float32 and in `shape`, where a rule says how; and what was done."""
    notes = []
    if array.dtype != np.float32:
        notes.append(f"{array.dtype} to float32")
        array = array.astype(np.float32)
    if array.shape == shape or array.ndim != len(shape):
        return array, ", ".join(notes)
    if path == _POSITIONS and array.shape[1] == shape[1]:
        sides = [math.isqrt(n - 1) for n in (len(array), shape[0])]
        if [s * s + 1 for s in sides] == [len(array), shape[0]]:
            array = resize_positions(array, sides[1])
            notes.append(f"bicubic, {sides[0]}x{sides[0]} to {sides[1]}x{sides[1]}")
    elif path == _PATCHES and (1, *shape[1:]) == array.shape and shape[0] == 3:
        array = np.concatenate([np.zeros_like(array), array, np.zeros_like(array)])
        notes.append("inflated: middle tap of time, zeros before and after")
    elif path == "params/positional_embedding" and array.shape[1] == shape[1]:
        if len(array) < shape[0]:
            notes.append(f"{shape[0] - len(array)} rows of zeros after {len(array)}")
            array = np.pad(array, [(0, shape[0] - len(array)), (0, 0)])
    return array, ", ".join(notes)


def resize_positions(table: np.ndarray, side: int) -> np.ndarray:
    """A position table [1 + s*s, d] for side x side patches, as torch's bicubic."""
    old = math.isqrt(len(table) - 1)
    grid = jnp.asarray(table[1:]).reshape(old, old, -1)
    grid = jax.image.resize(
        grid, (side, side, grid.shape[-1]), "cubic-pytorch", antialias=False
    )
    return np.concatenate([table[:1], np.asarray(grid).reshape(side * side, -1)])


def video_shapes(family: str, module: Mapping) -> Shapes:
    """Shapes of the module that a file's own numbers describe (`video_module`)."""
    width, patch = module["width"], module["patch_size"]
    side = module["image_size"]
    heads = _heads(width)
    if family == "clip":
        vit = FactorizedViT(width, module["layers"], heads, patch, 1, temporal_layers=0)
        ours = ("params/temporal_", "params/norm/")
        return {
            path.replace("/", "/encoder/", 1): shape
            for path, shape in shapes_of(vit, side).items()
            if not path.startswith(ours)
        }
    if module["encoder"] == "factorized_vit":
        encoder = FactorizedViT(
            width,
            module["layers"],
            heads,
            patch,
            module["frames"],
            module["temporal_layers"],
        )
    else:
        encoder = _uniformer(module, heads)
    classes = module["classes"]
    if family == "uniformer_v2":
        shapes = shapes_of(UniFormerV2Classifier(encoder, classes or 1), side)
        lacking = () if classes else ("params/classifier/",)
    else:
        model = MerClip(
            encoder,
            classes or 1,
            module["embed"],
            learn_temperature=module["temperature"],
            learn_bias=module["bias"],
            head_blocks=module["head_blocks"],
        )
        shapes = shapes_of(model, side, frames=module.get("frames", 1))
        lacking = () if classes else ("params/head/",)
    return {p: shape for p, shape in shapes.items() if not p.startswith(lacking)}


def _uniformer(module: Mapping, heads: int) -> UniFormerV2:
    width, blocks = module["width"], module["global_blocks"]
    return UniFormerV2(
        width,
        module["layers"],
        heads,
        module["patch_size"],
        temporal_downsample=module["taps"] == 3,
        local_mhra=module["local_mhra"],
        reduction=width / (module["reduced"] + 0.5),
        global_layers=tuple(range(module["layers"] - blocks, module["layers"])),
        global_heads=heads,
        global_mlp_factor=module["global_hidden"] / width,
        frozen=module["frozen"],
    )


def text_shapes(module: Mapping) -> Shapes:
    """Shapes of the text tower that a file's own numbers describe (`text_module`)."""
    tower = ClipText(
        module["vocabulary"],
        module["context"],
        module["width"],
        module["layers"],
        _heads(module["width"]),
        module["out"],
    )
    ids = jnp.zeros((1, 1), jnp.int32)
    return _flat(jax.eval_shape(lambda: tower.init(jax.random.key(0), ids)))


def shapes_of(model, image_size: int, *, frames: int = 1) -> Shapes:
    """Shapes of a video module's variables by Flax path; nothing is computed."""
    clip = jax.ShapeDtypeStruct((1, frames, image_size, image_size, 3), jnp.float32)
    return _flat(
        jax.eval_shape(
            lambda clip: model.init(jax.random.key(0), clip, train=False), clip
        )
    )


def size_name(module: Mapping) -> str:
    """The name of this project's size with these numbers, "" without one."""
    for name, size in SIZES.items():
        if (size.width, size.layers, size.patch_size) == (
            module["width"],
            module["layers"],
            module["patch_size"],
        ):
            return name
    return ""


def structure_name(module: Mapping) -> str:
    """The name of this project's UniFormerV2 structure with these numbers, or ""."""
    for name, structure in STRUCTURES.items():
        downsample, local_mhra = module["taps"] == 3, module["local_mhra"]
        if (downsample, local_mhra) == structure[:2]:
            return name
    return ""


def text_tower(size: Size, module: Mapping) -> ClipText:
    """The text tower of a size, for a file's vocabulary and context."""
    return ClipText(
        module["vocabulary"],
        module["context"],
        size.text_width,
        size.text_layers,
        size.text_heads,
        size.embed,
    )


def _flat(tree: Mapping) -> Shapes:
    return {path: tuple(leaf.shape) for path, leaf in flatten(tree).items()}


def _heads(width: int) -> int:
    return 1 if width % HEAD_DIM else width // HEAD_DIM


def _reason(path: str, reasons: Sequence[Why]) -> str:
    return next((why for pattern, why in reasons if re.fullmatch(pattern, path)), "")
