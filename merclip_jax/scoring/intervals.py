"""How far a score may be off, as its test subjects might have been others."""

import numpy as np
from scipy import special

LEVEL = 0.95
METHOD = "95 % jackknife over subjects, bias-corrected"


def jackknife(whole: float, without: np.ndarray) -> tuple[float, float]:
    """The interval of a score between 0 and 1, from leaving out each subject once.

    Quenouille's and Tukey's jackknife: its estimate takes off the bias that rare
    classes bring, which resampling with replacement doubles instead. On the scale
    arcsin(sqrt(score)), where a share's spread depends little on its size. The degrees
    of freedom are fewer where few subjects make most of the spread.
    `benchmarks/coverage.py` compares it with others.

    Args:
        whole: the score of all subjects.
        without: [s] scores without one subject each, two or more.
    """
    subjects = len(without)
    left = np.arcsin(np.sqrt(without))
    off = left - left.mean()
    spread = np.sum(off**2)
    if not spread:  # every subject alike: nothing tells how others would differ
        return float(whole), float(whole)
    all_of_them = np.arcsin(np.sqrt(whole))
    estimate = subjects * all_of_them - (subjects - 1) * left.mean()
    error = np.sqrt((subjects - 1) / subjects * spread)
    kurtosis = subjects * np.sum(off**4) / spread**2
    # Satterthwaite's would be 2 s / (kurtosis - 1). The kurtosis of few subjects is too
    # small itself; 1.5 s / kurtosis holds the truth as often as it says where classes
    # are rare (benchmarks/coverage.py).
    freedom = np.clip(1.5 * subjects / kurtosis, 1, subjects - 1)
    half = special.stdtrit(freedom, (1 + LEVEL) / 2) * error
    low, high = np.clip([estimate - half, estimate + half], 0, np.pi / 2)
    return float(np.sin(low) ** 2), float(np.sin(high) ** 2)
