"""How many members train at once, and what a member is made of."""

import math
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.data.folds import Member
from merclip_jax.errors import UserError
from merclip_jax.systems.system import System
from merclip_jax.training.optim import Optimiser, frozen_mask, path_of
from merclip_jax.training.stack import Plan, Stack

CPU_STACK = 12  # members at once where the memory is not the device's own
SHARE = 0.8  # of a device's memory that members may fill


def stack_size(plan: Plan, members: Sequence[Member]) -> int:
    """Members trained at once: what the options say, or as many as fit in memory.

    Args:
        plan: of the run.
        members: all of it.
    """
    if plan.options.stack:
        return min(plan.options.stack, len(members))
    fit = min(members_that_fit(plan, members), len(members))
    # As many groups as are needed, and all of them equally full.
    return -(-len(members) // -(-len(members) // fit))


def members_that_fit(plan: Plan, members: Sequence[Member]) -> int:
    """How many members fit: by the devices' memory, `CPU_STACK` a device on CPU.

    Args:
        plan: of the run.
        members: all of it; the longest decide.
    """
    devices, limit = jax.device_count(), _limit()
    if not limit or len(members) == 1:
        return CPU_STACK * devices
    # The programs of one member a device and of two tell the cost of one more. (Fewer
    # members than devices would share out their batches, which says nothing of that.)
    used = [Stack(plan, members, n * devices).memory(members) for n in (1, 2)]
    each = max(used[1] - used[0], 1)
    fit = 1 + int((SHARE * limit - used[0]) // each)
    return max(1, fit) * devices


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


def _limit() -> int:
    """Bytes of a device, 0 where the memory is not the device's own."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 0)
