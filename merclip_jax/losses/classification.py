"""The emotion loss: focal, in float32 or wider."""

import jax
import jax.numpy as jnp

from merclip_jax.typing import Array, Float, Int


def focal(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], *, gamma: float
) -> Float[Array, ""]:
    """Returns the mean focal loss -(1-p)^gamma log p (MER-CLIP, eq. 13).

    Args:
        logits: of k classes.
        labels: true classes, in 0..k-1.
        gamma: how much less the clips count that are right already; 0: cross-entropy.
    """
    log_p = jax.nn.log_softmax(logits)
    log_p = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    # 1 - p without cancellation where p is near 1.
    miss = -jnp.expm1(log_p)
    # Where the model is sure, miss ** gamma has no finite gradient for gamma < 1.
    sure = miss <= 0
    weight = jnp.where(
        sure, 1.0 if gamma == 0 else 0.0, jnp.where(sure, 1, miss) ** gamma
    )
    return -jnp.mean(weight * log_p)
