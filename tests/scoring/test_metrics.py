"""Scores against scikit-learn, intervals and chance against known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_score,
    recall_score,
)
from sklearn.metrics import (
    confusion_matrix as sklearn_confusion,
)

from benchmarks import coverage, field
from merclip_jax.scoring import chance, metrics


@st.composite
def _answers(draw):
    """K, labels and predictions; classes are often absent from one or both."""
    k = draw(st.integers(2, 7))
    n = draw(st.integers(1, 40))
    column = st.lists(
        st.integers(0, draw(st.integers(0, k - 1))), min_size=n, max_size=n
    )
    return k, np.array(draw(column)), np.array(draw(column))


def _check(k, labels, predictions):
    matrix = metrics.confusion_matrix(labels, predictions, classes=k)
    every = list(range(k))
    if k > 1:
        np.testing.assert_array_equal(
            matrix, sklearn_confusion(labels, predictions, labels=every)
        )
    ours = metrics.scores(matrix)
    options = {"labels": every, "zero_division": 0}
    for name, function in (
        ("f1", f1_score),
        ("recall", recall_score),
        ("precision", precision_score),
    ):
        theirs = function(labels, predictions, average=None, **options)
        np.testing.assert_allclose(getattr(ours, name), theirs, rtol=1e-12)
    assert ours.uf1 == pytest.approx(
        f1_score(labels, predictions, average="macro", **options), rel=1e-12
    )
    assert ours.uar == pytest.approx(
        recall_score(labels, predictions, average="macro", **options), rel=1e-12
    )
    assert ours.acc == pytest.approx(accuracy_score(labels, predictions))
    np.testing.assert_array_equal(ours.support, np.bincount(labels, minlength=k))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(_answers())
def test_scores_equal_sklearn(answers):
    _check(*answers)


@pytest.mark.parametrize(
    ("k", "labels", "predictions"),
    [
        (3, [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]),  # a class absent from truth
        (4, [0, 1, 1], [0, 1, 0]),  # classes absent from both
        (3, [2, 2], [2, 2]),  # one class only, all right
        (3, [1], [0]),  # one clip, wrong
        (5, [4], [4]),  # one clip, right
        (2, [0, 0, 1], [1, 1, 0]),  # all wrong
    ],
)
def test_degenerate_matrices_equal_sklearn(k, labels, predictions):
    _check(k, np.array(labels), np.array(predictions))


def test_absent_classes_stay_in_the_mean():
    right = metrics.confusion_matrix(np.array([0, 0]), np.array([0, 0]), classes=4)
    assert metrics.scores(right).uf1 == 0.25
    assert metrics.scores(right).acc == 1.0


def test_bad_input_is_refused():
    none = np.array([], int)
    with pytest.raises(ValueError, match="a clip at least"):
        metrics.confusion_matrix(none, none, classes=3)
    with pytest.raises(ValueError, match="no clip"):
        metrics.scores(np.zeros((3, 3), int))
    with pytest.raises(ValueError, match=r"predictions\[1\] is 3: expected 0 to 2"):
        metrics.confusion_matrix(np.array([0, 1]), np.array([0, 3]), classes=3)
    with pytest.raises(ValueError, match="expected integers, got float64"):
        metrics.confusion_matrix(np.array([0.0]), np.array([0]), classes=3)
    with pytest.raises(ValueError, match="2 labels but 1 predictions"):
        metrics.confusion_matrix(np.array([0, 1]), np.array([0]), classes=3)


def test_interval_covers_the_true_accuracy():
    """Subjects differ in how easy they are; the interval has to know."""
    rng = np.random.default_rng(0)
    hits, naive = 0, 0
    for _ in range(300):
        ease = rng.beta(3, 2, size=25)
        subjects = np.repeat(np.arange(25), 12)
        labels = rng.integers(0, 3, size=subjects.size)
        right = rng.random(subjects.size) < ease[subjects]
        predictions = np.where(right, labels, (labels + 1) % 3)
        interval = metrics.subject_intervals(labels, predictions, subjects, classes=3)
        hits += interval.acc[0] <= 0.6 <= interval.acc[1]
        half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / right.size)
        naive += abs(right.mean() - 0.6) <= half
    assert 0.92 <= hits / 300 <= 0.98
    assert naive < hits  # clips of a subject are not independent


@pytest.mark.parametrize("setting", coverage.SETTINGS, ids=lambda s: s.name)
def test_interval_covers_every_score_in_every_setting(setting):
    """92 to 98 % of 1,500 studies, rare classes and few subjects among them."""
    own = {"jackknife": coverage.jackknife}
    for row in coverage.coverage(setting, 1500, own):
        assert 92 <= row["held_%"] <= 98, row


def test_interval_equals_leaving_out_by_hand():
    """Pseudo-values: s x whole - (s - 1) x rest, of which a mean and a spread."""
    rng = np.random.default_rng(3)
    subjects = np.repeat(["a", "b", "c", "d"], 6)
    labels, predictions = rng.integers(0, 3, size=(2, 24))
    got = metrics.subject_intervals(labels, predictions, subjects, classes=3)
    options = {"labels": [0, 1, 2], "average": "macro", "zero_division": 0}

    def stretched(rows):
        return np.arcsin(np.sqrt(f1_score(labels[rows], predictions[rows], **options)))

    whole = stretched(np.full(24, True))
    pseudo = np.asarray([4 * whole - 3 * stretched(subjects != s) for s in "abcd"])
    kurtosis = stats.kurtosis(pseudo, fisher=False)
    freedom = min(3, 1.5 * 4 / kurtosis)
    ends = stats.t.interval(0.95, freedom, pseudo.mean(), stats.sem(pseudo))
    np.testing.assert_allclose(got.uf1, np.sin(np.clip(ends, 0, np.pi / 2)) ** 2)


def test_interval_of_two_subjects_and_of_equal_ones():
    labels = np.asarray([0, 1, 2, 0, 1, 2])
    two = np.repeat([0, 1], 3)
    wide = metrics.subject_intervals(
        labels, np.asarray([0, 1, 2, 1, 1, 2]), two, classes=3
    )
    assert wide.acc == (0.0, 1.0)  # nothing can be said of two that differ
    same = metrics.subject_intervals(labels, labels, two, classes=3)
    assert same.acc == same.uf1 == (1.0, 1.0)


def test_seeds_share_their_subjects():
    """Repeating a run under another seed adds nothing: the interval stays."""
    rng = np.random.default_rng(1)
    subjects = np.repeat(np.arange(8), 5)
    labels, predictions = rng.integers(0, 3, size=(2, 40))
    one = metrics.subject_intervals(labels, predictions, subjects, classes=3)
    twice = metrics.subject_intervals(
        np.tile(labels, 2),
        np.tile(predictions, 2),
        np.tile(subjects, 2),
        seeds=np.repeat([0, 7], 40),
        classes=3,
    )
    np.testing.assert_allclose(
        (one.uf1, one.uar, one.acc), (twice.uf1, twice.uar, twice.acc), rtol=1e-12
    )
    assert one.uf1[0] < one.uf1[1]


def test_one_subject_has_no_interval():
    with pytest.raises(ValueError, match="two or more"):
        metrics.subject_intervals(
            np.array([0, 1]), np.array([0, 1]), np.array(["s1", "s1"]), classes=2
        )


def test_chance_levels():
    labels = np.repeat([0, 1, 2], [250, 109, 83])
    guess = chance.guess_by_prior(labels, classes=3)
    assert guess.uf1 == pytest.approx(1 / 3, abs=0.005)
    assert guess.low < guess.uf1 < guess.high
    ours = chance.majority(labels, classes=3)
    assert ours.uf1 == pytest.approx(2 * 250 / (442 + 250) / 3)
    assert ours.uar == pytest.approx(1 / 3)


def test_the_chance_of_the_best_epoch_is_that_of_a_simulation():
    """Clip by clip, as slowly as it can be said, on MEGC2019's folds."""
    folds = field.folds_of("megc2019_3class")
    assert [len(f) for f in folds][:3] == [6, 7, 9] and sum(map(len, folds)) == 442
    labels = np.concatenate(folds)
    prior = np.bincount(labels) / len(labels)
    rng = np.random.default_rng(5)

    def pooled(epochs):
        said = []
        for fold in folds:
            drawn = [rng.choice(3, len(fold), p=prior) for _ in range(epochs)]
            fits = [
                f1_score(fold, one, average="macro", labels=range(3), zero_division=0)
                for one in drawn
            ]
            said.append(drawn[int(np.argmax(fits))])
        said = np.concatenate(said)
        return f1_score(labels, said, average="macro", labels=range(3))

    for epochs, runs, near in ((1, 12, 0.02), (5, 4, 0.03), (55, 1, 0.03)):
        slow = np.mean([pooled(epochs) for _ in range(runs)])
        quick = chance.selection_ceiling(folds, classes=3, epochs=epochs)
        assert quick == pytest.approx(slow, abs=near)
    assert quick == pytest.approx(0.72, abs=0.02)
    honest = chance.guess_by_prior(labels, classes=3)
    assert honest.uf1 == pytest.approx(0.33, abs=0.01)


def test_selection_ceiling_grows_with_epochs():
    """On folds like MEGC2019's, 55 epochs to pick from give a guesser UF1 0.7."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [250, 109, 83]))
    folds = np.split(labels, np.sort(rng.choice(np.arange(1, 442), 67, replace=False)))
    values = [
        chance.selection_ceiling(folds, classes=3, epochs=epochs, draws=40)
        for epochs in (1, 5, 55)
    ]
    assert values[0] == pytest.approx(1 / 3, abs=0.02)
    assert values[0] + 0.1 < values[1] < values[2] - 0.1
    assert 0.6 < values[2] < 0.85
    one_clip = [np.array([k]) for k in (0, 1, 2)]
    assert chance.selection_ceiling(one_clip, classes=3, epochs=200) > 0.99
    with pytest.raises(ValueError, match="0 epochs"):
        chance.selection_ceiling(one_clip, classes=3, epochs=0)
