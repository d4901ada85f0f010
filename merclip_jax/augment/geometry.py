"""Mirroring clips, and what all of augmentation needs to act on chosen clips."""

import jax
import jax.numpy as jnp

from merclip_jax.typing import Array, Bool, Num


def per_clip(values: jax.Array, clips: jax.Array) -> jax.Array:
    """Returns values shaped to broadcast against clips.

    Args:
        values: [b].
        clips: [b, t, h, w, c].
    """
    return values.reshape(-1, *(1,) * (clips.ndim - 1))


def flip(
    clips: Num[Array, "b t h w c"], chosen: Bool[Array, "b"]
) -> Num[Array, "b t h w c"]:
    """Returns the clips, the chosen ones mirrored left to right.

    Args:
        clips: of any values.
        chosen: True for those to mirror; AU sides in their sentences must swap too.
    """
    # All frames at once: a face that flips within a clip would be a motion.
    return jnp.where(per_clip(chosen, clips), clips[:, :, :, ::-1], clips)
