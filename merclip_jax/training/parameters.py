"""What a member is made of: its parameters, part by part."""

import math
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.systems.system import System
from merclip_jax.training.optim import Optimiser, frozen_mask, path_of


def parameter_table(
    system: System, optimiser: Optimiser, columns: Mapping[str, np.ndarray]
) -> list[dict]:
    """Rows of part, arrays, trained and frozen parameters of one member.

    A part is the first two names of a path, numbered blocks taken together.

    Args:
        system: whose parameters they are.
        optimiser: which of them it moves.
        columns: the system's, [n, ...].

    Raises:
        UserError: a pattern of `optim.frozen` matches no parameter, or they match all.
    """
    batch = {"frames": jnp.zeros((1, *system.view.shape), jnp.float32)}
    batch |= {name: jnp.asarray(c[:1]) for name, c in columns.items()}
    variables = jax.eval_shape(lambda key: system.init(key, batch), jax.random.key(0))
    params = variables["params"]
    try:
        frozen = jax.tree.leaves(frozen_mask(params, optimiser.frozen))
    except ValueError as error:
        raise UserError(f"config.optim.frozen: {error}") from error
    rows: dict[str, dict] = {}
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (key_path, leaf), still in zip(leaves, frozen, strict=True):
        parents = path_of(key_path).split("/")[:-1][:2]
        part = re.sub(r"_\d+\b", "_*", "/".join(parents)) or path_of(key_path)
        row = rows.setdefault(
            part, {"part": part, "arrays": 0, "trained": 0, "frozen": 0}
        )
        row["arrays"] += 1
        row["frozen" if still else "trained"] += math.prod(leaf.shape)
    if not any(row["trained"] for row in rows.values()):
        raise UserError("config.optim.frozen: nothing is left to train")
    return list(rows.values())
