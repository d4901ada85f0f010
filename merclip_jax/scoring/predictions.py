"""Predictions of many members, checked and pooled: what every score comes from."""

import csv
import dataclasses
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from merclip_jax.printable import printable, spreadsheet_cell
from merclip_jax.scoring.blocks import Task


@dataclass(frozen=True)
class Predictions:
    """What the members say of clips they never trained on; one row per clip and seed.

    clip, subject, fold, split: [n] str; seed: [n] int; target: [n, ...] as the task has
    it; outputs: what the task reads, each [n, ...] finite. Raises ValueError unless
    every seed holds the same clips once, every clip has one subject and one target,
    and every subject one fold.
    """

    task: Task
    clip: np.ndarray
    subject: np.ndarray
    fold: np.ndarray
    split: np.ndarray
    seed: np.ndarray
    target: np.ndarray
    outputs: Mapping[str, np.ndarray]

    def __post_init__(self):
        """Refuse rows that would be scored wrongly."""
        n = len(self.clip)
        for name in ("clip", "subject", "fold", "split"):
            if getattr(self, name).dtype.kind != "U":
                raise ValueError(
                    f"{name}: expected str, got {getattr(self, name).dtype}"
                )
        if not np.issubdtype(self.seed.dtype, np.integer):
            raise ValueError(f"seed: expected integers, got {self.seed.dtype}")
        columns = (self.clip, self.subject, self.fold, self.split, self.seed)
        shapes = {np.shape(column) for column in columns}
        lengths = {len(self.target), *map(len, self.outputs.values())}
        if n == 0 or shapes != {(n,)} or lengths != {n}:
            raise ValueError(
                "predictions: clip, subject, fold, split, seed must be [n], target and "
                f"outputs [n, ...] with n > 0, got {sorted(shapes)}, {sorted(lengths)}"
            )
        if set(self.outputs) != set(self.task.reads):
            raise ValueError(
                f"outputs {sorted(self.outputs)}: the task reads "
                f"{sorted(self.task.reads)}"
            )
        for name, values in self.outputs.items():
            bad = ~np.isfinite(values.reshape(n, -1)).all(1)
            self._refuse(bad, f"{name} that are not finite")
        self._refuse(self.task.invalid(self.target), "a target outside the task")
        answers = self.task.probabilities(self.outputs).shape
        if answers != (n, len(self.task.names)):
            raise ValueError(
                f"outputs that give {list(answers)} answers, but the task has the "
                f"{len(self.task.names)} names {list(self.task.names)}"
            )
        self._check_rows(n)

    def _check_rows(self, n: int) -> None:
        names, ids = np.unique(self.clip, return_inverse=True)
        keys = np.stack([self.seed, ids], axis=1)
        _, where = np.unique(keys, axis=0, return_index=True)
        twice = np.ones(n, bool)
        twice[where] = False
        self._refuse(twice, "more than one prediction for a seed")
        times = dict(zip(*np.unique(self.clip, return_counts=True), strict=True))
        seeds = np.unique(self.seed).size
        missing = np.array([times[c] != seeds for c in self.clip])
        self._refuse(missing, f"a prediction for some but not all of {seeds} seeds")
        # Two answers to one clip, or a subject in two folds, would be scored twice.
        targets = [str(row.tolist()) for row in self.target]
        _one_value_each(self.clip, self.subject, "clip", "subject")
        _one_value_each(self.clip, targets, "clip", "target")
        _one_value_each(self.subject, self.fold, "subject", "fold")

    @property
    def answer(self) -> np.ndarray:
        """What the task takes the outputs to say, [n, ...] like the target."""
        return self.task.answer(self.outputs)

    def where(self, rows: np.ndarray) -> "Predictions":
        """The rows of a mask or an index alone."""
        columns = ("clip", "subject", "fold", "split", "seed", "target")
        changed = {name: getattr(self, name)[rows] for name in columns}
        outputs = {name: values[rows] for name, values in self.outputs.items()}
        return dataclasses.replace(self, **changed, outputs=outputs)

    def sha256(self) -> str:
        """Fingerprint of all rows, whatever their order."""
        digest = hashlib.sha256()
        # Sorted, so that the order in which members finished does not count.
        for i in self._order():
            row = [self.seed[i], self.clip[i], self.subject[i], self.fold[i]]
            target = " ".join(map(str, np.ravel(self.target[i])))
            line = "\t".join(map(str, [*row, target]))
            digest.update(line.encode(errors="surrogatepass"))
            for name in self.task.reads:
                digest.update(self.outputs[name][i].astype("<f4").tobytes())
        return digest.hexdigest()

    def csv(self) -> str:
        """A table: a row per clip and seed with target, answer, probabilities.

        No cell is a formula to a spreadsheet, nor an order to a terminal.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        head = ["clip", "subject", "fold", "seed", "true", "predicted"]
        writer.writerow([*head, *(_cell(f"p_{name}") for name in self.task.names)])
        p = self.task.probabilities(self.outputs)
        true, said = self._named(self.target), self._named(self.answer)
        for i in self._order():
            who = [_cell(c[i]) for c in (self.clip, self.subject, self.fold)]
            what = [self.seed[i], _cell(true[i]), _cell(said[i])]
            writer.writerow([*who, *what, *(f"{v:.6f}" for v in p[i])])
        return text.getvalue()

    def _named(self, values: np.ndarray) -> list[str]:
        return named(self.task, values)

    def _order(self) -> np.ndarray:
        return np.lexsort((self.clip, self.seed))

    def _refuse(self, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            clips = sorted({str(c) for c in self.clip[wrong]})
            more = f" and {len(clips) - 5} more" if len(clips) > 5 else ""
            raise ValueError(f"{what}: {', '.join(clips[:5])}{more}")


def named(task: Task, values: np.ndarray) -> list[str]:
    """Targets or answers in words; several names are joined by "+".

    Args:
        task: which names them.
        values: [n, ...] as the task has them.
    """
    return [
        "+".join(name for name, on in zip(task.names, row, strict=True) if on)
        for row in task.marks(values)
    ]


def pool(members: Sequence[Predictions]) -> Predictions:
    """Put the members' predictions together, sorted by seed and clip."""
    if not members:
        raise ValueError("no member has predictions: nothing to pool")
    tasks = {member.task for member in members}
    if len(tasks) > 1:
        raise ValueError(f"members disagree on the task: {tasks}")
    columns = ("clip", "subject", "fold", "split", "seed", "target")
    rows = {c: np.concatenate([getattr(m, c) for m in members]) for c in columns}
    outputs = {
        name: np.concatenate([m.outputs[name] for m in members])
        for name in members[0].outputs
    }
    pooled = Predictions(task=members[0].task, outputs=outputs, **rows)
    return pooled.where(pooled._order())


def _cell(text: str) -> str:
    return spreadsheet_cell(printable(str(text)))


def _one_value_each(keys: Iterable, values: Iterable, key: str, value: str) -> None:
    """Raise unless equal keys have equal values."""
    first: dict = {}
    for k, v in zip(keys, values, strict=True):
        if first.setdefault(k, v) != v:
            raise ValueError(f"{key} {k} has more than one {value}: {first[k]}, {v}")
