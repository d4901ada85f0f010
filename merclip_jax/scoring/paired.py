"""Differences between runs on the same clips, by resampling their subjects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from merclip_jax.scoring.metrics import pooled_scores

DRAWS = 2000
LEVEL = 0.95
SCORES = ("uf1", "uar", "acc", "wf1")


@dataclass(frozen=True)
class Difference:
    """A score of a run less that of another: value, 95 % interval over subjects.

    better: share of the resampled studies in which it is above zero.
    """

    value: float
    low: float
    high: float
    better: float


@dataclass(frozen=True)
class McNemar:
    """Clips that one of two runs alone answered right, and how odd that is.

    mine, theirs: how many; p: of so uneven a split, or a more uneven one, if both were
    equally good (exact, two-sided). Clips of one subject are alike, so p is too small:
    the interval over subjects is what to go by.
    """

    mine: int
    theirs: int
    p: float


def mcnemar(mine: np.ndarray, theirs: np.ndarray) -> McNemar:
    """McNemar's exact test of two runs on the same clips (1947).

    Args:
        mine, theirs: bool [n], whether each clip was answered right.
    """
    alone, other = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    p = stats.binomtest(alone, alone + other).pvalue if alone + other else 1.0
    return McNemar(alone, other, float(p))


def counts(
    target: np.ndarray,
    answer: np.ndarray,
    subject: np.ndarray,
    seed: np.ndarray,
    *,
    subjects: Sequence[str],
    classes: int,
) -> np.ndarray:
    """Confusion matrices of each subject with each seed, int64 [s, r, K, K].

    Args:
        target, answer: [n] integers in 0..classes-1.
        subject: [n].
        seed: [n].
        subjects: in which order, the same for all runs.
        classes: K.
    """
    runs = np.unique(seed)
    found = np.zeros((len(subjects), len(runs), classes, classes), np.int64)
    place = {name: i for i, name in enumerate(subjects)}
    who = np.asarray([place[name] for name in subject.tolist()])
    np.add.at(found, (who, np.searchsorted(runs, seed), target, answer), 1)
    return found


def resampled(matrices: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Scores [b] by name of studies in which subjects count so many times.

    Args:
        matrices: [s, r, K, K] of `counts`; scores are averaged over seeds.
        weights: [b, s].
    """
    pooled = np.einsum("bs,srij->brij", weights, matrices)
    found = pooled_scores(pooled)
    return {name: values.mean(1) for name, values in zip(SCORES, found, strict=True)}


def differences(
    runs: Mapping[str, np.ndarray], reference: str, *, draws: int = DRAWS
) -> dict[str, dict[str, Difference]]:
    """How each run differs from the reference, by score.

    Every draw takes the same subjects for all runs, with replacement: what makes a
    subject hard for all of them does not blur the difference. Between percentiles that
    are as far apart as Student's t asks of so many subjects: those of a plain bootstrap
    are too narrow for few (Hesterberg, The American Statistician, 2015, section 4.3).

    Args:
        runs: name -> `counts` of the same subjects in the same order.
        reference: of `runs`.
        draws: resampled studies.

    Raises:
        ValueError: there is one subject alone, or runs have others.
    """
    sizes = {len(matrices) for matrices in runs.values()}
    if len(sizes) != 1:
        raise ValueError(f"runs of {sorted(sizes)} subjects: expected the same ones")
    (subjects,) = sizes
    if subjects < 2:
        raise ValueError("one subject: no difference can be resampled over subjects")
    rng = np.random.default_rng(0)  # the same draws whenever it is asked
    drawn = rng.multinomial(subjects, np.full(subjects, 1 / subjects), draws)
    whole = np.ones((1, subjects), np.int64)
    scores = {
        name: resampled(m, np.concatenate([whole, drawn])) for name, m in runs.items()
    }
    quantile = stats.t.ppf((1 - LEVEL) / 2, subjects - 1)
    tail = float(stats.norm.cdf(quantile * (subjects / (subjects - 1)) ** 0.5))
    found = {}
    for name, own in scores.items():
        if name == reference:
            continue
        found[name] = {}
        for score in SCORES:
            gap = own[score] - scores[reference][score]
            low, high = np.quantile(gap[1:], [tail, 1 - tail])
            better = float((gap[1:] > 0).mean() + (gap[1:] == 0).mean() / 2)
            found[name][score] = Difference(
                float(gap[0]), float(low), float(high), better
            )
    return found
