"""The 13 operations of AugMix, in three families: look-up tables, warps, blends.

Clips are float32 [t, h, w, 3] of whole grey levels 0..255. Operations, strengths and
rounding are those of pytorchvideo's AugMix, which the released code uses. Histograms
and means are of each frame by itself, as there.
"""

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.typing import Array, Float, Int

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
# Under `vmap` over members a choice becomes a select that computes every branch. So
# the 13 operations are three families, and a choice within one is made of its
# parameters (a table, a matrix, a base): an operation costs three branches, not 13.
TABLES = ("AutoContrast", "Equalize", "Posterize", "Solarize")
AFFINE = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
BLENDS = ("AdjustSaturation", "AdjustContrast", "AdjustBrightness", "AdjustSharpness")
# Rank 5 in NumPy: a constant of the program, to compare pixels with.
ALL_LEVELS = np.arange(256, dtype=np.int32).reshape(1, 1, 1, 1, 256)
ROUNDING = 2.0**-12  # a whole number that float32 puts just below itself is kept

Clip, Levels = Float[Array, "t h w c"], Int[Array, "t h w c"]
Table, Counts = Float[Array, "t c k"], Int[Array, "t c k"]
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


def truncate(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Whole grey levels 0..255, rounded down."""
    return jnp.clip(jnp.floor(x + ROUNDING), 0, 255)


def place(names: tuple[str, ...], operation: Index) -> Index:
    """Returns the position of an operation in a family.

    Args:
        names: the family, such as TABLES.
        operation: index into OPERATIONS; 0 is returned for one of another family.
    """
    places = [names.index(x) if x in names else 0 for x in OPERATIONS]
    return jnp.asarray(places, jnp.int32)[operation]


def entries(levels: Levels) -> Levels:
    """Where each pixel's entry is in a table [t, c, 256], flattened."""
    t, _, _, c = levels.shape
    rows = jnp.arange(t)[:, None, None, None] * c + jnp.arange(c)[None, None, None]
    return 256 * rows + levels


def histograms(levels: Levels) -> Counts:
    """Counts of the 256 levels in each frame and channel."""
    t, _, _, c = levels.shape

    # TPUs scatter and gather slowly; comparing with all 256 levels is more arithmetic,
    # but dense. Elsewhere the scatter wins.
    def scatter(x):
        counts = jnp.zeros(t * c * 256, jnp.int32)
        return counts.at[entries(x).reshape(-1)].add(1).reshape(t, c, 256)

    def compare(x):
        return (x[..., None] == ALL_LEVELS).sum((1, 2), dtype=jnp.int32)

    return jax.lax.platform_dependent(levels, tpu=compare, default=scatter)


def read(table: Table, levels: Levels) -> Clip:
    """Returns table[t, c, level] of each pixel.

    Args:
        table: one of each frame and channel.
        levels: whole numbers 0..255.
    """

    def gather(table, x):
        return table.reshape(-1)[entries(x)]

    def compare(table, x):
        return jnp.where(x[..., None] == ALL_LEVELS, table[:, None, None], 0).sum(-1)

    return jax.lax.platform_dependent(table, levels, tpu=compare, default=gather)


def auto_contrast(counts: Counts) -> Counts:
    """Table that spreads lowest..highest level over 0..255; one level alone stays."""
    k = jnp.arange(256)[None, None]
    low = jnp.where(counts > 0, k, 255).min(2, keepdims=True)
    high = jnp.where(counts > 0, k, 0).max(2, keepdims=True)
    spread = (k - low) * 255 // jnp.maximum(high - low, 1)
    return jnp.where(high > low, spread, k)


def equalize(counts: Counts) -> Counts:
    """Table of (pixels below + s // 2) // s; s = pixels below the highest // 255."""
    k = jnp.arange(256)[None, None]
    highest = jnp.where(counts > 0, k, 0).max(2, keepdims=True)
    below = jnp.cumsum(counts, 2) - counts
    step = jnp.take_along_axis(below, highest, 2) // 255
    spread = jnp.minimum((below + step // 2) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, spread, k)


def tabulate(clip: Clip, operation: Index, amount: Scalar) -> Table:
    """Returns the tables of AutoContrast, Equalize, Posterize or Solarize.

    Args:
        clip: whole levels.
        operation: index into OPERATIONS.
        amount: its strength.
    """
    which = place(TABLES, operation)
    levels = clip.astype(jnp.int32)
    none = jnp.zeros((len(clip), clip.shape[-1], 256), jnp.int32)
    # Posterize and Solarize are the same for all frames and need no histogram.
    counts = jax.lax.cond(which < 2, histograms, lambda x: none, levels)
    k = jnp.arange(256)[None, None]
    solarized = jnp.where(k >= jnp.floor(255 * amount).astype(jnp.int32), 255 - k, k)
    tables = (auto_contrast(counts), equalize(counts), k & 0xF0, solarized)
    tables = jnp.stack([jnp.broadcast_to(x, counts.shape) for x in tables])
    return tables[which].astype(clip.dtype)


def inverse_map(
    operation: Index, amount: Scalar, height: int, width: int
) -> Float[Array, "2 3"]:
    """Returns the matrix from output (x, y, 1) to input (x, y), about the centre.

    Args:
        operation: index into OPERATIONS.
        amount: its strength.
        height, width: of a frame in pixels, the unit of the matrix.
    """
    # Shears turn about the top row and the left column: so does pytorchvideo.
    one, zero = jnp.ones_like(amount), jnp.zeros_like(amount)
    cos, sin = jnp.cos(jnp.deg2rad(amount)), jnp.sin(jnp.deg2rad(amount))
    maps = (
        (cos, -sin, zero, sin, cos, zero),
        (one, amount, amount * (height / 2), zero, one, zero),
        (one, zero, zero, amount, one, amount * (width / 2)),
        (one, zero, amount * width, zero, one, zero),
        (one, zero, zero, zero, one, amount * height),
    )
    stacked = jnp.stack([jnp.stack(x) for x in maps])
    return stacked[place(AFFINE, operation)].reshape(2, 3)


def warp(clip: Clip, operation: Index, amount: Scalar) -> Clip:
    """Returns the clip rotated, sheared or shifted: bilinear, black outside.

    Args:
        clip: whole levels.
        operation: index into OPERATIONS, of AFFINE.
        amount: its strength.
    """
    t, h, w, c = clip.shape
    (xx, xy, x1), (yx, yy, y1) = inverse_map(operation, amount, h, w)
    x = (jnp.arange(w, dtype=jnp.float32) + (0.5 - w / 2))[None]
    y = (jnp.arange(h, dtype=jnp.float32) + (0.5 - h / 2))[:, None]
    column = xx * x + xy * y + x1 + (w / 2 - 0.5)
    row = yx * x + yy * y + y1 + (h / 2 - 0.5)
    left, top = jnp.floor(column), jnp.floor(row)
    dx, dy, left, top = column - left, row - top, left.astype(int), top.astype(int)
    pixels = clip.reshape(t, h * w, c)
    # `mask` is what the picture covers of each pixel. pytorchvideo fills the rest with
    # 0.5, meant for values 0..1: on 0..255 it is black.
    image, mask = jnp.zeros_like(clip), jnp.zeros((h, w), clip.dtype)
    for i, vertical in ((0, 1 - dy), (1, dy)):
        for j, horizontal in ((0, 1 - dx), (1, dx)):
            at_row, at_column = top + i, left + j
            inside = (at_row >= 0) & (at_row < h) & (at_column >= 0) & (at_column < w)
            share = jnp.where(inside, vertical * horizontal, 0.0)
            index = jnp.clip(at_row, 0, h - 1) * w + jnp.clip(at_column, 0, w - 1)
            found = jnp.take(pixels, index.reshape(-1), axis=1, mode="clip")
            image = image + share[None, ..., None] * found.reshape(t, h, w, c)
            mask = mask + share
    mask = mask[None, ..., None]
    return jnp.clip(jnp.round(image * mask + 0.5 * (1 - mask)), 0, 255)


def whole_grey(clip: Clip) -> Float[Array, "t h w 1"]:
    """Luma of whole levels, rounded down; by integers, so without rounding errors."""
    red, green, blue = (clip[..., i : i + 1].astype(jnp.int32) for i in range(3))
    return ((2989 * red + 5870 * green + 1140 * blue) // 10000).astype(clip.dtype)


def smooth(clip: Clip) -> Clip:
    """Rounded 3x3 average in which the centre counts 5; border pixels stay."""
    h, w = clip.shape[1:3]
    total = 4 * clip[:, 1:-1, 1:-1]
    for i in range(3):
        for j in range(3):
            total = total + clip[:, i : h - 2 + i, j : w - 2 + j]
    edges = (clip[:, 1:-1, :1], jnp.round(total / 13), clip[:, 1:-1, -1:])
    return jnp.concatenate([clip[:, :1], jnp.concatenate(edges, 2), clip[:, -1:]], 1)


def blend(clip: Clip, operation: Index, amount: Scalar) -> Clip:
    """Returns trunc(amount x + (1 - amount) base) of one of the BLENDS.

    Args:
        clip: x, whole levels.
        operation: tells the base: grey, mean grey, black or smoothed.
        amount: the clip's own share.
    """

    bases = (
        lambda: whole_grey(clip) + jnp.zeros_like(clip),
        lambda: whole_grey(clip).mean((1, 2, 3), keepdims=True) + jnp.zeros_like(clip),
        lambda: jnp.zeros_like(clip),
        lambda: smooth(clip),
    )
    base = jax.lax.switch(place(BLENDS, operation), bases)
    return truncate(amount * clip + (1 - amount) * base)
