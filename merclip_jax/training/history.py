"""What a stack tells of its training: scalars of every epoch, and the best answers."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from merclip_jax.data.folds import Member
from merclip_jax.errors import UserError
from merclip_jax.training.stack import Plan
from merclip_jax.training.step import SCALARS


class History:
    """Sums of scalars and best answers of a stack; saved with every checkpoint.

    arrays: steps []: how many are counted; sums [m, epochs, scalars], divided by an
    epoch's steps once it is full; best_score [m] and best_NAME [m, n, ...] belong to
    the selection, an output that the task reads each.
    """

    def __init__(self, plan: Plan, stacked: Sequence[Member], outputs: Mapping):
        self.plan, self.stacked = plan, stacked
        self.names = [s.name for s in (*plan.system.scalars, *SCALARS)]
        self.per_epoch = np.asarray([plan.steps_per_epoch(m) for m in stacked])
        self.steps = np.asarray([plan.steps(m) for m in stacked])
        self.epochs = np.asarray([plan.epochs(m) for m in stacked])
        self._waiting = None
        m, tested = len(stacked), max(len(member.fold.test) for member in stacked)
        self.arrays = {
            "steps": np.zeros((), np.int32),
            "sums": np.zeros((m, self.epochs.max(), len(self.names)), np.float64),
            "best_score": np.full((m,), -np.inf),
        }
        for name, output in outputs.items():
            shape = (m, tested, *output.shape[2:])
            plain = np.float32 if output.dtype.kind == "V" else output.dtype
            self.arrays[f"best_{name}"] = np.zeros(shape, plain)

    def add(self, start: int, scalars: Mapping, index: np.ndarray) -> None:
        """Take what a dispatch reported; it is read when the next one comes.

        Args:
            start: its first step.
            scalars: name -> [k, m].
            index: clips of its batches, [k, m, b].
        """
        # Reading blocks until the device is done, so the last dispatch is read while
        # this one runs.
        self.settle()
        self._waiting = start, scalars, index

    def settle(self) -> None:
        """Read what `add` was given last.

        Raises UserError, with step, member and clips, for a loss that is not finite.
        """
        if self._waiting is None:
            return
        (start, scalars, index), self._waiting = self._waiting, None
        values = jax.device_get(scalars)
        table = np.stack([values[n] for n in self.names], -1)
        for k, row in enumerate(table):
            step = start + k
            # Members that are done still report; their numbers belong to no epoch.
            running = step < self.steps
            losses = row[:, self.names.index("loss")]
            bad = np.flatnonzero(running & ~np.isfinite(losses))
            if bad.size:
                self._refuse(int(bad[0]), float(losses[bad[0]]), step, index[k])
            epoch = step // self.per_epoch
            rows = np.flatnonzero(running)
            self.arrays["sums"][rows, epoch[rows]] += row[rows]
        self.arrays["steps"] = np.asarray(start + len(table), np.int32)

    def epochs_done(self) -> int:
        """Epochs that every member of the stack has finished or will never have."""
        steps = int(self.arrays["steps"])
        done = np.where(steps >= self.steps, self.epochs.max(), steps // self.per_epoch)
        return int(done.min())

    def means(self, m: int) -> dict[str, np.ndarray]:
        """Mean scalars [epochs] of member m."""
        counts = np.full(self.epochs[m], self.per_epoch[m])
        # A training counted in steps may end within an epoch.
        counts[-1] = self.steps[m] - self.per_epoch[m] * (self.epochs[m] - 1)
        means = self.arrays["sums"][m, : self.epochs[m]] / counts[:, None]
        return {name: means[:, i] for i, name in enumerate(self.names)}

    def epoch(self, epoch: int) -> dict[str, float]:
        """Mean scalars of an epoch over the stack's distinct members that have it."""
        # The last group is filled up with repeats, which would count twice.
        distinct = {member.name: m for m, member in enumerate(self.stacked)}
        rows = [self.means(m) for m in distinct.values() if epoch < self.epochs[m]]
        return {n: float(np.mean([r[n][epoch] for r in rows])) for n in self.names}

    def improved(self, scores: np.ndarray) -> np.ndarray:
        """Whether scores [m] are new bests: of equal epochs the first one stays."""
        return scores > self.arrays["best_score"]

    def keep_best(self, scores: np.ndarray, answers: Sequence[Mapping]) -> None:
        """Keep a member's test outputs where its score is a new best.

        Args:
            scores: of the selection, [m].
            answers: each member's test outputs.
        """
        for m in np.flatnonzero(self.improved(scores)):
            self.arrays["best_score"][m] = scores[m]
            for name in self.plan.system.task.reads:
                kept = self.arrays[f"best_{name}"][m]
                kept[: len(answers[m][name])] = answers[m][name]

    def best(self, m: int) -> dict[str, np.ndarray]:
        """The kept test outputs of member m, those that the task reads."""
        n = len(self.stacked[m].fold.test)
        return {
            name: self.arrays[f"best_{name}"][m, :n]
            for name in self.plan.system.task.reads
        }

    def _refuse(self, m: int, loss: float, step: int, index: np.ndarray) -> None:
        clips = self.plan.store.clips.clip[index[m]].tolist()
        raise UserError(
            f"the loss of member {self.stacked[m].name} is {loss} at step {step}, on "
            f"clips {clips}; try a lower peak_lr or look at these clips; the last "
            "checkpoint is from before this step"
        )
