"""Sets that hold the true class as often as they say, AUs that mean their numbers."""

import numpy as np
from scipy.special import expit, softmax

from merclip_jax.scoring import au_calibration, conformal


def clips(rng, count, classes=4):
    target = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), target] += 1.5
    return softmax(logits, axis=1), target


def test_sets_hold_the_true_class_as_often_as_they_promise():
    rng = np.random.default_rng(0)
    held, sizes = [], []
    for _ in range(20):
        sets = conformal.Sets(*clips(rng, 200), level=0.9)
        p, target = clips(rng, 500)
        found = sets.of(p)
        held.append(found[np.arange(500), target].mean())
        sizes.append(found.sum(1).mean())
    assert 0.88 < np.mean(held) < 0.93
    assert 1 < np.mean(sizes) < 3


def test_few_clips_can_promise_nothing():
    assert not conformal.enough(8) and conformal.enough(9)


def test_an_au_means_its_number():
    """Of those said to be probable with 0.8 four in five are shown."""
    rng = np.random.default_rng(0)
    said = rng.normal(size=(20_000, 1)) * 0.01  # cosines are small
    shown = rng.random((20_000, 1)) < expit(300 * said - 1)
    lines = au_calibration.fit(said, shown, (12,))
    assert abs(lines[12][0] - 300) < 20 and abs(lines[12][1] + 1) < 0.1
    p = au_calibration.probabilities(said, (12,), lines)
    near = np.abs(p[:, 0] - 0.8) < 0.05
    assert abs(shown[near, 0].mean() - 0.8) < 0.03


def test_what_is_rare_or_speaks_against_itself_has_no_slope():
    rng = np.random.default_rng(0)
    said = rng.normal(size=(100, 3))
    shown = np.stack([np.arange(100) < 4, said[:, 1] < 0, said[:, 2] > 0], 1)
    lines = au_calibration.fit(said, shown, (1, 2, 4))
    assert lines.keys() == {2, 4} and lines[2][0] == 0 and lines[4][0] > 0
    p = au_calibration.probabilities(said, (1, 2, 4), lines)
    assert np.isnan(p[:, 0]).all() and np.ptp(p[:, 1]) == 0
