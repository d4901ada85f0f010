"""What a stack tells of its training: history, and the epoch that selection keeps."""

from collections.abc import Sequence

import numpy as np

from merclip_jax import train
from merclip_jax.errors import UserError
from merclip_jax.programs import Plan
from merclip_jax.protocols import Member


class Story:
    """What a stack tells of its training; saved with every checkpoint.

    sums: [m, epochs, scalars], divided by `steps_per_epoch` once an epoch is full;
    best_score [m] and best_logits [m, n, k] belong to the selection.
    """

    def __init__(self, plan: Plan, stacked: Sequence[Member], per_epoch: list[int]):
        self.plan, self.stacked, self.per_epoch = plan, stacked, np.asarray(per_epoch)
        self.waiting = None
        m, classes = len(stacked), plan.model.classes
        tested = max(len(member.fold.test) for member in stacked)
        self.arrays = {
            "steps": np.zeros((), np.int32),
            "sums": np.zeros((m, plan.hyper.epochs, len(train.SCALARS)), np.float64),
            "best_score": np.full((m,), -1.0),
            "best_logits": np.zeros((m, tested, classes), np.float32),
        }

    def add(self, start: int, scalars: dict, index: np.ndarray) -> None:
        """Take the scalars [k, m] of steps start..start+k-1 on clips `index` [k, m, b].

        They are read when the next ones come, so that the device never waits.
        """
        self.settle()
        self.waiting = start, scalars, index

    def settle(self) -> None:
        """Read what `add` was given last.

        Raises UserError, with step, member and clips, for a loss that is not finite.
        """
        if self.waiting is None:
            return
        (start, scalars, index), self.waiting = self.waiting, None
        table = np.stack([np.asarray(scalars[n]) for n in train.SCALARS], -1)
        for k, row in enumerate(table):
            epochs = (start + k) // self.per_epoch
            running = epochs < self.plan.hyper.epochs
            bad = np.flatnonzero(running & ~np.isfinite(row[:, 0]))
            if bad.size:
                m = int(bad[0])
                clips = self.plan.store.clips.clip[index[k, m]].tolist()
                raise UserError(
                    f"the loss of member {self.stacked[m].name} is {row[m, 0]} at step "
                    f"{start + k}, on clips {clips}; try a lower peak_lr or look at "
                    "these clips; the last checkpoint is from before this step"
                )
            self.arrays["sums"][np.flatnonzero(running), epochs[running]] += row[
                running
            ]
        self.arrays["steps"] = np.asarray(start + len(table), np.int32)

    def epochs_done(self) -> int:
        """Epochs that every member of the stack has finished."""
        done = int(self.arrays["steps"]) // self.per_epoch.max()
        return int(min(done, self.plan.hyper.epochs))

    def history(self, m: int) -> dict[str, np.ndarray]:
        """Mean scalars [epochs] of member m."""
        means = self.arrays["sums"][m] / self.per_epoch[m]
        return {name: means[:, i] for i, name in enumerate(train.SCALARS)}

    def epoch(self, epoch: int) -> dict[str, float]:
        """Mean scalars of an epoch over the stack's distinct members."""
        distinct = {member.name: m for m, member in enumerate(self.stacked)}
        rows = [self.history(m) for m in distinct.values()]
        return {n: float(np.mean([r[n][epoch] for r in rows])) for n in train.SCALARS}

    def look(self, scores: np.ndarray, logits: list[np.ndarray]) -> None:
        """Keep a member's test logits where its selection score [m] is a new best."""
        for m, better in enumerate(scores > self.arrays["best_score"]):
            if better:
                self.arrays["best_score"][m] = scores[m]
                self.arrays["best_logits"][m, : len(logits[m])] = logits[m]
