"""What guessing would have scored: the yardstick beside every number.

As in `metrics`, K is a property of the task, never of the answers at hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merclip_jax.scoring.metrics import (
    Scores,
    class_indices,
    confusion_matrix,
    pooled_scores,
    scores,
)


@dataclass(frozen=True)
class Chance:
    """UF1 of a guesser: its mean and the range that holds 95 % of its runs."""

    uf1: float
    low: float
    high: float


def guess_by_prior(
    labels: np.ndarray, *, classes: int, draws: int = 2000, seed: int = 0
) -> Chance:
    """Returns the UF1 of guessing each clip's class by the classes' frequencies.

    Args:
        labels: [n] integers in 0..classes-1.
        classes: K of the task.
        draws: runs of the guesser.
        seed: of the draws.
    """
    support = np.bincount(class_indices("labels", labels, classes), minlength=classes)
    rng = np.random.default_rng(seed)
    uf1 = pooled_scores(_guesses(rng, support, support / support.sum(), (draws,)))[0]
    low, high = np.percentile(uf1, (2.5, 97.5))
    return Chance(uf1=float(uf1.mean()), low=float(low), high=float(high))


def majority(labels: np.ndarray, *, classes: int) -> Scores:
    """Returns the scores of answering the most frequent class for every clip.

    Args:
        labels: [n] integers in 0..classes-1.
        classes: K of the task.
    """
    labels = class_indices("labels", labels, classes)
    # Of the labels that are scored: chance is told the truth, to be no easy yardstick.
    answer = np.bincount(labels, minlength=classes).argmax()
    guesses = np.full(labels.shape, answer)
    return scores(confusion_matrix(labels, guesses, classes=classes))


def selection_ceiling(
    fold_labels: Sequence[np.ndarray],
    *,
    classes: int,
    epochs: int,
    draws: int = 100,
    seed: int = 0,
) -> float:
    """Pooled UF1 a guesser reaches if each fold keeps its best epoch on its own test.

    It says how much of a best-on-test score can be selection alone.

    Args:
        fold_labels: the test labels of each fold.
        classes: K of the task.
        epochs: that each fold chooses from; 1 is honest chance.
        draws: runs of the guesser.
        seed: of the draws.

    Returns:
        The mean over draws.

    Raises:
        ValueError: without a fold or an epoch.
    """
    if epochs < 1 or not fold_labels:
        raise ValueError(
            f"expected one fold and one epoch at least, got {len(fold_labels)} folds "
            f"and {epochs} epochs"
        )
    supports = [
        np.bincount(class_indices(f"labels of fold {i}", f, classes), minlength=classes)
        for i, f in enumerate(fold_labels)
    ]
    # Every epoch is a fresh guess. Epochs of a real training are alike and give less to
    # choose from, so that this is the worst case.
    total = np.sum(supports, axis=0)
    rng = np.random.default_rng(seed)
    pooled = np.zeros((draws, classes, classes))
    for support in supports:
        guesses = _guesses(rng, support, total / total.sum(), (draws, epochs))
        # By the fold's own UF1, as a selection of this program would choose; of equal
        # epochs the first.
        best = pooled_scores(guesses)[0].argmax(1)
        pooled += guesses[np.arange(draws), best]
    return float(pooled_scores(pooled)[0].mean())


def _guesses(
    rng: np.random.Generator, support: np.ndarray, prior: np.ndarray, size: tuple
) -> np.ndarray:
    """Confusion matrices [*size, K, K] of guessing by `prior`, a multinomial a row."""
    # Only counts matter to a score: a multinomial for each class, not a draw a clip.
    rows = [rng.multinomial(int(count), prior, size=size) for count in support]
    return np.stack(rows, axis=-2)
