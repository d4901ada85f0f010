"""OpenCV's 8-bit HSV and back, to the very value, without its tables.

Planes are float32 [t, h, w]. A table that is read at every pixel is slow on every
accelerator. Each step here is exact in float32, or one rounding of a sum of exact
products: a compiler that multiplies and adds at once changes none.
"""

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.augment.exact import halves, scaled
from merclip_jax.typing import Array, Float

Plane = Float[Array, "t h w"]


def shift_hue(
    frames: Float[Array, "t c h w"], turn: Float[Array, ""]
) -> Float[Array, "t c h w"]:
    """Returns the frames with their hue moved, through 8-bit HSV as in OpenCV.

    Args:
        frames: are clipped to 0..255 and truncated first.
        turn: int(255 turn) of OpenCV's 180 steps are added.
    """
    # The released code turns the hue by OpenCV's uint8 conversion.
    hue, saturation, value = to_hsv(jnp.floor(jnp.clip(frames, 0, 255)))
    steps = jnp.trunc(255 * turn).astype(jnp.int32) % 180
    hue = hue + steps.astype(jnp.float32)
    return from_hsv(jnp.where(hue >= 180, hue - 180, hue), saturation, value)


def to_hsv(frames: Float[Array, "t c h w"]) -> tuple[Plane, Plane, Plane]:
    """Hue 0..179, saturation and value 0..255 of whole levels."""
    r, g, b = frames[:, 0], frames[:, 1], frames[:, 2]
    # Not frames.max(1): a reduction of three is the slower by far on a CPU.
    value, low = jnp.maximum(jnp.maximum(r, g), b), jnp.minimum(jnp.minimum(r, g), b)
    span = value - low
    hue = jnp.where(
        value == r,
        g - b,
        jnp.where(value == g, b - r + 2 * span, r - g + 4 * span),
    )
    hue = fixed_point(hue, 30, span)
    saturation = fixed_point(span, 255, value)
    return jnp.where(hue < 0, hue + 180, hue), saturation, value


def fixed_point(x: Plane, factor: int, divisor: Plane) -> Plane:
    """OpenCV's round(factor x / divisor), 0 for a divisor of 0.

    Args:
        x: whole numbers, at most 5 times the divisor.
        factor: what they are multiplied with.
        divisor: whole numbers 0..255.
    """
    # OpenCV multiplies with round(4096 factor / divisor). No such quotient comes nearer
    # to a half than a division may be wrong, and all else stays below 2^24: exact.
    quotient = jnp.floor(4096 * factor / jnp.maximum(divisor, 1) + 0.5)
    reciprocal = jnp.where(divisor > 0, quotient, 0)
    return jnp.floor((x * reciprocal + 2048) * np.float32(1 / 4096))


def from_hsv(hue: Plane, saturation: Plane, value: Plane) -> Float[Array, "t c h w"]:
    """Returns RGB of 8-bit HSV, as OpenCV computes it.

    Args:
        hue: whole numbers 0..179.
        saturation, value: whole numbers 0..255.
    """
    turned = scaled(hue, 6 / 180)
    sector = jnp.floor(turned)
    past = turned - sector
    odd = sector - 2 * jnp.floor(sector / 2) > 0
    share = scaled(saturation, 1 / 255)
    value = scaled(value, 1 / 255)
    middle = value * one_less_product(share, jnp.where(odd, past, 1 - past))
    least = value * (1 - share)
    # OpenCV truncates what its vectors of 32 pixels hold, and rounds the rest of a row.
    width = hue.shape[-1]
    in_vectors = jnp.arange(width)[None, None] < width // 32 * 32

    def whole(x):
        x = x * np.float32(255)
        return jnp.where(in_vectors, jnp.floor(x), jnp.round(x))

    # Kept apart, or each of three channels would compute all of them again.
    value, middle, least, sector = jax.lax.optimization_barrier(
        (whole(value), whole(middle), whole(least), sector)
    )
    # In each of the circle's six sectors another channel is the value, another lies in
    # the middle: what holds for R holds for G two sectors on, and for B four.
    channels = []
    for ahead in (0, 2, 4):
        place = sector - ahead
        place = jnp.where(place < 0, place + 6, place)
        between = jnp.where((place == 1) | (place == 4), middle, least)
        channels.append(jnp.where((place == 0) | (place == 5), value, between))
    return jnp.stack(channels, 1)


def one_less_product(x: Plane, y: Plane) -> Plane:
    """1 - x y with one rounding, as OpenCV's vectors multiply and add.

    Args:
        x, y: 0..1.
    """
    (xh, xl), (yh, yl) = halves(x), halves(y)
    # The four products are exact. What the first difference loses is known, and joins
    # the small ones.
    first = 1 - xh * yh
    lost = (1 - first) - xh * yh
    return first + ((lost - (xh * yl + xl * yh)) - xl * yl)
