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
    """Returns round(4096 numerator / x), and 0 for 0.

    Args:
        x: in 0..255.
        numerator: what is divided.
    """
    # OpenCV's own table: a division in floating point would round otherwise.
    table = [0] + [round(4096 * numerator / i) for i in range(1, 256)]
    return jnp.asarray(table, jnp.int32)[x]


def shift_hue(
    frames: Float[Array, "t h w c"], turn: Float[Array, ""]
) -> Float[Array, "t h w c"]:
    """Returns the frames with their hue moved, through 8-bit HSV as in OpenCV.

    Args:
        frames: are clipped to 0..255 and truncated first.
        turn: int(255 turn) of OpenCV's 180 steps are added.
    """
    # The released code turns the hue by OpenCV's uint8 conversion, which works with
    # 12-bit fixed-point reciprocals. Integers give its very values on every device;
    # floats would differ by a step of hue wherever a quotient lies near a half.
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
    # Six sectors of the circle; in each, one channel is the value and one the least.
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
    """Brightness, contrast, saturation and hue of one clip, one after the other.

    Args:
        clip: values 0..255.
        order: of the four steps, numbered as above.
        strength: factors of the first three, and a turn for the hue.

    Returns:
        Whole grey levels 0..255, truncated as the released code does.
    """
    brightness, contrast, saturation, turn = strength

    def scale(x):
        return x * brightness

    # Contrast is about each frame's own mean, as in the released code.
    def stretch(x):
        return contrast * x + (1 - contrast) * grey(x).mean((1, 2, 3), keepdims=True)

    def saturate(x):
        return saturation * x + (1 - saturation) * grey(x)

    def rotate(x):
        return shift_hue(x, turn)

    for i in range(4):
        clip = jax.lax.switch(order[i], [scale, stretch, saturate, rotate], clip)
    return jnp.floor(jnp.clip(clip, 0, 255))
