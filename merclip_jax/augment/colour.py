"""Colour jitter with OpenCV's 8-bit arithmetic, on the device.

Frames are float32 with values 0..255.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

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
    return _from_hsv(hue, saturation, value)


def _from_hsv(
    hue: Int[Array, "t h w"],
    saturation: Int[Array, "t h w"],
    value: Int[Array, "t h w"],
) -> Float[Array, "t h w c"]:
    """RGB of 8-bit HSV, hue in 0..179, as OpenCV computes it."""
    middle, least, sector = _hsv_tables()
    value = value.astype(jnp.float32) * np.float32(1 / 255)
    middle = value * jnp.asarray(middle)[hue, saturation]
    least = value * jnp.asarray(least)[saturation]
    # In each of the circle's six sectors another channel is the value, another lies in
    # the middle: what holds for R holds for G two sectors on, and for B four.
    ahead = jnp.asarray([0, 2, 4]).reshape(1, 1, 1, 3)
    place = (jnp.asarray(sector)[hue][..., None] - ahead) % 6
    channels = jnp.where(
        (place == 0) | (place == 5),
        value[..., None],
        jnp.where((place == 1) | (place == 4), middle[..., None], least[..., None]),
    )
    out = channels * np.float32(255)
    # OpenCV truncates what its vectors of 32 pixels hold, and rounds the rest of a row.
    width = out.shape[2]
    in_vectors = jnp.arange(width)[None, None, :, None] < width // 32 * 32
    return jnp.where(in_vectors, jnp.floor(out), jnp.round(out))


@functools.cache
def _hsv_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors of the middle channel [hue, saturation] and of the least, and sectors.

    Made once in NumPy: OpenCV's vectors multiply and add with one rounding, which a
    device may or may not do.
    """
    turned = np.arange(180, dtype=np.float32) * np.float32(6 / 180)
    share = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
    sector = np.floor(turned).astype(int)
    past = (turned - np.floor(turned))[:, None]
    weight = np.where(sector[:, None] % 2, past, np.float32(1) - past)
    # A product of two float32 is exact in float64: so this is rounded once.
    middle = (1 - share.astype(float) * weight.astype(float)).astype(np.float32)
    return middle, np.float32(1) - share, sector


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
