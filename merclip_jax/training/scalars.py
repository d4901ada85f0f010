"""Scalars to JSON lines and TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from merclip_jax.atomic import write_atomically


class ScalarWriter:
    """Appends one JSON line and one set of TensorBoard points an epoch.

    Args:
        folder: of all groups' scalars.
        name: of the group.
        resume_at: the first epoch that will be written.
        writes: False writes nothing at all.
    """

    def __init__(self, folder: Path, name: str, *, resume_at: int, writes: bool):
        self._writes = writes
        if not writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.jsonl"
        # A run that was killed may have gone further than its last checkpoint.
        kept = [
            line
            for line in (
                path.read_text(errors="replace").splitlines() if path.exists() else []
            )
            if _epoch(line) < resume_at
        ]
        write_atomically(path, "".join(line + "\n" for line in kept).encode())
        self._file = path.open("a")
        self._board = SummaryWriter(
            str(folder / "tensorboard" / name), purge_step=resume_at
        )

    def write(self, epoch: int, scalars: Mapping[str, float]) -> None:
        """Record one epoch's scalars."""
        if not self._writes:
            return
        self._file.write(json.dumps({"epoch": epoch, **scalars}) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, epoch)

    def close(self) -> None:
        """Flush and close both files."""
        if self._writes:
            self._file.close()
            self._board.close()


def _epoch(line: str) -> float:
    """The epoch of a line; one that a crash cut short counts as never written."""
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
