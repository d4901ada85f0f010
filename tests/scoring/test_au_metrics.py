"""F1 and AUC-PR are scikit-learn's; thresholds are the best that there are."""

import numpy as np
import pytest
from sklearn import metrics as sk

from merclip_jax.scoring import au_metrics
from merclip_jax.scoring.intervals import jackknife


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


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ties", [False, True])
def test_auc_pr_equals_sklearn(seed, ties):
    target, _ = drawn(seed)
    value = np.random.default_rng(seed + 100).normal(size=target.shape) + target
    value = value.round() if ties else value
    found = au_metrics.average_precision(target, value)
    shown = target.any(0)
    expected = sk.average_precision_score(
        target[:, shown], value[:, shown], average=None
    )
    np.testing.assert_allclose(found[shown], expected, atol=1e-12)
    assert (found[~shown] == 0).all()
    # Only the order counts.
    same = au_metrics.average_precision(target, 3 * value - 7)
    np.testing.assert_array_equal(same, found)


def test_auc_pr_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="expected targets and values"):
        au_metrics.average_precision(np.ones((3, 2)), np.ones((3, 3)))


def test_always_is_the_f1_of_saying_it_always():
    target, _ = drawn(5)
    always = sk.f1_score(target, np.ones_like(target), average=None, zero_division=0)
    np.testing.assert_allclose(au_metrics.always(target), always)


@pytest.mark.parametrize("seed", range(10))
def test_thresholds_are_the_best_there_are(seed):
    target, _ = drawn(seed, n=25)
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=target.shape) + target - 1).astype(np.float32).round(1)
    found = au_metrics.thresholds(target, logits)
    assert found.dtype == np.float32

    def score(k, threshold):
        said = logits[:, k] > threshold
        return sk.f1_score(target[:, k], said, zero_division=0)

    for k, threshold in enumerate(found):
        tried = np.linspace(-6, 6, 481) + 0.003
        best = max(score(k, t) for t in tried)
        assert score(k, threshold) == pytest.approx(best)
        if not target[:, k].any():
            assert threshold == 0
        elif score(k, 0) == pytest.approx(best):
            assert threshold == 0  # 0.5 stays unless something is better


def test_the_interval_leaves_a_subject_out_of_all_seeds():
    """The same as counts of each subject and seed, taken off the whole."""
    rng = np.random.default_rng(2)
    target, answer = rng.random((2, 60, 4)) < 0.4
    subjects, seeds = np.repeat(np.arange(10), 6), np.tile(np.arange(2), 30)

    def f1(rows):
        return au_metrics.f1(au_metrics.counts(target[rows], answer[rows])).mean()

    low, high = au_metrics.subject_interval(f1, subjects, seeds=seeds)
    without = [
        np.mean([f1((seeds == s) & (subjects != i)) for s in range(2)])
        for i in range(10)
    ]
    whole = np.mean([f1(seeds == s) for s in range(2)])
    assert (low, high) == jackknife(whole, np.asarray(without))
    assert low < whole < high


def test_together_counts_pairs():
    shown = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]])
    wanted = [[2, 1, 0], [1, 2, 1], [0, 1, 1]]
    np.testing.assert_array_equal(au_metrics.together(shown), wanted)
