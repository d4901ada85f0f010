"""Colour jitter with OpenCV's 8-bit arithmetic, on the device.

Frames are float32 with values 0..255.
"""

import jax
import jax.numpy as jnp

from merclip_jax.typing import Array, Float, Int

GREY = (0.2989, 0.587, 0.114)  # luma weights of R, G, B


def grey(frames: Float[Array, "... c"]) -> Float[Array, "... 1"]:
    """Luma of RGB frames, unrounded."""
    weights = jnp.asarray(GREY, frames.dtype)
    return (frames @ weights.reshape(3, 1)).astype(frames.dtype)


def reciprocal(x: Int[Array, "..."], numerator: int) -> Int[Array, "..."]:
    """round(4096 numerator / x) for x in 1..255, and 0 for 0."""
    table = [0] + [round(4096 * numerator / i) for i in range(1, 256)]
    return jnp.asarray(table, jnp.int32)[x]


def shift_hue(
    frames: Float[Array, "t h w c"], turn: Float[Array, ""]
) -> Float[Array, "t h w c"]:
    """Moves the hue by int(255 turn) of OpenCV's 180 steps, through 8-bit HSV.

    Frames are clipped and truncated to uint8 first. Hue and saturation come from
    OpenCV's 12-bit fixed-point reciprocals, so that they are its uint8 values.
    """
    x = jnp.clip(frames, 0, 255).astype(jnp.int32)
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    value, low = x.max(-1), x.min(-1)
    span = value - low
    hue = jnp.where(
        value == r,
        g - b,
        jnp.where(value == g, b - r + 2 * span, r - g + 4 * span),
    )
    hue = (hue * reciprocal(span, 30) + 2048) >> 12
    hue = jnp.where(hue < 0, hue + 180, hue)
    hue = (hue + jnp.trunc(255 * turn).astype(jnp.int32)) % 180
    saturation = (span * reciprocal(value, 255) + 2048) >> 12
    value, hue = value.astype(jnp.float32), hue.astype(jnp.float32)
    saturation = saturation.astype(jnp.float32) / 255
    sector = jnp.floor(hue / 30)
    f = hue / 30 - sector
    p = value * (1 - saturation)
    q = value * (1 - saturation * f)
    t = value * (1 - saturation * (1 - f))
    which = sector.astype(jnp.int32)[..., None]
    table = jnp.stack(
        [
            jnp.stack(c, -1)
            for c in (
                (value, t, p),
                (q, value, p),
                (p, value, t),
                (p, q, value),
                (t, p, value),
                (value, p, q),
            )
        ],
        -2,
    )
    out = jnp.take_along_axis(table, which[..., None], axis=-2)[..., 0, :]
    return jnp.round(out)


def colour_jitter(
    clip: Float[Array, "t h w c"],
    order: Int[Array, "4"],
    strength: Float[Array, "4"],
) -> Float[Array, "t h w c"]:
    """Brightness, contrast, saturation and hue of one clip, in `order` (7.4c).

    `strength` is (b, c, s, h): factors for the first three, a turn for the hue. The
    result is clipped and truncated to whole grey levels.
    """
    brightness, contrast, saturation, turn = strength

    def scale(x):
        return x * brightness

    def stretch(x):
        return contrast * x + (1 - contrast) * grey(x).mean((1, 2, 3), keepdims=True)

    def saturate(x):
        return saturation * x + (1 - saturation) * grey(x)

    def rotate(x):
        return shift_hue(x, turn)

    for i in range(4):
        clip = jax.lax.switch(order[i], [scale, stretch, saturate, rotate], clip)
    return jnp.floor(jnp.clip(clip, 0, 255))
