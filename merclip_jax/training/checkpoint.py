"""Checkpoints of a group of members that is being trained."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from merclip_jax import processes
from merclip_jax.errors import UserError
from merclip_jax.files import shortened
from merclip_jax.training.checksum import checksums

_TREE, _SEAL = "tree", "seal"


class GroupCheckpoint:
    """The newest state of one group: saved atomically, restored onto its shardings.

    Beside the arrays lie their checksums and facts of the caller's; what does not fit
    them is refused. (Neither Orbax nor Zarr keeps a checksum of stored values.)
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.manager = ocp.CheckpointManager(
            folder.absolute(),
            # The newest is all a resumed run needs. Synchronous, so that a reported
            # step is a written one.
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1, create=True, enable_async_checkpointing=False
            ),
            item_names=(_TREE, _SEAL),
        )

    def save(self, step: int, tree: dict, facts: Mapping[str, object]) -> None:
        """Writes a tree of arrays.

        Args:
            step: its number.
            tree: of sharded or plain arrays.
            facts: plain JSON values that `facts` gives back.

        Raises:
            UserError: when it cannot be written; the one before it is kept.
        """
        try:
            items = ocp.args.Composite(
                **{
                    _TREE: ocp.args.StandardSave(tree),
                    _SEAL: ocp.args.JsonSave(_sealed(checksums(tree), facts)),
                }
            )
            # `force`: the caller decides when to save, not the manager's interval.
            self.manager.save(step, args=items, force=True)
            self.manager.wait_until_finished()
            # A process that now ends must not end another that is still writing.
            processes.gathered(step)
        except (OSError, ValueError) as error:  # tensorstore reports a full disk as one
            kept = "the one before it is whole, run the same command again"
            if self.manager.latest_step() is None:
                kept = "there is none before it, the group begins anew"
            raise UserError(
                f"{self.folder}: the checkpoint of step {step} could not be written "
                f"({_first_line(error)}); {kept}"
            ) from error

    def facts(self) -> dict[str, object] | None:
        """What `save` was told beside the newest checkpoint, None without one.

        Raises:
            UserError: it cannot be read, or was altered.
        """
        step = self.manager.latest_step()
        return None if step is None else self._seal(step)["facts"]

    def restore(self, like: dict) -> tuple[int, dict] | None:
        """The newest checkpoint.

        Args:
            like: a tree with its structure, shapes, dtypes and shardings.

        Returns:
            (step, tree), None without one.

        Raises:
            UserError: it does not fit, cannot be read, or is not what was saved.
        """
        step = self.manager.latest_step()
        if step is None:
            return None
        expected = self._seal(step)["sums"]
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            items = ocp.args.Composite(**{_TREE: ocp.args.StandardRestore(abstract)})
            tree = self.manager.restore(step, args=items)[_TREE]
        except Exception as error:  # orbax and tensorstore each raise their own
            raise self._unreadable(step, error) from error
        found = checksums(tree)
        if wrong := [name for name in found if found[name] != expected.get(name)]:
            text = f"{len(wrong)} arrays are not what was saved, among them {wrong[0]}"
            raise self._unreadable(step, text)
        return step, tree

    def close(self) -> None:
        """Release the files and threads that orbax holds."""
        self.manager.close()

    def _seal(self, step: int) -> dict[str, dict]:
        try:
            items = ocp.args.Composite(**{_SEAL: ocp.args.JsonRestore()})
            found = self.manager.restore(step, args=items)[_SEAL]
            if _sealed(found["sums"], found["facts"]) != found:
                raise ValueError("its checksums were altered")
        except Exception as error:  # as above
            raise self._unreadable(step, error) from error
        return found

    def _unreadable(self, step: int, why: Exception | str) -> UserError:
        if isinstance(why, jax.errors.JaxRuntimeError):
            raise why  # of the devices or the other processes, not of the files
        if isinstance(why, Exception):
            why = f"{type(why).__name__}: {_first_line(why)}"
        return UserError(
            f"{self.folder}: the checkpoint of step {step} cannot be read ({why}); "
            "delete the folder to train this group from its beginning"
        )


def _sealed(sums: Mapping[str, str], facts: Mapping[str, object]) -> dict:
    text = json.dumps([sums, facts], sort_keys=True)
    return {
        "sums": dict(sums),
        "facts": dict(facts),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _first_line(error: Exception) -> str:
    """Tensorstore's messages go on for a page of its own source files."""
    return shortened((str(error).splitlines() or [""])[0])
