"""Runs whose configs differ in little, trained in shared stacks: the rows of a table.

Each run keeps its folder, card and members; only training is shared, and only where one
program serves both runs (`systems.variants`).
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from merclip_jax import build, experiment
from merclip_jax.data.folds import Member
from merclip_jax.errors import UserError
from merclip_jax.job import Job, flatten
from merclip_jax.systems import variants
from merclip_jax.systems.system import Context
from merclip_jax.systems.variants import Variants
from merclip_jax.training.loop import train_members
from merclip_jax.training.members import MemberResult
from merclip_jax.training.memory import Stacks
from merclip_jax.training.stack import Plan
from merclip_jax.training.workdir import BESIDE, Workdir
from merclip_jax.weights.provenance import Seen

# Of a run's manifest, its names, and what the system is made of, which
# `variants.alike` compares.
_NAMES = ("name", "recipe", "ablation")
_SYSTEM = ("text.", "loss.", "augment.")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run among others: its members, and its folder, which is open."""

    job: Job
    members: Sequence[Member]
    workdir: Workdir

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.workdir.path.name

    @functools.cached_property
    def plan(self) -> Plan:
        """What its training needs."""
        return experiment.plan_of(self.job)


def train(
    configs: Sequence[tuple[Path, ConfigDict]],
    *,
    elsewhere: bool = False,
    overlap: bool = False,
) -> None:
    """Train the members of runs that can share their stacks; the others are left.

    What is finished is not trained again. The commands of the runs themselves find
    their members trained, and make their cards.

    Args:
        configs: folder and config of each run; shared checkpoints and logs lie in the
            first one's.
        elsewhere: whether they may go on on another machine than they began on.
        overlap: whether their weights may have seen their test subjects.

    Raises:
        UserError: for what the user can mend.
        Stopped: a signal asked for it; the same call goes on.
    """
    names = [path.name for path, _ in configs]
    if len(set(names)) < len(names):  # members go by them while they train
        raise UserError(f"--beside: expected folders of different names, found {names}")
    with contextlib.ExitStack() as opened:
        jobs: list[Job] = []
        for _, config in configs:
            # One copy of the pictures serves all that see the same clips alike.
            known = [job.clips for job in jobs if _sees(job, config)]
            jobs.append(build.job(config, known[0] if known else build.clips(config)))
        runs = []
        for job, (path, _) in zip(jobs, configs, strict=True):
            members = experiment.members_of(job)
            experiment.check_overlap(job, members, allowed=overlap)
            workdir = opened.enter_context(Workdir(path, elsewhere=elsewhere))
            workdir.open(experiment.manifest(job))
            runs.append(Run(job, members, workdir))
        # What was begun alone goes on alone: nothing that is trained is lost.
        runs = [run for run in runs if not run.workdir.begun]
        folder = configs[0][0] / BESIDE
        for group in grouped([run.job for run in runs]):
            some = [runs[i] for i in group]
            shared = folder / _sum(some)
            # Of runs that trained beside others before, all take part until the last is
            # finished: who trains together decides the last bits.
            left = sum(not _finished(run) for run in some)
            if left > 1 or (left and shared.exists()):
                _train(shared, some, elsewhere=elsewhere)


def _train(folder: Path, runs: Sequence[Run], *, elsewhere: bool) -> None:
    """Train the members of runs that are alike in shared stacks."""
    with Shared(folder, runs, elsewhere=elsewhere) as shared:
        shared.open({f"run/{run.name}": run.workdir.run for run in runs})
        shared.say(f"side by side: {', '.join(run.name for run in runs)}")
        stacks = Stacks(shared.plan, shared.members)
        size = shared.stack(stacks.size)
        train_members(stacks.of(size), shared.members, shared)


def _sum(runs: Sequence[Run]) -> str:
    """What tells these runs' shared folder from that of any others."""
    named = json.dumps([[run.name, run.workdir.run] for run in runs])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def grouped(jobs: Sequence[Job]) -> list[list[int]]:
    """Which runs one program serves, by their places, in the order they came in."""
    groups: list[list[int]] = []
    for i, job in enumerate(jobs):
        for group in groups:
            if _alike(jobs[group[0]], job):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


class Shared(Workdir):
    """A folder of what runs share while they train; their members go to their own.

    plan: one of all runs; members: of all of them, each named by run and fold.

    Args:
        path: of the folder.
        runs: that are alike, their folders open.
        elsewhere: whether they may go on on another machine than they began on.
    """

    def __init__(self, path: Path, runs: Sequence[Run], *, elsewhere: bool = False):
        super().__init__(path, elsewhere=elsewhere)
        self.runs = runs
        self._owners: dict[str, tuple[Run, Member]] = {}
        self.members: list[Member] = []
        which = {}
        for v, run in enumerate(runs):
            for own in run.members:
                name = f"{run.name}:{own.fold.name}"
                fold = dataclasses.replace(own.fold, name=name)
                member = dataclasses.replace(own, fold=fold)
                which[name] = v
                self.members.append(member)
                self._owners[member.name] = run, own
        system, columns, constants = variants.side_by_side(
            [run.job.system for run in runs],
            [run.plan.columns for run in runs],
            [run.plan.context.run for run in runs],
        )
        self.plan = dataclasses.replace(
            runs[0].plan,
            system=system,
            columns=columns,
            context=Context(run=constants),
            variants=which,
        )

    def member(self, member: Member) -> Path:
        """Where a finished member lies."""
        run, own = self._owners[member.name]
        return run.workdir.member(own)

    def save_member(self, member: Member, result: MemberResult) -> None:
        """Write a finished member into the folder of its run."""
        run, own = self._owners[member.name]
        run.workdir.save_member(own, result)

    def load_member(self, member: Member, clips: np.ndarray) -> MemberResult:
        """Read a finished member of its run."""
        run, own = self._owners[member.name]
        return run.workdir.load_member(own, clips)

    def save_weights(
        self,
        member: Member,
        system: Variants,
        variables: Mapping,
        context: Context,
        *,
        lineage: Sequence[str],
        seen: Sequence[Seen] = (),
    ) -> None:
        """Write a member's weights as its run would have, had it trained alone."""
        del system, context  # of all runs
        run, own = self._owners[member.name]
        run.workdir.save_weights(
            own,
            run.job.system,
            variables,
            Context(run.plan.context.run, run.plan.constants(own.fold.train)),
            lineage=lineage,
            seen=seen,
        )

    def add_cost(self, cost: Mapping[str, object]) -> None:
        """Each run has its even part of what training cost: it was one step for all."""
        parts = {k: v and v / len(self.runs) for k, v in cost.items()}
        parts["clips"] = round(parts["clips"])
        for run in self.runs:
            run.workdir.add_cost(parts)


def _finished(run: Run) -> bool:
    return all(map(run.workdir.has_member, run.members))


def _sees(job: Job, config: ConfigDict) -> bool:
    """Whether a config's clips are those of a job."""
    ours = {k: v for k, v in job.values.items() if k.startswith("data.")}
    theirs = flatten(config)
    return ours == {k: v for k, v in theirs.items() if k.startswith("data.")}


def _alike(one: Job, other: Job) -> bool:
    return _apart(one) == _apart(other) and variants.alike(one.system, other.system)


def _apart(job: Job) -> dict[str, object]:
    """All that a run's numbers depend on, but its name and what makes its system."""
    values = experiment.manifest(job).items()
    return {k: v for k, v in values if k not in _NAMES and not k.startswith(_SYSTEM)}
