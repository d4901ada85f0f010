"""Colour jitter with OpenCV's 8-bit arithmetic, on the device.

Clips are planes [t, c, h, w] with values 0..255.
"""

import jax
import jax.numpy as jnp

from merclip_jax.augment.each_clip import each_clip
from merclip_jax.augment.hue import shift_hue
from merclip_jax.typing import Array, Bool, Float, Int, UInt8

GREY = (0.2989, 0.587, 0.114)  # luma weights of R, G, B


def grey(planes: Float[Array, "t c h w"]) -> Float[Array, "t 1 h w"]:
    """Luma of RGB planes, unrounded."""
    red, green, blue = (planes[:, i : i + 1] for i in range(3))
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


def colour_jitter(
    planes: UInt8[Array, "t c h w"],
    order: Int[Array, "4"],
    strength: Float[Array, "4"],
) -> UInt8[Array, "t c h w"]:
    """Brightness, contrast, saturation and hue of one clip, one after the other.

    Args:
        planes: whole grey levels.
        order: of the four steps, numbered as above.
        strength: factors of the first three, and a turn for the hue.

    Returns:
        Whole grey levels, truncated as the released code does.
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

    # A loop keeps the steps apart: fused, a mean and a hue would compute all that is
    # before them once more.
    def step(i, x):
        return jax.lax.switch(order[i], (scale, stretch, saturate, rotate), x)

    x = jax.lax.fori_loop(0, 4, step, planes.astype(jnp.float32))
    return jnp.floor(jnp.clip(x, 0, 255)).astype(jnp.uint8)


def jitter_batch(
    clips: UInt8[Array, "b t h w c"],
    chosen: Bool[Array, "b"],
    order: Int[Array, "4"],
    strength: Float[Array, "b 4"],
) -> UInt8[Array, "b t h w c"]:
    """Returns the clips, the chosen ones with their colours jittered.

    Args:
        clips: whole grey levels.
        chosen: which clips to change.
        order: of the four steps.
        strength: of each clip.
    """

    orders = jnp.broadcast_to(order, (len(clips), 4))

    def jitter(planes, choices):
        return colour_jitter(planes, *choices)

    return each_clip(jitter, clips, chosen, (orders, strength))
