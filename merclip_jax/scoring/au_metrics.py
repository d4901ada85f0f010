"""F1 and AUC-PR of action units, their intervals, thresholds, what guessing scores.

Counts are [..., 3, a]: of each AU the clips hit, missed and falsely said to show it.
"""

from collections.abc import Callable

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


def always(target: np.ndarray) -> np.ndarray:
    """F1 of saying an AU of every clip, 2p / (1 + p) of its share p; [a].

    Args:
        target: [n, a] 0 or 1.
    """
    share = np.asarray(target, np.float64).mean(0)
    return 2 * share / (1 + share)


def average_precision(target: np.ndarray, value: np.ndarray) -> np.ndarray:
    """AUC-PR of each AU [a]: sum over thresholds of (R_k - R_k-1) P_k, as steps.

    It equals scikit-learn's average_precision_score: clips of one value pass a
    threshold together, nothing is interpolated. 0 where no clip shows the AU.

    Args:
        target: [n, a] 0 or 1.
        value: [n, a] the surer, the higher; logits or probabilities.

    Raises:
        ValueError: the shapes differ, or there is no clip.
    """
    target = np.asarray(target).astype(bool)
    if target.shape != np.shape(value) or target.ndim != 2 or not len(target):
        raise ValueError(
            f"expected targets and values [n, a], got {target.shape}, {np.shape(value)}"
        )
    columns = zip(target.T, np.asarray(value).T, strict=True)
    return np.array([_one_average_precision(*column) for column in columns])


def thresholds(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The logit above which to say each AU, by F1 on these clips; float32 [a].

    Half-way between two clips; of equally good ones the nearest to 0, which is a
    probability of 0.5. That stays where no clip shows the AU: nothing tells otherwise.

    Args:
        target: [n, a] 0 or 1, of clips that are neither trained on nor tested.
        logits: [n, a] what was answered to them.
    """
    target = np.asarray(target).astype(bool)
    columns = zip(target.T, np.asarray(logits, np.float64).T, strict=True)
    return np.array([_threshold(*column) for column in columns], np.float32)


def subject_interval(
    score: Callable[[np.ndarray], float], subjects: np.ndarray, *, seeds: np.ndarray
) -> tuple[float, float]:
    """The interval of a score over subjects (`intervals.jackknife`).

    Args:
        score: of the rows in a mask [n], all of one seed.
        subjects: [n].
        seeds: [n] training seeds; a subject is left out of all of them at once.
    """
    runs = [seeds == seed for seed in np.unique(seeds)]
    whole = np.mean([score(run) for run in runs])
    without = [
        np.mean([score(run & (subjects != subject)) for run in runs])
        for subject in np.unique(subjects)
    ]
    return jackknife(float(whole), np.asarray(without))


def together(shown: np.ndarray) -> np.ndarray:
    """How many clips show AU i (row) and AU j (column), int [a, a].

    Args:
        shown: [n, a] 0 or 1.
    """
    shown = np.asarray(shown).astype(np.int64)
    return shown.T @ shown


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


def _one_average_precision(target: np.ndarray, value: np.ndarray) -> float:
    positives = target.sum()
    if not positives:
        return 0.0
    order = np.argsort(-value, kind="stable")
    hits, sorted_ = np.cumsum(target[order]), value[order]
    # Only where the value changes does a threshold lie.
    last = np.append(sorted_[1:] != sorted_[:-1], True)
    hits, said = hits[last], np.flatnonzero(last) + 1
    return float(np.sum(np.diff(hits, prepend=0) * hits / said) / positives)


def _threshold(target: np.ndarray, logits: np.ndarray) -> float:
    if not target.any():
        return 0.0
    values = np.unique(logits)
    # 0 is among them, so that 0.5 stays unless something is better.
    tried = np.append((values[1:] + values[:-1]) / 2, [0.0, values[0] - 1])
    said = (logits > tried[:, None]).T  # [n, thresholds]: as if each were an AU
    found = f1(counts(np.broadcast_to(target[:, None], said.shape), said))
    best = np.flatnonzero(found == found.max())
    return float(tried[best][np.abs(tried[best]).argmin()])
