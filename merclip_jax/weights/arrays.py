"""Trees of arrays in Orbax folders."""

import math
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from merclip_jax.errors import UserError


def save_weights(folder: Path, variables: dict) -> None:
    """A member's parameters and BN statistics, to predict or start from."""
    options = ocp.options.MultiprocessingOptions()
    if jax.process_count() > 1:
        # Orbax would wait for the other processes, which write no weights.
        me = jax.process_index()
        options = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix="weights"
        )
    with ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer:
        checkpointer.save(folder.absolute(), variables, force=True)


def load_weights(folder: Path, *, numbers: int) -> dict:
    """What `save_weights` wrote, as NumPy arrays.

    Args:
        folder: of the tree.
        numbers: how many numbers all of its arrays have together.

    Returns:
        The tree.

    Raises:
        UserError: it is damaged, or says of itself to have more or fewer.
    """
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            saved = checkpointer.metadata(folder.absolute()).item_metadata.tree
            # Before anything is read: what lacks on the disk is read as zeros, so that
            # a folder of some kB can claim any size.
            claimed = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(saved))
            if claimed != numbers:
                raise ValueError(f"{claimed} numbers, expected {numbers}")
            arrays = jax.tree.map(lambda _: ocp.RestoreArgs(np.ndarray), saved)
            return checkpointer.restore(folder.absolute(), restore_args=arrays)
    except Exception as error:  # orbax and tensorstore each raise their own
        raise UserError(
            f"{folder}: these weights cannot be read ({type(error).__name__}: {error})"
        ) from error


def holds_weights(folder: Path) -> bool:
    """Whether `save_weights` wrote this folder."""
    return (folder / "_CHECKPOINT_METADATA").exists()
