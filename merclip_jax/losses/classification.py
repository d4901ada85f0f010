"""The emotion loss: focal, in float32 or wider."""

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.typing import Array, Float, Int


def focal(
    logits: Float[Array, "b k"],
    labels: Int[Array, "b"],
    *,
    gamma: float,
    smoothing: float | Float[Array, ""] = 0.0,
    weights: Float[Array, "k"] | None = None,
) -> Float[Array, ""]:
    """Returns the mean focal loss -(1-p)^gamma log p (MER-CLIP, eq. 13).

    Args:
        logits: of k classes.
        labels: true classes, in 0..k-1.
        gamma: how much less the clips count that are right already; 0: cross-entropy.
        smoothing: share of the target that all classes have alike (Szegedy et al.,
            2016); each class's part is focal by its own probability.
        weights: of the classes, `class_weights`; None: all count alike.
    """
    log_p = jax.nn.log_softmax(logits)
    own = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    losses = _focal(own, gamma)
    if isinstance(smoothing, jax.Array) or smoothing:
        each = _focal(log_p, gamma).mean(1)
        losses = (1 - smoothing) * losses + smoothing * each
    if weights is not None:
        losses = weights.astype(losses.dtype)[labels] * losses
    return jnp.mean(losses)


def class_weights(counts: np.ndarray, *, beta: float) -> np.ndarray:
    """Weights float32 [k] of classes that have so many clips, k in sum.

    (1 - beta) / (1 - beta^n): from all alike at 0 to one over n at 1 (class-balanced
    loss, CVPR 2019, eq. 2).

    Args:
        counts: [k] training clips of each class; none counts as one.
        beta: from 0 to below 1.
    """
    effective = (1 - beta ** np.maximum(counts, 1).astype(np.float64)) / (1 - beta)
    weights = 1 / effective
    return (weights * len(weights) / weights.sum()).astype(np.float32)


def _focal(log_p: jax.Array, gamma: float) -> jax.Array:
    # 1 - p without cancellation where p is near 1.
    miss = -jnp.expm1(log_p)
    # Where the model is sure, miss ** gamma has no finite gradient for gamma < 1.
    sure = miss <= 0
    weight = jnp.where(
        sure, 1.0 if gamma == 0 else 0.0, jnp.where(sure, 1, miss) ** gamma
    )
    return -weight * log_p
