"""Confidence against truth: what is known of made-up answers is found."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from merclip_jax.scoring import calibration


def answers(n=4000, k=4, sharper=1.0, seed=0):
    """Logits whose softmax is the truth's distribution, and times `sharper`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    p = softmax(logits, axis=1)
    target = (p.cumsum(1) > rng.random((n, 1))).argmax(1)
    return logits * sharper, target, rng.integers(0, 8, n).astype(str)


def test_true_probabilities_are_calibrated():
    logits, target, fold = answers()
    found = calibration.calibrated(logits, target, fold)
    assert found.temperature == pytest.approx(1, abs=0.06)
    assert found.before.ece < 0.02
    assert found.before.nll == pytest.approx(log_loss(target, softmax(logits, axis=1)))


@pytest.mark.parametrize("sharper", [0.25, 4.0])
def test_a_temperature_mends_answers_that_are_too_sure_or_too_shy(sharper):
    logits, target, fold = answers(sharper=sharper)
    found = calibration.calibrated(logits, target, fold)
    assert found.temperature == pytest.approx(sharper, rel=0.06)
    assert found.before.ece > 0.1 > 0.03 > found.after.ece
    assert found.after.nll < found.before.nll
    # No answer changes: dividing keeps the order.
    share = [(c[:, 1] * c[:, 2]).sum() for c in (found.before.curve, found.after.curve)]
    assert share[0] == pytest.approx(share[1])


def test_the_temperature_of_a_fold_is_chosen_on_the_others():
    logits, target, _ = answers(n=400)
    fold = np.repeat(["a", "b"], 200)
    whole = calibration.calibrated(logits, target, fold)
    of_a = calibration.temperature(logits[200:], target[200:])
    own = calibration.calibration(
        np.concatenate(
            [
                logits[:200] / of_a,
                logits[200:] / calibration.temperature(logits[:200], target[:200]),
            ]
        ),
        target,
    )
    assert whole.after.nll == pytest.approx(own.nll)
    # Its own clips have no part: with other labels there it is the same.
    changed = target.copy()
    changed[:200] = (target[:200] + 1) % 4
    assert calibration.temperature(logits[200:], changed[200:]) == of_a


def test_questions_of_their_own_are_calibrated_by_scikit_learns_curve():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(3000, 2)) * 2
    target = (rng.random(logits.shape) < expit(logits)).astype(int)
    found = calibration.calibration(logits, target)
    sure = expit(np.abs(logits)).ravel()
    right = ((logits > 0) == target).ravel()
    share, mean = calibration_curve(right, sure, n_bins=10)
    np.testing.assert_allclose(found.curve[:, 0], mean)
    np.testing.assert_allclose(found.curve[:, 1], share)
    assert found.nll == pytest.approx(log_loss(target.ravel(), expit(logits).ravel()))
    assert found.ece < 0.02
    both = calibration.calibrated(3 * logits, target, np.full(3000, "one"))
    assert both.temperature == pytest.approx(3, rel=0.1)


def test_extremes_have_numbers():
    logits = np.array([[800.0, -800.0], [-800.0, 800.0]])
    found = calibration.calibrated(logits, np.array([0, 0]), np.array(["a", "b"]))
    for one in (found.before, found.after):
        assert np.isfinite(one.nll) and np.isfinite(one.curve).all()
