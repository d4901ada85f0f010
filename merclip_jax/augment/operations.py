"""The 13 operations of AugMix, in three families: levels, warps, blends.

Clips are planes [t, c, h, w] of whole grey levels 0..255 in uint8: what an operation
returns is rounded, so nothing is lost and a quarter is moved. Operations, strengths and
rounding are those of pytorchvideo's AugMix, which the released code uses. Statistics
are of each frame by itself, as there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.augment.warp import warp
from merclip_jax.typing import Array, Float, Int, UInt8

# Strength = (constant + slope x level), times the sign for the affine operations
STRENGTH = {
    "AutoContrast": (0.0, 0.0),
    "Equalize": (0.0, 0.0),
    "Rotate": (0.0, 3.0),
    "Posterize": (4.0, 0.0),  # 4 - int(0.4 level), and the level is at most 1
    "Solarize": (1.0, -0.1),
    "ShearX": (0.0, 0.03),
    "ShearY": (0.0, 0.03),
    "TranslateX": (0.0, 1 / 30),
    "TranslateY": (0.0, 1 / 30),
    "AdjustSaturation": (0.1, 0.18),
    "AdjustContrast": (0.1, 0.18),
    "AdjustBrightness": (0.1, 0.18),
    "AdjustSharpness": (0.1, 0.18),
}
OPERATIONS = tuple(STRENGTH)
TABLES = ("AutoContrast", "Equalize", "Posterize", "Solarize")
AFFINE = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
BLENDS = ("AdjustSaturation", "AdjustContrast", "AdjustBrightness", "AdjustSharpness")
NARROW = jnp.bfloat16  # of matrices: whole numbers to 256 are exact in it
ROUNDING = 2.0**-12  # a whole number that float32 puts just below itself is kept

Planes, Floats = UInt8[Array, "t c h w"], Float[Array, "t c h w"]
Counts, Table = Int[Array, "t c k"], Int[Array, "t c k"]
Index, Scalar = Int[Array, ""], Float[Array, ""]


def strength(operation: Index, level: Scalar, sign: Scalar) -> Scalar:
    """Returns the strength of an operation, in its own unit.

    Rotate in degrees; Posterize in bits kept; Solarize as a fraction of 255; shears
    as a slope; translations as a fraction of the side; adjustments as a blend factor.
    0 for AutoContrast and Equalize, which have none.

    Args:
        operation: index into OPERATIONS.
        level: in 0.1..1.
        sign: +-1, for affine operations alone.
    """
    constant, slope = jnp.asarray([STRENGTH[x] for x in OPERATIONS])[operation]
    signed = jnp.asarray([x in AFFINE for x in OPERATIONS])[operation]
    return (constant + slope * level) * jnp.where(signed, sign, jnp.ones_like(sign))


def operate(planes: Planes, operation: Index, level: Scalar, sign: Scalar) -> Planes:
    """Returns one clip after one operation; no other is computed.

    Args:
        planes: whole levels.
        operation: index into OPERATIONS.
        level: in 0.1..1.
        sign: +-1.
    """
    own = {
        "AutoContrast": lambda x, _: auto_contrast(x),
        "Equalize": lambda x, _: equalize(x),
        "Posterize": lambda x, _: x & jnp.uint8(0xF0),
        "Solarize": solarize,
        "AdjustSaturation": lambda x, a: blend(x, whole_grey(x), a),
        "AdjustContrast": lambda x, a: blend(x, mean_grey(x), a),
        "AdjustBrightness": lambda x, a: blend(x, jnp.zeros((1, 1, 1, 1)), a),
        "AdjustSharpness": lambda x, a: blend(x, smooth(x), a),
    }
    own |= {x: functools.partial(warp, name=x, most=most(x)) for x in AFFINE}
    amount = strength(operation, level, sign)
    return jax.lax.switch(operation, [own[x] for x in OPERATIONS], planes, amount)


def most(name: str) -> float:
    """The largest strength of an operation, at level 1."""
    return sum(STRENGTH[name])


def truncate(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Whole grey levels 0..255, rounded down."""
    return jnp.clip(jnp.floor(x + ROUNDING), 0, 255)


def auto_contrast(planes: Planes) -> Planes:
    """Spreads lowest..highest level over 0..255; one level alone stays."""
    low = planes.min((2, 3), keepdims=True).astype(jnp.float32)
    high = planes.max((2, 3), keepdims=True).astype(jnp.float32)
    # floor(255 (x - low) / (high - low)): the half keeps a quotient off the whole
    # numbers by more than the rounding of both factors, so the floor is exact.
    scale = 1 / jnp.maximum(high - low, 1)
    x = planes.astype(jnp.float32)
    spread = jnp.floor((255 * (x - low) + 0.5) * scale)
    return jnp.where(high > low, spread, x).astype(jnp.uint8)


def solarize(planes: Planes, amount: Scalar) -> Planes:
    """Inverts levels of at least int(255 amount).

    Args:
        planes: whole levels.
        amount: at most 1.
    """
    return jnp.where(
        planes >= jnp.floor(255 * amount).astype(jnp.uint8), 255 - planes, planes
    )


def equalize(planes: Planes) -> Planes:
    """Spreads levels by how many pixels of the frame and channel lie below them."""
    return read(equalizing(histograms(planes)), planes)


def equalizing(counts: Counts) -> Table:
    """Table of (pixels below + s // 2) // s; s = pixels below the highest // 255."""
    k = jnp.arange(256)[None, None]
    highest = jnp.where(counts > 0, k, 0).max(2, keepdims=True)
    below = jnp.cumsum(counts, 2) - counts
    step = jnp.where(k == highest, below, 0).sum(2, keepdims=True) // 255
    spread = jnp.minimum((below + step // 2) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, spread, k)


def histograms(planes: Planes) -> Counts:
    """Counts of the 256 levels in each frame and channel."""
    # TPUs scatter slowly and multiply matrices fast.
    return jax.lax.platform_dependent(planes, tpu=count_dense, default=count)


def count(planes: Planes) -> Counts:
    """Histograms, pixel by pixel."""
    t, c, h, w = planes.shape
    levels = planes.reshape(t * c, h * w).astype(jnp.int32)
    entries = 256 * jnp.arange(t * c)[:, None] + levels
    counts = jnp.zeros(t * c * 256, jnp.int32)
    return counts.at[entries.reshape(-1)].add(1).reshape(t, c, 256)


def digits(planes: Planes) -> tuple[Array, Array]:
    """Which of 16 is the high half byte of each level, which the low: two masks."""
    levels = planes.astype(jnp.int32)[:, :, None]
    k = jnp.arange(16).reshape(1, 1, 16, 1, 1)
    return levels >> 4 == k, levels & 15 == k


def count_dense(planes: Planes) -> Counts:
    """Histograms by matrices: pixels of each high and low half byte."""
    # Sums are exact in float32 up to 2^24 pixels.
    high, low = (x.astype(NARROW) for x in digits(planes))
    counts = jnp.einsum(
        "tcahw,tcbhw->tcab", high, low, preferred_element_type=jnp.float32
    )
    return counts.reshape(*counts.shape[:2], 256).astype(jnp.int32)


def read(table: Table, planes: Planes) -> Planes:
    """Returns table[t, c, level] of each pixel.

    Args:
        table: of levels 0..255, one of each frame and channel.
        planes: whole levels.
    """
    return jax.lax.platform_dependent(
        table,
        planes,
        tpu=look_up_dense,
        cuda=functools.partial(look_up, at_once=True),
        default=look_up,
    )


def look_up(table: Table, planes: Planes, *, at_once: bool = False) -> Planes:
    """Entries of a table, pixel by pixel; frame by frame, or all frames together."""

    def entries(args):
        table, levels = args
        index = levels.reshape(*levels.shape[:-2], -1).astype(jnp.int32)
        return jnp.take_along_axis(table, index, -1).reshape(levels.shape)

    # Behind a barrier on a GPU, which would wait for every turn of a loop; else in a
    # loop: XLA would work out the table anew for every pixel.
    table = table.astype(jnp.uint8)
    if at_once:
        return entries((jax.lax.optimization_barrier(table), planes))
    return jax.lax.map(entries, (table, planes))


def look_up_dense(table: Table, planes: Planes) -> Planes:
    """Entries of a table by matrices: a row of 16, and one of them."""
    high, low = digits(planes)
    rows = table.reshape(*table.shape[:2], 16, 16).astype(NARROW)
    found = jnp.einsum(
        "tcahw,tcab->tcbhw",
        high.astype(NARROW),
        rows,
        preferred_element_type=jnp.float32,
    )
    return jnp.where(low, found, 0).sum(2).astype(jnp.uint8)


def whole_grey(planes: Planes) -> Float[Array, "t 1 h w"]:
    """Luma of whole levels, rounded down."""
    red, green, blue = (planes[:, i : i + 1].astype(jnp.float32) for i in range(3))
    # Whole numbers below 2^24, so exact; the half keeps their quotient off the whole
    # numbers by more than its rounding.
    total = 2989 * red + 5870 * green + 1140 * blue
    return jnp.floor((total + 0.5) * np.float32(1e-4))


def mean_grey(planes: Planes) -> Float[Array, "t 1 1 1"]:
    """Mean of each frame's luma."""
    return whole_grey(planes).mean((1, 2, 3), keepdims=True)


def smooth(planes: Planes) -> Floats:
    """Rounded 3x3 average in which the centre counts 5; border pixels stay."""
    x = planes.astype(jnp.float32)
    h, w = x.shape[2:]
    wider = jnp.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = 4 * x
    for i in range(3):
        for j in range(3):
            total += wider[..., i : h + i, j : w + j].astype(jnp.float32)
    row, column = jnp.arange(h)[:, None], jnp.arange(w)[None]
    border = (row == 0) | (row == h - 1) | (column == 0) | (column == w - 1)
    return jnp.where(border[None, None], x, jnp.round(total / 13))


def blend(planes: Planes, base: Float[Array, "..."], amount: Scalar) -> Planes:
    """Returns trunc(amount x + (1 - amount) base).

    Args:
        planes: x, whole levels.
        base: what remains where the amount is 0; of the planes' rank.
        amount: the clip's own share.
    """
    x = planes.astype(jnp.float32)
    return truncate(amount * x + (1 - amount) * base).astype(jnp.uint8)
