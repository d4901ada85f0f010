"""Trees of arrays in Orbax folders."""

from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from merclip_jax.errors import UserError


def save_weights(folder: Path, variables: dict) -> None:
    """A member's parameters and BN statistics, to predict or start from."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), variables, force=True)


def load_weights(folder: Path) -> dict:
    """What `save_weights` wrote, as NumPy arrays; UserError when it is damaged."""
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            saved = checkpointer.metadata(folder.absolute()).item_metadata.tree
            arrays = jax.tree.map(lambda _: ocp.RestoreArgs(np.ndarray), saved)
            return checkpointer.restore(folder.absolute(), restore_args=arrays)
    except Exception as error:  # orbax and tensorstore each raise their own
        raise UserError(
            f"{folder}: these weights cannot be read ({type(error).__name__}: {error})"
        ) from error


def holds_weights(folder: Path) -> bool:
    """Whether `save_weights` wrote this folder."""
    return (folder / "_CHECKPOINT_METADATA").exists()
