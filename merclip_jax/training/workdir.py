"""A run's folder: everything that is written there, by process 0 alone."""

import dataclasses
import io
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from merclip_jax.atomic import write_atomically
from merclip_jax.errors import UserError
from merclip_jax.systems.system import System
from merclip_jax.training.checkpoint import RoundCheckpoint
from merclip_jax.training.scalars import ScalarWriter
from merclip_jax.weights import bundle

MANIFEST = "run.json"
SCHEMA = "merclip_jax.run/2"
_BEST, _HISTORY = "best_", "history/"


@dataclasses.dataclass(frozen=True)
class MemberResult:
    """A finished member: its outputs for the test clips, and how training went.

    clip: [n] str; outputs: name -> [n, ...]; best: those that the task reads, of the
    selected epoch, equal to `outputs` when that is the last; history: name -> [epochs].
    """

    clip: np.ndarray
    outputs: Mapping[str, np.ndarray]
    best: Mapping[str, np.ndarray]
    history: Mapping[str, np.ndarray]


class Workdir:
    """The folder of one run.

    run.json says whose it is; members/ holds finished members, rounds/ checkpoints of
    groups that are not finished, scalars/ what training reported. Files are whole or
    absent. Processes other than 0 read, and write nothing but their part of a
    checkpoint, in which Orbax asks all of them.
    """

    def __init__(self, path: Path):
        self.path = path
        self.writes = jax.process_index() == 0

    def open(self, manifest: Mapping[str, object]) -> None:
        """Make the folder this run's, or check that it already is.

        `manifest` is a flat dict of everything that the results depend on. Raises
        UserError, listing what differs, when the folder belongs to another run.
        """
        path = self.path / MANIFEST
        ours = json.loads(json.dumps({"schema": SCHEMA, **manifest}))
        if not path.exists():
            self._start(ours)
            return
        try:
            theirs = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: not readable as JSON ({error})") from error
        if not isinstance(theirs, dict):
            raise UserError(f"{path}: not this program's; give another --workdir")
        # First of all: other files would be read as if they were today's.
        if theirs.get("schema") != SCHEMA:
            made = theirs.get("version", "another program")
            raise UserError(
                f"{self.path} was made by version {made} of this program, whose files "
                f"this one ({SCHEMA}) does not continue; nothing in it was touched and "
                "its results stand; give another --workdir"
            )
        keys = ours.keys() | theirs.keys()
        absent = "(absent)"
        listing = "\n".join(
            f"  {k}: there {theirs.get(k, absent)!r}, now {ours.get(k, absent)!r}"
            for k in sorted(keys)
            if k not in ours or k not in theirs or ours[k] != theirs[k]
        )
        if listing:
            raise UserError(
                f"{self.path} was made with other settings; nothing in it was touched:"
                f"\n{listing}\n"
                "Give another --workdir, or the settings it was made with."
            )

    def _start(self, manifest: Mapping[str, object]) -> None:
        if not self.writes:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from error
        # Hidden files are the file manager's, and no reason to refuse a folder.
        if any(p for p in self.path.iterdir() if not p.name.startswith(".")):
            raise UserError(
                f"{self.path} is not empty and was not made by this program; give "
                "another --workdir"
            )
        text = json.dumps(manifest, indent=1, sort_keys=True)
        self.write(MANIFEST, text.encode())

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the folder, whole or not at all.

        Args:
            name: its path below the folder.
            data: all of it.

        Raises:
            OSError: the disk is full, say; the old file is as it was.
        """
        if self.writes:
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)

    def member(self, name: str) -> Path:
        """Where a finished member lies."""
        return self.path / "members" / f"{name}.npz"

    def has_member(self, name: str) -> bool:
        """Whether the member is finished."""
        return self.member(name).exists()

    def save_member(self, name: str, result: MemberResult) -> None:
        """Write a finished member."""
        arrays = {f"{_HISTORY}{k}": np.asarray(v) for k, v in result.history.items()}
        arrays |= {f"{_BEST}{k}": np.asarray(v) for k, v in result.best.items()}
        arrays |= {k: np.asarray(v) for k, v in result.outputs.items()}
        # Into memory first: a file must appear with all of its arrays.
        buffer = io.BytesIO()
        np.savez(buffer, clip=np.asarray(result.clip), **arrays)
        self.write(f"members/{name}.npz", buffer.getvalue())

    def save_weights(
        self,
        name: str,
        system: System,
        variables: Mapping,
        *,
        lineage: Sequence[str],
    ) -> None:
        """Write a member's weights as a bundle.

        Args:
            name: the member's.
            system: what the weights are of.
            variables: NumPy arrays in Flax's collections.
            lineage: what the training started from, as the card says it.
        """
        if self.writes:
            folder = self.path / "weights" / name
            bundle.save(folder, system, variables, name=name, lineage=lineage)

    def load_member(self, name: str, clips: np.ndarray) -> MemberResult:
        """Read a finished member.

        Args:
            name: the member's.
            clips: names [n] of the test clips that it must hold.

        Raises:
            UserError: it is damaged or holds other clips; it is never used nor
                replaced in silence.
        """
        path = self.member(name)
        remedy = "delete it to train this member again"
        try:
            # np.load does not close a damaged file that it opened itself.
            with open(path, "rb") as file, np.load(file) as data:
                arrays = {k: data[k] for k in data.files}
            result = _result(arrays)
        except (
            OSError,
            EOFError,
            KeyError,
            TypeError,  # an array that is no archive
            ValueError,
            zipfile.BadZipFile,
        ) as error:
            raise UserError(f"{path}: damaged ({error}); {remedy}") from error
        if result.clip.tolist() != list(clips):
            raise UserError(f"{path}: holds other clips than this fold tests; {remedy}")
        for output, values in result.outputs.items():
            if len(values) != len(clips) or not np.isfinite(values).all():
                raise UserError(f"{path}: holds {output} that are not finite; {remedy}")
        return result

    def checkpoint(self, group: str) -> RoundCheckpoint:
        """The checkpoints of a group of members that is being trained."""
        return RoundCheckpoint(self.path / "rounds" / group)

    def forget(self, group: str) -> None:
        """Remove the checkpoints of a group whose members are all finished."""
        if self.writes:
            shutil.rmtree(self.path / "rounds" / group, ignore_errors=True)

    def scalars(self, group: str, *, resume_at: int) -> ScalarWriter:
        """The log of a group's scalars from epoch `resume_at` on."""
        folder = self.path / "scalars"
        return ScalarWriter(folder, group, resume_at=resume_at, writes=self.writes)


def _result(arrays: dict[str, np.ndarray]) -> MemberResult:
    """Sort a file's arrays by their names; KeyError or ValueError when some lack."""
    clip = arrays.pop("clip")
    history = _taken(arrays, _HISTORY)
    best = _taken(arrays, _BEST)
    if not arrays or not history or not best:
        raise ValueError("no outputs, no best outputs or no history in it")
    return MemberResult(clip=clip, outputs=arrays, best=best, history=history)


def _taken(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
