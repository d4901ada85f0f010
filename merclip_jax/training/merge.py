"""Puts weights that exist already into the fresh states of a stack."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from merclip_jax.typing import Leaf


def merge_start(state: Leaf, start: Mapping[str, Leaf]) -> Leaf:
    """A stack's state with the same start in every member, the rest as it was.

    Args:
        state: a TrainState whose leaves have a leading member axis.
        start: Flax path ("params/encoder/...", "batch_stats/...") -> array without
            that axis.

    Returns:
        The TrainState.

    Raises:
        ValueError: names paths or shapes that the state does not have.
    """
    flat = flatten_dict(state.variables, sep="/")
    wrong = [
        f"{path} {array.shape}"
        for path, array in start.items()
        if path not in flat or flat[path].shape[1:] != array.shape
    ]
    if wrong:
        raise ValueError(f"the state has no place for {sorted(wrong)}")
    # Inside the jitted init, so that no host ever holds a stack of copies.
    for path, array in start.items():
        old = flat[path]
        flat[path] = jnp.broadcast_to(jnp.asarray(array, old.dtype)[None], old.shape)
    return state.replace(variables=state.variables | unflatten_dict(flat, sep="/"))
