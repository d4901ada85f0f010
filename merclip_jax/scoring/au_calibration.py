"""What is said for an AU as the probability that a coder would have written it down.

A line through the logit for each AU (Platt, 1999), fitted on clips that the model which
spoke never trained on. An AU that too few clips show, or lack, has none.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit

FEWEST = 5  # clips that show an AU, and that lack it, for a line of its own

# AU -> (slope, intercept) of its logit.
Lines = Mapping[int, tuple[float, float]]


def fit(said: np.ndarray, shown: np.ndarray, aus: Sequence[int]) -> Lines:
    """A line for each AU that enough clips show.

    Args:
        said: [n, a] what the model says for each AU.
        shown: bool [n, a] what was annotated.
        aus: [a] their numbers.

    Returns:
        Slopes are never below 0: what speaks for an AU does not count against it.
    """
    from sklearn.linear_model import LogisticRegression

    found = {}
    for i, au in enumerate(aus):
        if min(shown[:, i].sum(), (~shown[:, i]).sum()) < FEWEST:
            continue
        x = said[:, i].astype(np.float64)
        spread = max(float(x.std()), 1e-12)  # the solver is not told of scales
        made = LogisticRegression(C=1e3).fit((x / spread)[:, None], shown[:, i])
        slope, intercept = float(made.coef_[0, 0]) / spread, float(made.intercept_[0])
        if slope <= 0:
            share = float(shown[:, i].mean())
            slope, intercept = 0.0, float(np.log(share / (1 - share)))
        found[au] = (slope, intercept)
    return found


def probabilities(said: np.ndarray, aus: Sequence[int], lines: Lines) -> np.ndarray:
    """Probabilities [n, a] of AUs; of one without a line NaN.

    Args:
        said: [n, a] what the model says for each AU.
        aus: [a] their numbers.
        lines: of `fit`.
    """
    found = np.full(np.shape(said), np.nan)
    for i, au in enumerate(aus):
        if au in lines:
            slope, intercept = lines[au]
            found[:, i] = expit(slope * said[:, i].astype(np.float64) + intercept)
    return found
