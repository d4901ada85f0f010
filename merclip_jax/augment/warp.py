"""AugMix's rotations, shears and translations: bilinear, black outside.

Clips are planes [t, c, h, w] of whole grey levels 0..255 in uint8.
"""

import functools
import math

import jax
import jax.numpy as jnp

from merclip_jax.augment.exact import halves, scaled
from merclip_jax.augment.shifts import Taps, rotated, shifted
from merclip_jax.typing import Array, Float, UInt8

Planes, Floats = UInt8[Array, "t c h w"], Float[Array, "t c h w"]
Scalar = Float[Array, ""]
# Pixels come from other rows, and from other columns.
ROWS, COLUMNS = ("Rotate", "ShearY", "TranslateY"), ("Rotate", "ShearX", "TranslateX")


def inverse_map(name: str, amount: Scalar, height: int, width: int) -> tuple:
    """Returns the matrix from output (x, y, 1) to input (x, y), about the centre.

    Args:
        name: of the operation.
        amount: its strength.
        height, width: of a frame in pixels, the unit of the matrix.

    Returns:
        Rows of three numbers.
    """
    if name == "Rotate":
        cos, sin = jnp.cos(jnp.deg2rad(amount)), jnp.sin(jnp.deg2rad(amount))
        return (cos, -sin, 0.0), (sin, cos, 0.0)
    # Shears turn about the top row and the left column: so does pytorchvideo.
    moved = {
        "ShearX": (1.0, amount, scaled(height / 2, amount)),
        "ShearY": (amount, 1.0, scaled(width / 2, amount)),
        "TranslateX": (1.0, 0.0, scaled(width, amount)),
        "TranslateY": (0.0, 1.0, scaled(height, amount)),
    }[name]
    still = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    return (moved, still[1]) if name in COLUMNS else (still[0], moved)


def sources(name: str, amount: Scalar, height: int, width: int) -> tuple[Taps, Taps]:
    """Returns the rows and the columns that each output pixel comes from.

    Args:
        name: of the operation.
        amount: its strength.
        height, width: of a frame.
    """
    (xx, xy, x1), (yx, yy, y1) = inverse_map(name, amount, height, width)
    x = (jnp.arange(width, dtype=jnp.float32) + (0.5 - width / 2))[None]
    y = (jnp.arange(height, dtype=jnp.float32) + (0.5 - height / 2))[:, None]

    def taps(place, moved):
        first = jnp.floor(place)
        index, past = first.astype(jnp.int32), place - first
        # Where nothing moves, nothing lies between two pixels.
        return ((index, 1 - past), (index + 1, past))[: 2 if moved else 1]

    row = scaled(x, yx) + scaled(y, yy) + y1 + (height / 2 - 0.5)
    column = scaled(x, xx) + scaled(y, xy) + x1 + (width / 2 - 0.5)
    return taps(row, name in ROWS), taps(column, name in COLUMNS)


def warp(planes: Planes, amount: Scalar, *, name: str, most: float) -> Planes:
    """Returns the clip rotated, sheared or shifted.

    Args:
        planes: whole levels.
        amount: strength of the operation.
        name: of the operation.
        most: the largest strength there is.
    """
    h, w = planes.shape[2:]
    rows, columns = sources(name, amount, h, w)

    def by_shifts(planes, rows, columns):
        return dense(planes, rows, columns, name, amount, most)

    # TPUs gather slowly, and no pixel comes from far. A GPU would wait for every turn
    # of a loop over frames.
    image = jax.lax.platform_dependent(
        planes,
        rows,
        columns,
        tpu=by_shifts,
        cuda=functools.partial(by_gathers, at_once=True),
        default=by_gathers,
    )
    # `mask` is what the picture covers of each pixel. pytorchvideo fills the rest with
    # 0.5, meant for values 0..1: on 0..255 it is black.
    mask = sum(share for _, _, share in corners(rows, columns))[None, None]
    # One rounding at a time: where two are one, halves would go to another side.
    covered = jnp.where(mask == 1, image, image * mask)
    return jnp.clip(jnp.round(covered + 0.5 * (1 - mask)), 0, 255).astype(jnp.uint8)


def corners(rows: Taps, columns: Taps) -> list:
    """Returns (row, column, share) of each corner, a share of 0 outside the picture.

    Args:
        rows, columns: of `sources`.
    """
    h, w = rows[0][0].shape
    found = []
    for i, vertical in rows:
        for j, horizontal in columns:
            inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
            found.append((i, j, jnp.where(inside, vertical * horizontal, 0)))
    return found


def by_gathers(
    planes: Planes, rows: Taps, columns: Taps, *, at_once: bool = False
) -> Floats:
    """Returns the sum of corners times shares, read pixel by pixel.

    Args:
        planes: whole levels.
        rows, columns: of `sources`.
        at_once: all frames together; else one by one, which computes places and shares
            once for all of them.
    """
    t, c, h, w = planes.shape
    taps = [
        (jnp.clip(i, 0, h - 1) * w + jnp.clip(j, 0, w - 1), *halves(share))
        for i, j, share in corners(rows, columns)
    ]

    def gathered(pixels):
        image = jnp.zeros(pixels.shape)
        for index, high, low in taps:
            found = jnp.take(pixels, index.reshape(-1), axis=1, mode="clip")
            found = found.astype(jnp.float32)
            image += found * high.reshape(1, -1) + found * low.reshape(1, -1)
        return image

    if at_once:
        return gathered(planes.reshape(t * c, h * w)).reshape(planes.shape)
    frames = planes.reshape(t, c, h * w)
    return jax.lax.map(gathered, frames).reshape(planes.shape)


def dense(
    planes: Planes, rows: Taps, columns: Taps, name: str, amount: Scalar, most: float
) -> Floats:
    """Returns the sum of corners times shares, as a sum of shifted pictures.

    Args:
        planes: whole levels.
        rows, columns: of `sources`.
        name: of the operation.
        amount: its strength.
        most: the largest strength there is.
    """
    h, w = planes.shape[2:]
    if name == "Rotate":
        return rotated(planes, rows, columns, amount, most)
    taps, axis = (rows, 2) if name in ROWS else (columns, 3)
    if name.startswith("Translate"):
        return shifted(planes, taps, axis, math.ceil(most * (h, w)[axis - 2]), 0)
    # A shear moves a row, or a column, by its distance from the first one.
    farthest = math.ceil(most * (w, h)[axis - 2])
    return shifted(planes, taps, axis, farthest, farthest)
