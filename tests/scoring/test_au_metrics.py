"""F1 of action units is scikit-learn's, its interval a plain loop's."""

import numpy as np
import pytest
from sklearn import metrics as sk

from merclip_jax.scoring import au_metrics


def drawn(seed, n=60, a=5):
    rng = np.random.default_rng(seed)
    rates = np.asarray([0.0, 0.1, 0.4, 0.9, 1.0])[:a]
    return rng.random((n, a)) < rates, rng.random((n, a)) < rates[::-1]


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_sklearn(seed):
    target, answer = drawn(seed)
    counts = au_metrics.counts(target, answer)
    for ours, theirs in (
        (au_metrics.f1, sk.f1_score),
        (au_metrics.recall, sk.recall_score),
        (au_metrics.precision, sk.precision_score),
    ):
        expected = theirs(target, answer, average=None, zero_division=0)
        np.testing.assert_allclose(ours(counts), expected, atol=0)


@pytest.mark.parametrize(
    ("target", "answer"),
    [(np.ones((3, 2)), np.ones((3, 3))), (np.ones(3), np.ones(3))]
    + [(np.ones((0, 2)), np.ones((0, 2)))],
)
def test_shapes_that_do_not_fit_are_refused(target, answer):
    with pytest.raises(ValueError, match="expected targets and answers"):
        au_metrics.counts(target, answer)


def test_the_prior_guess_is_what_guessing_scores():
    target, _ = drawn(3, n=40)
    rng = np.random.default_rng(1)
    shares = target.mean(0)
    scores = [
        sk.f1_score(
            target, rng.random(target.shape) < shares, average="macro", zero_division=0
        )
        for _ in range(1000)
    ]
    mean, low, high = au_metrics.guess_by_prior(target)
    assert mean == pytest.approx(np.mean(scores), abs=0.01)
    assert low == pytest.approx(np.percentile(scores, 2.5), abs=0.03)
    assert high == pytest.approx(np.percentile(scores, 97.5), abs=0.03)
