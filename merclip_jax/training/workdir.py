"""A run's folder: everything that is written there, by process 0 alone."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from merclip_jax import processes
from merclip_jax.atomic import sweep, write_atomically
from merclip_jax.data.folds import Member
from merclip_jax.errors import UserError
from merclip_jax.files import expect_regular, shortened
from merclip_jax.lock import lock
from merclip_jax.systems.system import Context, System
from merclip_jax.training import members
from merclip_jax.training.checkpoint import GroupCheckpoint
from merclip_jax.training.machine import machine, name_of
from merclip_jax.training.members import MemberResult
from merclip_jax.training.scalars import ScalarWriter
from merclip_jax.weights import bundle
from merclip_jax.weights.provenance import Seen

MANIFEST = "run.json"
FIRST = "pretrain"  # folder of a training whose encoder this one starts from
BESIDE = "beside"  # folder of what this run shares with those that train beside it
SCHEMA = "merclip_jax.run/3"
_LOCK = ".lock"
_MACHINES, _SUM = "machines", "sha256"
_OUTPUTS = ("card.json", "report.html", "predictions.csv", "predictions.npz")
_OUTPUTS += ("first_batch.png", "cost.json")


class Workdir:
    """The folder of one run.

    run.json says whose it is and which machines trained it; members/ holds finished
    members, rounds/ checkpoints of groups that are not finished, scalars/ what training
    reported. Files are whole or absent. Processes other than 0 read, and write nothing
    but their part of a checkpoint, in which Orbax asks all of them.

    Args:
        path: of the folder.
        elsewhere: whether a run may go on on another machine than it began on.
    """

    def __init__(self, path: Path, *, elsewhere: bool = False):
        self.path = path
        self.elsewhere = elsewhere
        self.writes = processes.first()
        self.run = ""  # hash of all that the run's numbers depend on, once it is open
        self._manifest: dict[str, object] = {}
        self._unlock: Callable[[], object] = lambda: None

    def __enter__(self) -> "Workdir":
        return self

    def __exit__(self, *_) -> None:
        self._unlock()

    def open(self, manifest: Mapping[str, object]) -> None:
        """Make the folder this run's alone, or check that it already is.

        Args:
            manifest: a flat dict of everything that the results depend on.

        Raises:
            UserError: the folder belongs to another run (what differs is listed), or
                another process is at work in it.
        """
        ours = json.loads(json.dumps({"schema": SCHEMA, **manifest}))
        self.run = _sum(ours)
        here = [self.run, machine()]
        for k, there in enumerate(processes.gathered(here)):
            if there != here:
                raise UserError(
                    f"process {k} has another config, dataset, weights or machine "
                    f"({name_of(there[1])}) than process {jax.process_index()} "
                    f"({name_of(here[1])}); give all of them the same command"
                )
        self._manifest = processes.agreed(lambda: self._opened(ours))
        if not (self.path / MANIFEST).exists():
            raise UserError(
                f"{self.path}: process {jax.process_index()} does not see what process "
                "0 writes there; give a --workdir on a drive that all hosts share"
            )

    def stack(self, size: Callable[[], int]) -> int:
        """Members that train at once on this machine, the same whenever it goes on.

        Args:
            size: finds out, where this machine has not trained this run before.

        Raises:
            UserError: the run began on another machine and may not go on elsewhere.
        """
        here, known = machine(), self._manifest[_MACHINES]
        for there in known:
            if {**there, "stack": None} == {**here, "stack": None}:
                return there["stack"]
        if known and not self.elsewhere:
            began = {k: v for k, v in known[0].items() if k != "stack"}
            raise UserError(
                f"{self.path}: this run began on {name_of(began)}, here is "
                f"{name_of(here)}: sums are taken in another order there, and the last "
                "bits of what is trained here would differ; nothing was touched. Go on "
                "where it began, or add --continue_elsewhere: the card then says which "
                "members were trained where"
            )
        # Where one process has less memory than another, what fits into all.
        found = min(processes.gathered(size()))
        known.append(here | {"stack": found})
        self.write(MANIFEST, self._text())
        return found

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

    def member(self, member: Member) -> Path:
        """Where a finished member lies."""
        return self.path / "members" / f"{member.name}.npz"

    def has_member(self, member: Member) -> bool:
        """Whether the member is finished; UserError for what is no file."""
        return processes.agreed(lambda: self._has(member))

    def save_member(self, member: Member, result: MemberResult) -> None:
        """Write a finished member."""
        data = members.encode(result, member, self.run)
        self.write(f"members/{member.name}.npz", data)

    def load_member(self, member: Member, clips: np.ndarray) -> MemberResult:
        """Read a finished member of this run.

        Args:
            member: which.
            clips: names [n] of the test clips that it must hold.

        Raises:
            UserError: it is damaged, altered, another's, or holds other clips; it is
                never used nor replaced in silence.
        """
        return members.decode(self.member(member), member, self.run, clips)

    def save_weights(
        self,
        member: Member,
        system: System,
        variables: Mapping,
        context: Context,
        *,
        lineage: Sequence[str],
        seen: Sequence[Seen] = (),
    ) -> None:
        """Write a member's weights as a bundle.

        Args:
            member: whose.
            system: what the weights are of.
            variables: NumPy arrays in Flax's collections.
            context: the member's own.
            lineage: what the training started from, as the card says it.
            seen: whom it was trained on.
        """
        if self.writes:
            bundle.save(
                self.weights(member),
                system,
                variables,
                context,
                name=member.name,
                lineage=lineage,
                seen=seen,
            )

    def weights(self, member: Member) -> Path:
        """Where a member's weights lie, if they are kept."""
        return self.path / "weights" / member.name

    def checkpoint(self, group: str) -> GroupCheckpoint:
        """The checkpoints of a group of members that is being trained."""
        return GroupCheckpoint(self.path / "rounds" / group)

    def forget(self, group: str = "") -> None:
        """Remove the checkpoints of a group whose members are finished, or of all."""
        if self.writes:
            shutil.rmtree(self.path / "rounds" / group, ignore_errors=True)
        # No one opens them while they go.
        processes.gathered(group)

    @property
    def begun(self) -> bool:
        """Whether a group of members that is not finished has a checkpoint here."""
        return processes.agreed((self.path / "rounds").exists)

    def scalars(self, group: str, *, resume_at: int) -> ScalarWriter:
        """The log of a group's scalars from epoch `resume_at` on."""
        folder = self.path / "scalars"
        return ScalarWriter(folder, group, resume_at=resume_at, writes=self.writes)

    def costs(self) -> list[dict[str, object]]:
        """What each command's training cost, as `add_cost` was told.

        What a command that was killed had spent is not in it.
        """
        try:
            return list(json.loads((self.path / "cost.json").read_text()))
        except (OSError, ValueError, TypeError):
            return []  # no number depends on it

    def add_cost(self, cost: Mapping[str, object]) -> None:
        """Remember what a command's training cost.

        Args:
            cost: of `training.cost.Meter`.
        """
        if self.writes and cost["clips"]:
            costs = [*self.costs(), dict(cost)]
            with contextlib.suppress(
                OSError
            ):  # a stop or a full disk is told elsewhere
                self.write("cost.json", json.dumps(costs, indent=1).encode())

    def say(self, text: str) -> None:
        """Print a line, once for all processes."""
        if self.writes:
            tqdm.write(text)

    def _has(self, member: Member) -> bool:
        expect_regular(self.member(member), absent=True)
        return self.member(member).exists()

    def _opened(self, ours: Mapping[str, object]) -> dict[str, object]:
        """The manifest of the folder, made or found."""
        # Known now, not after hours: each of these will be read or replaced.
        for name in (MANIFEST, *_OUTPUTS):
            expect_regular(self.path / name, absent=True)
        self._manifest = dict(ours) | {_MACHINES: []}
        if (self.path / MANIFEST).exists():
            theirs = _read(self.path / MANIFEST)
            self._manifest[_MACHINES] = theirs.pop(_MACHINES, [])
            _compare(self.path, ours, theirs)
            self._claim()
        else:
            self._start()
        return self._manifest

    def _start(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from error
        # Hidden files are the file manager's, and no reason to refuse a folder; a
        # training that comes first lies inside.
        if any(
            p
            for p in self.path.iterdir()
            if not p.name.startswith(".") and p.name != FIRST
        ):
            raise UserError(
                f"{self.path} is not empty and was not made by this program; give "
                "another --workdir"
            )
        self._claim()
        self.write(MANIFEST, self._text())

    def _claim(self) -> None:
        """Lock the folder, for as long as this object or the process lives."""
        try:
            file = lock(self.path / _LOCK, "a run")
        except OSError as error:
            # A read-only folder: a finished run can still be looked at.
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                return
            raise UserError(
                f"{self.path / _LOCK}: cannot be locked ({error.strerror}); delete it, "
                "or give another --workdir"
            ) from error
        self._unlock = weakref.finalize(self, os.close, file)
        for folder in (self.path, self.path / "members", self.path / "scalars"):
            sweep(folder)

    def _text(self) -> bytes:
        sealed = self._manifest | {_SUM: _sum(self._manifest)}
        return json.dumps(sealed, indent=1, sort_keys=True).encode()


def _read(path: Path) -> dict[str, object]:
    """A run.json of this version; UserError for any other."""
    try:
        theirs = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(theirs, dict):
        raise UserError(f"{path}: not this program's; give another --workdir")
    # First of all: other files would be read as if they were today's.
    if theirs.get("schema") != SCHEMA:
        made = theirs.get("version", "another program")
        raise UserError(
            f"{path.parent} was made by version {made} of this program, whose files "
            f"this one ({SCHEMA}) does not continue; nothing in it was touched and "
            "its results stand; give another --workdir"
        )
    if theirs.pop(_SUM, "") != _sum(theirs):
        raise UserError(
            f"{path}: was changed since this program wrote it; give another --workdir"
        )
    return theirs


def _sum(manifest: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _compare(folder: Path, ours: Mapping, theirs: Mapping) -> None:
    """Raises UserError that lists what differs between two manifests."""
    keys, absent = ours.keys() | theirs.keys(), "(absent)"
    listing = "\n".join(
        f"  {k}: there {shortened(repr(theirs.get(k, absent)))}, "
        f"now {shortened(repr(ours.get(k, absent)))}"
        for k in sorted(keys)
        if k not in ours or k not in theirs or ours[k] != theirs[k]
    )
    if listing:
        raise UserError(
            f"{folder} was made with other settings; nothing in it was touched:"
            f"\n{listing}\n"
            "Give another --workdir, or the settings it was made with."
        )
