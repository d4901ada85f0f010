"""Puts weights that exist already into the fresh states of a stack."""

from collections.abc import Mapping

import jax.numpy as jnp

from merclip_jax.convert.apply import flatten, unflatten
from merclip_jax.typing import Leaf


def fill(state: Leaf, start: Mapping[str, Leaf]) -> Leaf:
    """A stack's TrainState with `start` in every member, the rest as it was.

    `start` maps Flax paths ("params/encoder/...", "batch_stats/...") to arrays without
    the member axis. Raises ValueError that names paths or shapes the state has not.
    """
    flat = flatten(state.variables)
    wrong = [
        f"{path} {array.shape}"
        for path, array in start.items()
        if path not in flat or flat[path].shape[1:] != array.shape
    ]
    if wrong:
        raise ValueError(f"the state has no place for {sorted(wrong)}")
    for path, array in start.items():
        old = flat[path]
        flat[path] = jnp.broadcast_to(jnp.asarray(array, old.dtype)[None], old.shape)
    return state.replace(variables=state.variables | unflatten(flat))
