"""Warps for TPUs: sums of whole pictures, shifted, in place of reads pixel by pixel.

No pixel comes from far, and neighbours come from nearly the same way off. Clips are
planes [t, c, h, w] of whole grey levels 0..255 in uint8.
"""

import math

import jax
import jax.numpy as jnp

from merclip_jax.augment.exact import scaled
from merclip_jax.typing import Array, Float, Int, UInt8

Planes, Floats = UInt8[Array, "t c h w"], Float[Array, "t c h w"]
Picture, Places = Float[Array, "h w"], Int[Array, "h w"]
Larger = Float[Array, "t c ..."]  # with rows and columns around it
# Along an axis: the pixels that count, one or two, and their shares.
Taps = tuple[tuple[Places, Picture], ...]


def shifted(
    planes: Planes, taps: Taps, axis: int, farthest: int, spread: int
) -> Floats:
    """Returns the sum of taps times shares, along one axis.

    Args:
        planes: whole levels.
        taps: pixels of the axis and their shares.
        axis: 2 for rows, 3 for columns.
        farthest: no pixel comes from farther away.
        spread: no two pixels come from ways that differ more.
    """
    n = planes.shape[axis]
    farthest, spread = farthest + 1, spread + 1  # places are rounded
    away = [(place - along(planes, axis), share) for place, share in taps]
    nearest = away[0][0].min()
    # The whole shift that all pixels share, once.
    x = padded(planes.astype(jnp.float32), axis, farthest, farthest + spread + 1)
    x = jax.lax.dynamic_slice_in_dim(x, nearest + farthest, n + spread + 1, axis)
    image = jnp.zeros(planes.shape)
    for k in range(spread + 2):
        share = sum(jnp.where(shift == nearest + k, part, 0) for shift, part in away)
        image += share[None, None] * jax.lax.slice_in_dim(x, k, k + n, axis=axis)
    return image


def along(planes: Planes, axis: int) -> Int[Array, "h w"]:
    """The row (axis 2) or the column (axis 3) of each pixel."""
    return jax.lax.broadcasted_iota(jnp.int32, planes.shape[2:], axis - 2)


def padded(x: Larger, axis: int, before: int, after: int) -> Larger:
    """Zeros before and after, along an axis."""
    return jnp.pad(x, [(before, after) if i == axis else (0, 0) for i in range(4)])


def rotated(
    planes: Planes, rows: Taps, columns: Taps, amount: Float[Array, ""], most: float
) -> Floats:
    """Returns the sum of corners times shares, turned by a few degrees.

    A row is moved as a whole, and so is a column: powers of two do it, and what is
    left is a matter of the next pixels.

    Args:
        planes: whole levels.
        rows, columns: pixels and shares.
        amount: degrees.
        most: the largest.
    """
    h, w = planes.shape[2:]
    sin = jnp.sin(jnp.deg2rad(amount))
    steep, flat = math.sin(math.radians(most)), 1 - math.cos(math.radians(most))

    # How far down a column is read, and how far to the right a row: about the centre.
    def down(column):
        return whole(scaled(column.astype(jnp.float32) + (0.5 - w / 2), sin))

    def right(row):
        return whole(scaled(row.astype(jnp.float32) + (0.5 - h / 2), -sin))

    longest = max(h, w) / 2
    farthest = math.ceil(steep * longest) + 1
    # What is left over is little: the picture's other side is turned a little off, and
    # a pixel is looked for in the row and column that it comes from.
    left_over = math.floor((flat + steep**2) * longest + 3 * steep) + 1
    near = range(-left_over, left_over + 2)  # the second tap is one further
    reach = left_over + 2
    x = planes.astype(jnp.float32)
    for axis in (2, 3):
        x = padded(x, axis, farthest + reach, 2 * farthest + reach)
    column = jnp.arange(x.shape[3])[None] - farthest - reach
    x = slid(x, down(column) + farthest, 2, 2 * farthest)
    row = jnp.arange(x.shape[2])[:, None] - reach
    x = slid(x, right(row) + farthest, 3, 2 * farthest)
    places = []
    for i, vertical in rows:
        for j, horizontal in columns:
            p = i - along(planes, 2) - down(j)
            q = j - along(planes, 3) - right(along(planes, 2) + p)
            places.append((p, q, vertical * horizontal))
    image = jnp.zeros(planes.shape)
    for i in near:
        for j in near:
            share = sum(jnp.where((p == i) & (q == j), s, 0) for p, q, s in places)
            away = x[..., reach + i : reach + i + h, reach + j : reach + j + w]
            image += share[None, None] * away
    return image


def whole(x: Picture) -> Places:
    """The whole number below."""
    return jnp.floor(x).astype(jnp.int32)


def slid(x: Larger, offsets: Int[Array, "h w"], axis: int, most: int) -> Larger:
    """Returns x[k + offset] along an axis, offsets being the same all along it.

    Args:
        x: as much of it falls away as the offsets may be.
        offsets: 0..most, of size 1 along the axis.
        axis: 2 or 3.
        most: the largest.
    """
    # Powers of two: four moves of all pixels, not one for each offset there is.
    kept = x.shape[axis] - most
    for bit in reversed(range(most.bit_length())):
        step = 1 << bit
        # What is left to move is less than this step.
        size = min(x.shape[axis], kept + step - 1)
        moved = ((offsets & step) > 0)[None, None]
        further = padded(x, axis, 0, step)
        further = jax.lax.slice_in_dim(further, step, step + size, axis=axis)
        x = jnp.where(moved, further, jax.lax.slice_in_dim(x, 0, size, axis=axis))
    return x
