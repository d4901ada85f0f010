"""The few ways in which an array may differ from what a module wants."""

import math

import jax
import jax.numpy as jnp
import numpy as np

_POSITIONS = "params/encoder/positional_embedding"
_PATCHES = "params/encoder/patch_embed/kernel"
_TEXT_POSITIONS = "params/positional_embedding"


def adapt(
    path: str, array: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, str]:
    """An array as float32 and in another shape, where there is a way.

    Args:
        path: where it goes, which decides what may be done.
        array: as the file has it.
        shape: as the module wants it.

    Returns:
        The array, in its old shape where there is no way, and what was done or "".
    """
    notes = []
    if array.dtype != np.float32:
        notes.append(f"{array.dtype} to float32")
        array = array.astype(np.float32)
    # From here on each rule is for one path: by shape alone a table of positions may
    # look like any other matrix.
    if array.shape == shape or array.ndim != len(shape):
        return array, ", ".join(notes)
    if path == _POSITIONS and array.shape[1] == shape[1]:
        # Square grids only; the class token's row has no place in the picture.
        sides = [math.isqrt(n - 1) for n in (len(array), shape[0])]
        if [s * s + 1 for s in sides] == [len(array), shape[0]]:
            array = resize_positions(array, sides[1])
            notes.append(f"bicubic, {sides[0]}x{sides[0]} to {sides[1]}x{sides[1]}")
    elif path == _PATCHES and (1, *shape[1:]) == array.shape and shape[0] == 3:
        # Zero beside the frame itself, so that at first the video encoder sees every
        # frame as the image tower did.
        array = np.concatenate([np.zeros_like(array), array, np.zeros_like(array)])
        notes.append("inflated: middle tap of time, zeros before and after")
    elif path == _TEXT_POSITIONS and array.shape[1] == shape[1]:
        # Rows that the tower never learned; MER-CLIP's released code has zeros too.
        if len(array) < shape[0]:
            notes.append(f"{shape[0] - len(array)} rows of zeros after {len(array)}")
            array = np.pad(array, [(0, shape[0] - len(array)), (0, 0)])
    return array, ", ".join(notes)


def resize_positions(table: np.ndarray, side: int) -> np.ndarray:
    """A position table for other patches, as torch's bicubic interpolation gives it.

    Args:
        table: [1 + s*s, d], the class token's row first.
        side: patches of a side.

    Returns:
        The table [1 + side*side, d]; the first row is as it was.
    """
    old = math.isqrt(len(table) - 1)
    grid = jnp.asarray(table[1:]).reshape(old, old, -1)
    grid = jax.image.resize(
        grid, (side, side, grid.shape[-1]), "cubic-pytorch", antialias=False
    )
    return np.concatenate([table[:1], np.asarray(grid).reshape(side * side, -1)])
