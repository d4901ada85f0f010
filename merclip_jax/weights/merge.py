"""Puts weights that exist already into the fresh states of a stack."""

from collections.abc import Mapping

import jax.numpy as jnp

from merclip_jax.shapes import Leaf
from merclip_jax.weights.match import flatten, unflatten


def fill(state: Leaf, start: Mapping[str, Leaf]) -> Leaf:
    """A stack's TrainState with `start` in every member, the rest as it was.

    `start` maps Flax paths ("params/encoder/...", "batch_stats/...") to arrays without
    the member axis. Raises ValueError that names paths or shapes the state has not.
    """
    flat = flatten({"params": state.params, "batch_stats": state.batch_stats})
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
    tree = {"params": {}, "batch_stats": {}} | unflatten(flat)
    return state.replace(params=tree["params"], batch_stats=tree["batch_stats"])
