"""Checkpoints of a group of members that is being trained."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp

from merclip_jax.errors import UserError


class RoundCheckpoint:
    """The newest state of one round: saved atomically, restored onto its shardings."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manager = ocp.CheckpointManager(
            folder.absolute(),
            # The newest is all a resumed run needs. Synchronous, so that a reported
            # step is a written one.
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1, create=True, enable_async_checkpointing=False
            ),
        )

    def save(self, step: int, tree: dict) -> None:
        """Writes a tree of arrays.

        Args:
            step: its number.
            tree: of sharded or plain arrays.

        Raises:
            UserError: when it cannot be written; the one before it is kept.
        """
        try:
            # `force`: the caller decides when to save, not the manager's interval.
            self.manager.save(step, args=ocp.args.StandardSave(tree), force=True)
            self.manager.wait_until_finished()
        except (OSError, ValueError) as error:  # tensorstore reports a full disk as one
            raise UserError(
                f"{self.folder}: the checkpoint of step {step} could not be written "
                f"({error}); the one before it is whole, run the same command again"
            ) from error

    def restore(self, like: dict) -> tuple[int, dict] | None:
        """(step, tree) of the newest checkpoint, None without one.

        `like` gives structure, shapes, dtypes and shardings. Raises UserError when
        the newest checkpoint does not fit or cannot be read.
        """
        step = self.manager.latest_step()
        if step is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            return step, self.manager.restore(
                step, args=ocp.args.StandardRestore(abstract)
            )
        except Exception as error:  # orbax and tensorstore each raise their own
            raise UserError(
                f"{self.folder}: the checkpoint of step {step} cannot be read "
                f"({type(error).__name__}: {error}); delete the folder to train this "
                "round from its beginning"
            ) from error

    def close(self) -> None:
        """Release the files and threads that orbax holds."""
        self.manager.close()
