"""What the families' files share: reading a module's numbers off its arrays.

For foreign files alone. Folders of our own say their numbers (`bundle`).
"""

import math
import re
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from merclip_jax.models.mer_clip import SIZES

Shapes = dict[str, tuple[int, ...]]
Arrays = Mapping[str, np.ndarray]
ENCODER = "params/encoder/"
BLOCKS = 128  # more than any published model has of anything
HEAD_DIM = 64  # of every published tower; no shape depends on it


class Unclear(ValueError):
    """The array at a Flax path, which should tell the structure, lacks or is odd."""

    def __init__(self, path: str, why: str):
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


def shape_at(arrays: Arrays, path: str, rank: int) -> tuple[int, ...]:
    """The shape of an array that must be there.

    Args:
        arrays: by Flax path.
        path: its own.
        rank: the axes that it must have, none of them empty.

    Returns:
        The shape.

    Raises:
        Unclear: it is not there or another.
    """
    if path not in arrays:
        raise Unclear(path, "missing from the file")
    shape = arrays[path].shape
    # Checked before anything is unpacked: a damaged file must not end in a traceback.
    if len(shape) != rank or 0 in shape:
        raise Unclear(path, f"expected {rank} axes with entries, got shape {shape}")
    return shape


def count(paths: Iterable[str], pattern: str, *, first: int = 0) -> int:
    """How many numbered things there are.

    Args:
        paths: where they are looked for.
        pattern: a regular expression whose group is the number.
        first: the number that counting starts from.

    Returns:
        The largest number and one, less `first`; 0 without any.

    Raises:
        Unclear: a number is beyond that of any model's blocks.
    """
    largest = first - 1
    for path in paths:
        match = re.fullmatch(pattern, path)
        # A module of a million blocks would be made before anything is compared.
        if match and (len(match[1]) > 9 or int(match[1]) > BLOCKS):
            raise Unclear(path, f"a block of the number {match[1][:12]}")
        if match:
            largest = max(largest, int(match[1]))
    # By the largest, not by how many: then a hole shows as arrays that are missing.
    return largest + 1 - first


def vit(arrays: Arrays) -> dict:
    """The numbers of the ViT that every video encoder here is built on.

    Raises Unclear when an array that tells them is missing or odd.
    """
    taps, patch, _, _, width = shape_at(arrays, f"{ENCODER}patch_embed/kernel", 5)
    positions = f"{ENCODER}positional_embedding"
    tokens, _ = shape_at(arrays, positions, 2)
    if tokens < 2:
        raise Unclear(positions, f"{tokens} rows, expected one and a square number")
    found = {
        "width": width,
        "layers": count(arrays, rf"{ENCODER}block_(\d+)/.*"),
        "patch_size": patch,
        # One row is the class token's; a grid that is no square fails at the shapes.
        "image_size": math.isqrt(tokens - 1) * patch,
        "taps": taps,
    }
    return found | {"size": size_name(found)}


def classes(arrays: Arrays, path: str) -> int | None:
    """How many classes a last layer has.

    Args:
        arrays: by Flax path.
        path: of the last layer's bias.

    Returns:
        Their number, None when the file has no such layer.
    """
    return shape_at(arrays, path, 1)[0] if path in arrays else None


def size_name(module: Mapping) -> str:
    """The name of this project's size with a module's numbers, "" without one."""
    told = module["width"], module["layers"], module["patch_size"]
    for name, size in SIZES.items():
        if (size.width, size.layers, size.patch_size) == told:
            return name
    return ""


def heads(width: int) -> int:
    """Heads of a published tower of a width."""
    # No file says its heads. Small made models need a number that divides the width.
    return 1 if width % HEAD_DIM else width // HEAD_DIM


def shapes_of(model: nn.Module, image_size: int, *, frames: int = 1) -> Shapes:
    """Shapes of a video module's variables; nothing is computed.

    Args:
        model: takes clips [b, t, h, w, 3].
        image_size: pixels of a side.
        frames: how many a clip has.

    Returns:
        Flax path -> shape.
    """
    # An argument, not a constant: `eval_shape` then allocates nothing.
    clip = jax.ShapeDtypeStruct((1, frames, image_size, image_size, 3), jnp.float32)
    return by_path(
        jax.eval_shape(
            lambda clip: model.init(jax.random.key(0), clip, train=False), clip
        )
    )


def by_path(tree: Mapping) -> Shapes:
    """The shapes of a tree's leaves."""
    return {p: tuple(leaf.shape) for p, leaf in flatten_dict(tree, sep="/").items()}
