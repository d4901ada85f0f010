"""Losses as functions of arrays: focal, contrastive, progressive weights.

Everything is computed in float32 or wider. Equations: MER_CLIP section 2.
"""

import jax
import jax.numpy as jnp

from merclip_jax.shapes import Array, Bool, Float, Int


def focal(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], *, gamma: float = 2.0
) -> Float[Array, ""]:
    """Mean focal loss -(1-p)^gamma log p of the true class (eq 13)."""
    log_p = jax.nn.log_softmax(logits)
    log_p = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    return -jnp.mean((-jnp.expm1(log_p)) ** gamma * log_p)


def similarity(
    video: Float[Array, "b e"], text: Float[Array, "s e"]
) -> Float[Array, "b s"]:
    """Cosine similarity of every clip with every text (eq 9)."""
    video = video / jnp.linalg.norm(video, axis=-1, keepdims=True)
    text = text / jnp.linalg.norm(text, axis=-1, keepdims=True)
    return video @ text.T


def contrastive(
    logits: Float[Array, "b b"], valid: Bool[Array, "b"] | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Cross-entropies video-to-text and text-to-video, targets on the diagonal (eq 10).

    `logits` are scaled similarities. Clips with `valid` False (no AU, so no sentence)
    are left out as rows and as columns; with none left both losses are 0. The paper's
    loss is the mean of the two.
    """
    if valid is None:
        valid = jnp.ones(len(logits), bool)
    count = jnp.maximum(valid.sum(), 1).astype(logits.dtype)

    def one_way(logits):
        masked = jnp.where(valid[None], logits, -jnp.inf)
        # An invalid row keeps its own column, so that no row is all -inf.
        masked = jnp.where(jnp.eye(len(logits), dtype=bool), logits, masked)
        log_p = jnp.diagonal(jax.nn.log_softmax(masked, axis=1))
        return -jnp.where(valid, log_p, 0).sum() / count

    return one_way(logits), one_way(logits.T)


def progressive_weights(
    epoch: Int[Array, ""],
    *,
    epochs: int,
    start: float = 2.0,
    floor: float = 1.0,
    total: float = 2.0,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Weights of the contrastive and of the emotion loss in an epoch (eqs 14, 15).

    The contrastive weight falls linearly from `start` towards `floor`, which it would
    reach at epoch `epochs`; the other is `total` minus it (2 also where the
    released code starts at 1.5). Later epochs keep the last value.
    """
    done = jnp.minimum(epoch, epochs - 1).astype(jnp.float32) / epochs
    weight = start - (start - floor) * done
    return weight, total - weight
