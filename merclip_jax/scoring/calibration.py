"""Whether a model is right as often as it says: curve, errors, temperature.

A probability is calibrated if of the answers given with 0.8 four in five are right. One
number, the temperature that logits are divided by, mends most of what is amiss (Guo et
al., ICML 2017); it is chosen on other folds than those it is judged on.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logsumexp

BINS = 10
_RANGE = (-3.0, 3.0)  # of the logarithm of the temperature


@dataclass(frozen=True)
class Calibration:
    """Of one way to read logits.

    curve: [m, 3] mean confidence, share of right answers and number of answers of each
    tenth of the scale that has any; ece: the mean distance of the two, weighed by the
    answers; nll: mean negative logarithm of the probability of what was true.
    """

    curve: np.ndarray
    ece: float
    nll: float


@dataclass(frozen=True)
class Calibrated:
    """Logits as they came, and divided by temperatures that other folds chose.

    temperature: that of all folds together, for new clips.
    """

    before: Calibration
    after: Calibration
    temperature: float


def calibrated(logits: np.ndarray, target: np.ndarray, fold: np.ndarray) -> Calibrated:
    """How answers are calibrated, and what a temperature makes of them.

    Args:
        logits: [n, k] of one class of several, or of k questions.
        target: [n] class, or [n, k] 0 or 1.
        fold: [n] of each clip; with one fold alone its own clips choose, which
            flatters it.
    """
    logits = logits.astype(np.float64)
    divided = np.empty_like(logits)
    names = np.unique(fold)
    for name in names:
        own = fold == name
        others = ~own if len(names) > 1 else own
        divided[own] = logits[own] / temperature(logits[others], target[others])
    return Calibrated(
        calibration(logits, target),
        calibration(divided, target),
        temperature(logits, target),
    )


def temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The divisor of logits that makes what was true most probable.

    Args:
        logits, target: as of `calibrated`.
    """

    def loss(log_t: float) -> float:
        return _nll(logits / np.exp(log_t), target)

    found = minimize_scalar(loss, bounds=_RANGE, method="bounded")
    return float(np.exp(found.x))


def calibration(logits: np.ndarray, target: np.ndarray) -> Calibration:
    """Curve and errors of logits.

    Args:
        logits, target: as of `calibrated`.
    """
    sure, right = _answers(logits, target)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    there = count > 0
    mean, share = (
        np.bincount(bins, values, BINS)[there] / count[there]
        for values in (sure, right)
    )
    curve = np.stack([mean, share, count[there]], 1)
    ece = float((np.abs(mean - share) * count[there]).sum() / count.sum())
    return Calibration(curve, ece, _nll(logits, target))


def _answers(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How sure each answer is, and whether it is right, float64."""
    if target.ndim == 1:
        said = logits.argmax(1)
        sure = np.exp(log_softmax(logits, axis=1))[np.arange(len(said)), said]
        return sure, (said == target).astype(np.float64)
    said = logits > 0
    sure = expit(np.abs(logits))
    return sure.ravel(), (said == target.astype(bool)).ravel().astype(np.float64)


def _nll(logits: np.ndarray, target: np.ndarray) -> float:
    if target.ndim == 1:
        own = log_softmax(logits, axis=1)[np.arange(len(target)), target]
        return float(-own.mean())
    signed = np.where(target.astype(bool), logits, -logits)
    return float(logsumexp(np.stack([np.zeros_like(signed), -signed]), axis=0).mean())
