"""Puts weights that exist already into fresh variables."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from merclip_jax.typing import Leaf


def with_start(variables: Mapping[str, Any], start: Mapping[str, Leaf]) -> dict:
    """Variables with a start in place of their own values, the rest as it was.

    Args:
        variables: collection -> tree of arrays.
        start: Flax path ("params/encoder/...", "batch_stats/...") -> array.

    Raises:
        ValueError: names paths or shapes that the variables do not have.
    """
    flat = flatten_dict(variables, sep="/")
    wrong = [
        f"{path} {array.shape}"
        for path, array in start.items()
        if path not in flat or flat[path].shape != array.shape
    ]
    if wrong:
        raise ValueError(f"the state has no place for {sorted(wrong)}")
    for path, array in start.items():
        flat[path] = jnp.asarray(array, flat[path].dtype)
    return unflatten_dict(flat, sep="/")
