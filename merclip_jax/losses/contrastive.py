"""Losses that align clips with their sentences, in float32 or wider."""

import jax
import jax.numpy as jnp

from merclip_jax.typing import Array, Float, Shaped


def similarity(
    video: Float[Array, "b e"], text: Float[Array, "s e"]
) -> Float[Array, "b s"]:
    """Returns the cosine of every clip with every text (MER-CLIP, eq. 9).

    Args:
        video: features of b clips, of any length but 0.
        text: features of s sentences.
    """
    # No epsilon, as in the paper: what comes here has passed a LayerNorm.
    video = video / jnp.linalg.norm(video, axis=-1, keepdims=True)
    text = text / jnp.linalg.norm(text, axis=-1, keepdims=True)
    return video @ text.T


def contrastive(
    logits: Shaped[Array, "..."],
    *,
    valid: Shaped[Array, "..."] | None = None,
    targets: Shaped[Array, "..."] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns cross-entropies video-to-text and text-to-video (MER-CLIP, eq. 10).

    The paper's loss is the mean of the two. Both are 0 when no clip is valid.

    Args:
        logits: [b, b] scaled similarities.
        valid: [b] bool; False (no AU, so no sentence) leaves a clip out as row and as
            column. None: all are valid.
        targets: [b, b], symmetric; how much of clip i's target text j deserves, before
            each row is normalised. None: its own text alone.

    Raises:
        ValueError: when the shapes do not fit.
    """
    valid, own = _pairs(logits, valid)
    asked = own | (valid[:, None] & valid[None])
    targets = own if targets is None else _fitting(targets, logits, "targets")
    targets = jnp.where(asked, targets.astype(logits.dtype), 0)
    targets = targets / targets.sum(1, keepdims=True)
    count = jnp.maximum(valid.sum(), 1).astype(logits.dtype)

    def one_way(logits):
        # An invalid row keeps its own column (`own` in `asked`): a row of -inf alone
        # would be NaN, and its gradient NaN even where the row is masked afterwards.
        log_p = jax.nn.log_softmax(jnp.where(asked, logits, -jnp.inf), axis=1)
        # 0 * -inf is NaN: columns that are not asked for must not be multiplied.
        rows = (targets * jnp.where(targets > 0, log_p, 0)).sum(1)
        return -jnp.where(valid, rows, 0).sum() / count

    # `targets` are symmetric before they are normalised: they serve both directions.
    return one_way(logits), one_way(logits.T)


def sigmoid_contrastive(
    logits: Shaped[Array, "..."],
    *,
    valid: Shaped[Array, "..."] | None = None,
    same: Shaped[Array, "..."] | None = None,
) -> Float[Array, ""]:
    """Returns the loss that judges every pair by itself (SigLIP, ICCV 2023).

    It is summed over texts and averaged over the valid clips.

    Args:
        logits: [b, b] scaled similarities plus bias.
        valid: [b] bool as in `contrastive`.
        same: [b, b] marks the pairs that belong together; None: the diagonal.

    Raises:
        ValueError: when the shapes do not fit.
    """
    valid, own = _pairs(logits, valid)
    same = own if same is None else _fitting(same, logits, "same").astype(bool) | own
    # log(1 - sigmoid(x)) is log_sigmoid(-x): negatives need no case of their own.
    log_p = jax.nn.log_sigmoid(jnp.where(same, logits, -logits))
    count = jnp.maximum(valid.sum(), 1).astype(logits.dtype)
    return -jnp.where(valid[:, None] & valid[None], log_p, 0).sum() / count


def _pairs(logits, valid) -> tuple[jax.Array, jax.Array]:
    """Which clips count [b], and the pairs of a clip with its own text [b, b]."""
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"expected logits [b, b] of a batch, got {logits.shape}")
    own = jnp.eye(len(logits), dtype=bool)
    if valid is None:
        return jnp.ones(len(logits), bool), own
    if valid.shape != logits.shape[:1] or valid.dtype != bool:
        raise ValueError(
            f"expected valid as bool {list(logits.shape[:1])} for logits "
            f"{list(logits.shape)}, got {valid.dtype} {list(valid.shape)}"
        )
    return valid, own


def _fitting(matrix, logits, name: str) -> jax.Array:
    if matrix.shape != logits.shape:
        raise ValueError(
            f"expected {name} {list(logits.shape)} as the logits are, got "
            f"{list(matrix.shape)}"
        )
    return matrix
