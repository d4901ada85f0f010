"""Sets of classes that hold the true one as often as they promise.

Split conformal prediction (MAPIE, "least ambiguous" sets): of new clips like those that
it was calibrated on, at least `level` have their true class in their set, whatever the
model. A set of several classes, or of none, is a reason not to answer.
"""

import warnings

import numpy as np

LEVEL = 0.9


class Sets:
    """Sets of classes for probabilities, calibrated on clips that were not trained on.

    Args:
        probabilities: [n, k] of the calibration clips.
        target: [n] their classes.
        level: share of new clips whose set must hold the true class.

    Raises:
        ImportError: MAPIE is not installed (extra `video`).
    """

    def __init__(
        self, probabilities: np.ndarray, target: np.ndarray, *, level: float = LEVEL
    ):
        from mapie.classification import SplitConformalClassifier

        known = _Known(probabilities.shape[1])
        self._made = SplitConformalClassifier(
            known, confidence_level=level, conformity_score="lac", prefit=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on its own deprecations
            self._made.conformalize(probabilities, target)

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """Which classes are in the set of each clip, bool [n, k].

        Args:
            probabilities: [n, k].
        """
        probabilities = probabilities / probabilities.sum(1, keepdims=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._made.predict_set(probabilities)[1][..., 0]


def enough(count: int, level: float = LEVEL) -> bool:
    """Whether so many calibration clips can promise a level at all."""
    return (count + 1) * (1 - level) >= 1 - 1e-9


class _Known:
    """What MAPIE takes for a classifier: probabilities are what it is given."""

    def __init__(self, classes: int):
        self.classes_ = np.arange(classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, probabilities: np.ndarray, target: np.ndarray) -> "_Known":
        return self

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        return np.asarray(probabilities).argmax(1)

    def predict_proba(self, probabilities: np.ndarray) -> np.ndarray:
        return np.asarray(probabilities)
