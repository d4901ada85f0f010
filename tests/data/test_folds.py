"""Subjects to folds to members: nothing is on two sides, nothing is lost."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merclip_jax.data.folds import ProtocolOptions, check_leakage, members, split
from merclip_jax.errors import UserError

SUBJECTS = np.asarray(["a/s1"] * 3 + ["a/s2"] * 6 + ["a/s3"] * 4 + ["a/s4"] * 5)
LABELS = np.arange(len(SUBJECTS)) % 3
SPLITS = np.asarray(["train"] * 9 + ["dev"] * 4 + ["test"] * 5)


def folds_of(name, subjects, labels, *, splits=None, **options):
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    if options.get("inner_subjects"):
        options["selection"] = "inner"
    protocol = ProtocolOptions(name=name, **options)
    return split(protocol, subjects, labels, splits=splits)


def sides(fold):
    return [set(SUBJECTS[part]) for part in (fold.train, fold.test, fold.inner)]


def test_loso_tests_every_subject_once():
    folds = folds_of("loso", SUBJECTS, LABELS)
    assert [fold.name for fold in folds] == ["s1", "s2", "s3", "s4"]
    for fold, subject in zip(folds, sorted(set(SUBJECTS)), strict=True):
        assert sides(fold)[1] == {subject}
        assert len(fold.train) + len(fold.test) == len(SUBJECTS)
        assert not fold.inner.size
    tested = np.concatenate([fold.test for fold in folds])
    np.testing.assert_array_equal(np.sort(tested), np.arange(len(SUBJECTS)))


def test_kfold_deals_the_largest_subjects_first():
    folds = folds_of("kfold", SUBJECTS, LABELS, folds=2)
    assert [fold.name for fold in folds] == ["fold1", "fold2"]
    assert [sides(fold)[1] for fold in folds] == [{"a/s2", "a/s1"}, {"a/s4", "a/s3"}]
    assert [len(fold.test) for fold in folds] == [9, 9]


def test_kfold_needs_a_subject_for_every_fold():
    with pytest.raises(UserError, match="5 folds of 4 subjects"):
        folds_of("kfold", SUBJECTS, LABELS, folds=5)


def test_holdout_of_subjects():
    (fold,) = folds_of("holdout", SUBJECTS, LABELS, test_subjects=["a/s3", "a/s1"])
    assert sides(fold) == [{"a/s2", "a/s4"}, {"a/s1", "a/s3"}, set()]


@pytest.mark.parametrize("subjects", [[], ["a/s9", "a/s1"], sorted(set(SUBJECTS))])
def test_holdout_of_subjects_that_cannot_be(subjects):
    with pytest.raises(UserError, match=r"known: .*a/s1.*a/s4") as caught:
        folds_of("holdout", SUBJECTS, LABELS, test_subjects=subjects)
    assert ("['a/s9']" in str(caught.value)) == ("a/s9" in subjects)


def test_holdout_of_the_owners_splits():
    """Clips of splits in neither list are used for nothing."""
    (fold,) = folds_of(
        "holdout",
        SUBJECTS,
        LABELS,
        splits=SPLITS,
        train_splits=["train"],
        test_splits=["test"],
    )
    assert set(SPLITS[fold.train]) == {"train"}
    assert set(SPLITS[fold.test]) == {"test"}
    assert len(fold.train) + len(fold.test) == (SPLITS != "dev").sum()


@pytest.mark.parametrize(
    ("train", "test"), [(["train"], ["exam"]), (["trian"], ["test"])]
)
def test_holdout_of_splits_that_are_not_there(train, test):
    with pytest.raises(UserError, match=r"\['dev', 'test', 'train'\]"):
        folds_of(
            "holdout",
            SUBJECTS,
            LABELS,
            splits=SPLITS,
            train_splits=train,
            test_splits=test,
        )


def test_a_subject_in_two_of_the_owners_splits_is_not_trained_on():
    subjects = SUBJECTS.copy()
    subjects[0] = "a/s4"  # a train clip of a test subject
    (fold,) = folds_of(
        "holdout",
        subjects,
        LABELS,
        splits=SPLITS,
        train_splits=["train"],
        test_splits=["test"],
    )
    assert "a/s4" not in set(subjects[fold.train])


def test_inner_subjects_are_the_middle_ones_by_size():
    folds = folds_of("loso", SUBJECTS, LABELS, inner_subjects=1)
    for fold in folds:
        train, test, inner = sides(fold)
        assert len(inner) == 1
        assert len(train) == 2
        assert not inner & (train | test)
        sizes = {s: (SUBJECTS == s).sum() for s in train | inner}
        assert sorted(sizes, key=sizes.get)[1] in inner
        used = np.concatenate([fold.train, fold.test, fold.inner])
        np.testing.assert_array_equal(np.sort(used), np.arange(len(SUBJECTS)))


def test_inner_subjects_must_leave_some_to_train_on():
    with pytest.raises(UserError, match="inner_subjects=3 leaves none of 3"):
        folds_of("loso", SUBJECTS, LABELS, inner_subjects=3)


def test_inner_subjects_come_from_the_training_splits_only():
    """A dev clip of a training subject must not come in through selection."""
    splits = SPLITS.copy()
    splits[0] = "dev"
    (fold,) = folds_of(
        "holdout",
        SUBJECTS,
        LABELS,
        splits=splits,
        train_splits=["train"],
        test_splits=["test"],
        inner_subjects=1,
    )
    assert set(SUBJECTS[fold.inner]) == {"a/s1"}
    assert set(splits[fold.inner]) == {"train"}


def test_files_of_subjects_never_collide():
    """Equal last parts, other case, a path, a hidden file: each has its own name."""
    names = ["a/s1", "b/s1", "a/S2", "b/s2", "a/..", "a/x y", "a/x_y", "a/s9"]
    subjects = np.repeat(names, 3)
    made = folds_of("loso", subjects, np.arange(len(subjects)) % 3)
    titles = [fold.name for fold in made]
    assert len({title.lower() for title in titles}) == len(names)
    assert titles[sorted(names).index("a/s9")] == "s9"
    assert all(re.fullmatch("[A-Za-z0-9_-][A-Za-z0-9_.-]*", t) for t in titles)


def test_unknown_protocol():
    with pytest.raises(ValueError, match="name='losso': expected one of"):
        ProtocolOptions("losso")


def test_a_training_part_of_one_class_is_refused_by_name():
    labels = np.where(SUBJECTS == "a/s2", 1, 0)
    with pytest.raises(UserError, match=r"fold s2: its training clips \(12\)"):
        folds_of("loso", SUBJECTS, labels)


def test_members_are_seed_major_and_named_for_fold_and_seed():
    folds = folds_of("loso", SUBJECTS, LABELS)
    made = members(folds, (3, 0))
    assert [m.name for m in made[:5]] == [
        "s1-seed3", "s2-seed3", "s3-seed3", "s4-seed3", "s1-seed0",
    ]  # fmt: skip
    assert len({m.name for m in made}) == len({m.data_seed for m in made}) == 8
    alone = members(folds, (0,))
    assert [m.data_seed for m in alone] == [m.data_seed for m in made[4:]]


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_must_be_distinct(seeds):
    with pytest.raises(ValueError, match="expected distinct seeds"):
        ProtocolOptions(seeds=seeds)


@pytest.mark.parametrize(("part", "other"), [("train", "test"), ("inner", "test")])
def test_check_leakage_finds_a_subject_on_two_sides(part, other):
    fold = folds_of("loso", SUBJECTS, LABELS, inner_subjects=1)[0]
    one_more = np.append(getattr(fold, part), getattr(fold, other)[0])
    with pytest.raises(AssertionError, match=r"fold s1: .*'a/s1'"):
        leaky = dataclasses.replace(fold, **{part: one_more})
        check_leakage([leaky], SUBJECTS)


def test_check_leakage_finds_a_clip_tested_twice():
    folds = folds_of("loso", SUBJECTS, LABELS)
    with pytest.raises(AssertionError, match="tested in two folds"):
        check_leakage([*folds, folds[0]], SUBJECTS)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    subject=st.lists(st.integers(0, 6), min_size=12, max_size=40),
    protocol=st.sampled_from(["loso", "kfold"]),
    inner=st.integers(0, 2),
    data=st.data(),
)
def test_every_clip_is_tested_once_and_never_trained_on(subject, protocol, inner, data):
    subjects = np.asarray([f"s{i}" for i in subject])
    count = len(set(subject))
    labels = np.arange(len(subject)) % 2
    folds = data.draw(st.integers(2, max(2, count)))
    try:
        dealt = {"folds": folds} if protocol == "kfold" else {}
        made = folds_of(protocol, subjects, labels, inner_subjects=inner, **dealt)
    except UserError:
        return  # too few subjects or classes: said, not done wrong
    tested = np.concatenate([fold.test for fold in made])
    np.testing.assert_array_equal(np.sort(tested), np.arange(len(subject)))
    for fold in made:
        parts = [set(subjects[p]) for p in (fold.train, fold.test, fold.inner)]
        assert sum(map(len, parts)) == count == len(set.union(*parts))
        assert len(parts[2]) == inner
