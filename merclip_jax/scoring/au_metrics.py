"""F1 of action units from pooled counts, its interval, and what guessing scores.

Counts are [..., 3, a]: of each AU the clips hit, missed and falsely said to show it.
"""

import numpy as np

from merclip_jax.scoring.intervals import jackknife
from merclip_jax.scoring.metrics import ratio


def counts(target: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Hits, misses and false alarms [3, a] of targets and answers [n, a]."""
    target, answer = np.asarray(target).astype(bool), np.asarray(answer).astype(bool)
    if target.shape != answer.shape or target.ndim != 2 or not len(target):
        raise ValueError(
            f"expected targets and answers [n, a], got {target.shape}, {answer.shape}"
        )
    both = (target & answer, target & ~answer, ~target & answer)
    return np.stack([one.sum(0) for one in both])


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each AU [..., a]; 0 where it is neither shown nor said."""
    hits, misses, false = np.moveaxis(counts, -2, 0)
    return ratio(2 * hits, 2 * hits + misses + false)


def recall(counts: np.ndarray) -> np.ndarray:
    """Recall of each AU [..., a]; 0 where no clip shows it."""
    hits, misses, _ = np.moveaxis(counts, -2, 0)
    return ratio(hits, hits + misses)


def precision(counts: np.ndarray) -> np.ndarray:
    """Precision of each AU [..., a]; 0 where no answer says it."""
    hits, _, false = np.moveaxis(counts, -2, 0)
    return ratio(hits, hits + false)


def subject_interval(
    target: np.ndarray, answer: np.ndarray, subjects: np.ndarray, *, seeds: np.ndarray
) -> tuple[float, float]:
    """The interval of the mean F1 over subjects (`intervals.jackknife`).

    Args:
        target: bool [n, a].
        answer: bool [n, a].
        subjects: [n].
        seeds: [n] training seeds; a subject is left out of all of them at once.
    """
    _, group = np.unique(subjects, return_inverse=True)
    _, run = np.unique(seeds, return_inverse=True)
    shape = (group.max() + 1, run.max() + 1)
    each = np.zeros((*shape, 3, target.shape[1]))
    for i, j in np.ndindex(shape):
        rows = (group == i) & (run == j)
        each[i, j] = counts(target[rows], answer[rows])
    whole = each.sum(0)
    return jackknife(f1(whole).mean(), f1(whole - each).mean((1, 2)))


def guess_by_prior(
    target: np.ndarray, *, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean F1 of saying each AU as often as it occurs: mean, 2.5 and 97.5 percentile.

    Hits and false alarms of independent guesses are binomial.
    """
    n, shown = len(target), np.asarray(target).astype(int).sum(0)
    rng = np.random.default_rng(0)
    size = (draws, len(shown))
    hits = rng.binomial(shown, shown / n, size)
    false = rng.binomial(n - shown, shown / n, size)
    means = f1(np.stack([hits, shown - hits, false], 1)).mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(means.mean()), float(low), float(high)
