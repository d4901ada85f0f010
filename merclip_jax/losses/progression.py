"""How much each loss weighs as training goes on."""

import jax.numpy as jnp

from merclip_jax.typing import Array, Float, Int

DECAYS = ("linear", "gaussian", "centred_gaussian")


def progressive_weights(
    epoch: Int[Array, ""],
    *,
    epochs: int,
    start: float | Float[Array, ""],
    floor: float | Float[Array, ""],
    total: float | Float[Array, ""],
    decay: str,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the weights of the contrastive and of the emotion loss in an epoch.

    MER-CLIP, eqs. 14 and 15.

    Args:
        epoch: from 0; later ones than `epochs` keep the last value.
        epochs: of the training.
        start: contrastive weight of epoch 0.
        floor: where it would arrive at epoch `epochs`.
        total: sum of both weights.
        decay: "linear" (the paper), or the released code's unused "gaussian" (half a
            bell, sigma epochs/2) and "centred_gaussian" (a bell around the middle,
            sigma epochs/4).

    Raises:
        ValueError: for another decay.
    """
    last = jnp.minimum(epoch, epochs - 1)
    done = last.astype(jnp.result_type(float)) / epochs
    if decay == "linear":
        fallen = done
    elif decay == "gaussian":
        fallen = 1 - jnp.exp(-2 * done**2)
    elif decay == "centred_gaussian":
        fallen = 1 - jnp.exp(-8 * (done - 0.5) ** 2)
    else:
        raise ValueError(f"decay={decay!r}: expected one of {list(DECAYS)}")
    # With start = total, as in the paper, the emotion loss starts at 0: clips are
    # aligned with their AUs first.
    weight = start - (start - floor) * fallen
    return weight, total - weight
