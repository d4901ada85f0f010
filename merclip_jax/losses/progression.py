"""How much each loss weighs as training goes on."""

import jax.numpy as jnp

from merclip_jax.typing import Array, Float, Int

DECAYS = ("linear", "gaussian", "centred_gaussian")


def progressive_weights(
    epoch: Int[Array, ""],
    *,
    epochs: int,
    start: float,
    floor: float,
    total: float,
    decay: str,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Weights of the contrastive and of the emotion loss in an epoch (eqs 14, 15).

    The contrastive weight falls linearly from `start` towards `floor`, which it would
    reach at epoch `epochs`; the other is `total` minus it (2 also where the
    released code starts at 1.5). Later epochs keep the last value. `decay` "gaussian"
    (half a bell, sigma epochs/2) and "centred_gaussian" (a bell around the middle,
    sigma epochs/4) are the released code's unused alternatives; other names raise
    ValueError.
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
    weight = start - (start - floor) * fallen
    return weight, total - weight
