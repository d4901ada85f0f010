"""Mirroring clips, and what all of augmentation needs to act on chosen clips."""

import jax
import jax.numpy as jnp

from merclip_jax.typing import Array, Bool, Float


def per_clip(values: jax.Array, clips: jax.Array) -> jax.Array:
    """[b] values shaped to broadcast against clips [b, t, h, w, c]."""
    return values.reshape(-1, *(1,) * (clips.ndim - 1))


def flip(
    clips: Float[Array, "b t h w c"], chosen: Bool[Array, "b"]
) -> Float[Array, "b t h w c"]:
    """Mirrors the chosen clips left to right (7.4b); their AU sides must swap too."""
    return jnp.where(per_clip(chosen, clips), clips[:, :, :, ::-1], clips)
