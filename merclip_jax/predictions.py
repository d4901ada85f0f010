"""Predictions of many members, checked and pooled: what every score comes from."""

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merclip_jax.files import write_atomically


@dataclass(frozen=True)
class Predictions:
    """What the members say of clips they never trained on; one row per clip and seed.

    clip, subject, fold: [n] str; seed, label: [n] int; logits: [n, K] finite float.
    Raises ValueError unless every seed holds the same clips once, and every clip has
    one subject and one label, and every subject one fold.
    """

    clip: np.ndarray
    subject: np.ndarray
    fold: np.ndarray
    seed: np.ndarray
    label: np.ndarray
    logits: np.ndarray

    def __post_init__(self):
        """Refuse rows that would be scored wrongly."""
        n = len(self.clip)
        for name in ("clip", "subject", "fold"):
            if getattr(self, name).dtype.kind != "U":
                raise ValueError(
                    f"{name}: expected str, got {getattr(self, name).dtype}"
                )
        columns = (self.clip, self.subject, self.fold, self.seed, self.label)
        shapes = [np.shape(column) for column in columns]
        if n == 0 or set(shapes) != {(n,)} or np.shape(self.logits)[:1] != (n,):
            raise ValueError(
                "predictions: clip, subject, fold, seed, label must be [n] and logits "
                f"[n, K] with n > 0, got {shapes} and {np.shape(self.logits)}"
            )
        if self.logits.ndim != 2:
            raise ValueError(f"logits: expected [n, K], got {self.logits.shape}")
        for name, column in (("seed", self.seed), ("label", self.label)):
            if not np.issubdtype(column.dtype, np.integer):
                raise ValueError(f"{name}: expected integers, got {column.dtype}")
        self._refuse(~np.isfinite(self.logits).all(1), "logits that are not finite")
        outside = (self.label < 0) | (self.label >= self.classes)
        self._refuse(outside, f"a label outside 0 to {self.classes - 1}")
        _, where = np.unique(self._keys(), axis=0, return_index=True)
        twice = np.ones(n, bool)
        twice[where] = False
        self._refuse(twice, "more than one prediction for a seed")
        times = dict(zip(*np.unique(self.clip, return_counts=True), strict=True))
        seeds = np.unique(self.seed).size
        missing = np.array([times[c] != seeds for c in self.clip])
        self._refuse(missing, f"a prediction for some but not all of {seeds} seeds")
        for one, per in (("subject", "clip"), ("label", "clip"), ("fold", "subject")):
            _one_value_each(getattr(self, per), getattr(self, one), per, one)

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return self.logits.shape[1]

    @property
    def predicted(self) -> np.ndarray:
        """The class of the greatest logit, [n]; the first one of equals."""
        return self.logits.argmax(1)

    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, [n, K] float64."""
        return softmax(self.logits)

    def sha256(self) -> str:
        """Fingerprint of all rows, whatever their order."""
        digest = hashlib.sha256()
        for i in np.lexsort((self.clip, self.seed)):
            row = [self.seed[i], self.clip[i], self.subject[i], self.fold[i]]
            digest.update("\t".join(map(str, [*row, self.label[i]])).encode())
            digest.update(self.logits[i].astype("<f4").tobytes())
        return digest.hexdigest()

    def _keys(self) -> np.ndarray:
        names, ids = np.unique(self.clip, return_inverse=True)
        return np.stack([self.seed, ids], axis=1)

    def _refuse(self, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            clips = sorted({str(c) for c in self.clip[wrong]})
            more = f" and {len(clips) - 5} more" if len(clips) > 5 else ""
            raise ValueError(f"{what}: {', '.join(clips[:5])}{more}")


@dataclass(frozen=True)
class Example:
    """A clip to show in the report: logits [K], frames [t, h, w, 3] uint8 from onset.

    `matches` are the AU texts nearest to the clip with their similarity, best first.
    Without `apex` (an index into frames) the frame that differs most is taken.
    """

    clip: str
    subject: str
    label: int
    logits: np.ndarray
    frames: np.ndarray
    au_text: str
    matches: Sequence[tuple[str, float]]
    apex: int | None = None


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis in float64."""
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def pool(members: Sequence[Predictions]) -> Predictions:
    """Put the members' predictions together, sorted by seed and clip."""
    if not members:
        raise ValueError("no member has predictions: nothing to pool")
    widths = sorted({member.classes for member in members})
    if len(widths) > 1:
        raise ValueError(f"members disagree on the number of classes: {widths}")
    names = ("clip", "subject", "fold", "seed", "label", "logits")
    rows = {n: np.concatenate([getattr(m, n) for m in members]) for n in names}
    order = np.lexsort((rows["clip"], rows["seed"]))
    return Predictions(**{name: rows[name][order] for name in names})


def write_predictions_csv(
    path: str | os.PathLike, predictions: Predictions, *, classes: Sequence[str]
) -> None:
    """Write one row per clip and seed: true and predicted class, then probabilities."""
    if len(classes) != predictions.classes:
        raise ValueError(f"{predictions.classes} logits but {len(classes)} class names")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["clip", "subject", "fold", "seed", "true", "predicted"]
    writer.writerow([*head, *(f"p_{name}" for name in classes)])
    p, guess = predictions.probabilities(), predictions.predicted
    for i in np.lexsort((predictions.clip, predictions.seed)):
        row = [predictions.clip[i], predictions.subject[i], predictions.fold[i]]
        names = [classes[predictions.label[i]], classes[guess[i]]]
        writer.writerow(
            [*row, predictions.seed[i], *names, *(f"{v:.6f}" for v in p[i])]
        )
    write_atomically(path, text.getvalue().encode())


def _one_value_each(keys: np.ndarray, values: np.ndarray, key: str, value: str) -> None:
    """Raise unless equal keys have equal values."""
    first: dict = {}
    for k, v in zip(keys, values, strict=True):
        if first.setdefault(k, v) != v:
            raise ValueError(f"{key} {k} has more than one {value}: {first[k]}, {v}")
