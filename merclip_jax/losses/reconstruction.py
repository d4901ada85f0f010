"""FDP's losses beside that of the emotion: the dynamic image, the order of frames."""

import jax.numpy as jnp

from merclip_jax.typing import Array, Float


def image_error(
    image: Float[Array, "b h w"], target: Float[Array, "b h w"]
) -> Float[Array, ""]:
    """Returns the mean squared error of dynamic images in 0..1."""
    return jnp.mean(jnp.square(image - target))


def ranking(scores: Float[Array, "b t"]) -> Float[Array, ""]:
    """Returns how far frames are from standing in the order of time.

    mean over t < u of max(0, 1 - (s_u - s_t)): each later frame is to score higher by 1
    at least (Bilen et al., CVPR 2016).
    """
    t = scores.shape[-1]
    gap = scores[:, None, :] - scores[:, :, None]  # [b, earlier, later]
    later = jnp.triu(jnp.ones((t, t), bool), 1)[None]
    short = jnp.where(later, jnp.maximum(0, 1 - gap), 0)
    return short.sum() / (len(scores) * t * (t - 1) / 2)
