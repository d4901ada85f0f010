"""Subjects to folds to members: by subject, by groups of them, by dataset.

Every split is by subject, made before anything else happens to a clip.
"""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from merclip_jax.data.classes import dataset_of
from merclip_jax.declared import OneOf, Range, check
from merclip_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Fold:
    """Clip indices: `train` to learn from, `test` to score, `inner` to select by."""

    name: str
    train: np.ndarray
    test: np.ndarray
    inner: np.ndarray


@dataclasses.dataclass(frozen=True)
class Member:
    """One fold with one seed: one model. `name` is its file name."""

    fold: Fold
    seed: int
    position: int

    @property
    def name(self) -> str:
        """Such as "sub01-seed0"."""
        return f"{self.fold.name}-seed{self.seed}"

    @property
    def data_seed(self) -> int:
        """Seed of its batches and draws: a function of fold and seed alone."""
        # Its place in a stack has no part: trained alone it sees the same batches. The
        # factor is larger than any number of folds, so that no two seeds collide.
        return self.seed * 100_003 + self.position


PROTOCOLS = ("loso", "kfold", "holdout", "cross_dataset")
SELECTIONS = ("last", "inner", "oracle")


@dataclasses.dataclass(frozen=True)
class ProtocolOptions:
    """How a task is divided into trainings, and how the scored epoch is chosen.

    name: "loso", "kfold", "holdout", or "cross_dataset", which leaves out one of
    several datasets at a time, or only `test_datasets` of them; seeds: one model of
    every fold each; folds: of kfold; holdout tests on `test_subjects`, or on the
    owners' `test_splits` after training on `train_splits`; final_fit: a model of each
    seed is trained on everyone too, to be used and not scored; selection: "last", or
    "inner" by `inner_subjects` of each training part, or "oracle" by the test subjects,
    which goes in its own column.
    """

    name: Annotated[str, OneOf(PROTOCOLS)] = "loso"
    # A member's key is made of its seed, times a large number, and has 31 bits.
    seeds: Annotated[tuple[int, ...], Range(0, 20_000)] = (0,)
    folds: Annotated[int, Range(2, 10_000)] = 5
    test_subjects: tuple[str, ...] = ()
    train_splits: tuple[str, ...] = ()
    test_splits: tuple[str, ...] = ()
    test_datasets: tuple[str, ...] = ()
    final_fit: bool = False
    selection: Annotated[str, OneOf(SELECTIONS)] = "last"
    inner_subjects: Annotated[int, Range(0, 10_000)] = 0

    def __post_init__(self):
        check(self)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: expected distinct seeds")
        self._check_parts()
        if (self.selection == "inner") != (self.inner_subjects != 0):
            raise ValueError(
                "selection='inner' goes with inner_subjects of 1 or more, the others "
                "with 0"
            )

    def _check_parts(self) -> None:
        """What would be ignored is refused: it was meant to say something."""
        parts = {
            name: getattr(self, name)
            for name in ("test_subjects", "train_splits", "test_splits")
        }
        for name, values in parts.items():
            if values and self.name != "holdout":
                raise ValueError(f"{name}={values}: goes with name='holdout' alone")
            if len(set(values)) != len(values):
                raise ValueError(f"{name}={values}: one stands there twice")
        if self.test_datasets and self.name != "cross_dataset":
            raise ValueError(
                f"test_datasets={self.test_datasets}: goes with name='cross_dataset' "
                "alone"
            )
        if len(set(self.test_datasets)) != len(self.test_datasets):
            raise ValueError(f"test_datasets={self.test_datasets}: one is there twice")
        if self.folds != ProtocolOptions.folds and self.name != "kfold":
            raise ValueError(f"folds={self.folds}: goes with name='kfold' alone")
        if bool(self.train_splits) != bool(self.test_splits) or (
            self.test_splits and self.test_subjects
        ):
            raise ValueError(
                "a holdout is by test_subjects, or by train_splits and test_splits"
            )
        if shared := set(self.train_splits) & set(self.test_splits):
            raise ValueError(f"train_splits and test_splits share {sorted(shared)}")


def split(
    protocol: ProtocolOptions,
    subjects: np.ndarray,
    labels: np.ndarray,
    *,
    splits: np.ndarray | None = None,
) -> list[Fold]:
    """Returns the folds of a protocol.

    Args:
        protocol: its name and numbers.
        subjects: [n] of all clips.
        labels: [n].
        splits: [n] where each clip lies in the owners' release; holdout needs it.

    Raises:
        UserError: for an unknown subject or split, and for a training part
            with fewer than two classes.
    """
    # By subject alone: a face seen in training must never be tested.
    name, folds = protocol.name, protocol.folds
    test_subjects, inner_subjects = protocol.test_subjects, protocol.inner_subjects
    train_splits, test_splits = protocol.train_splits, protocol.test_splits
    # Clips in other splits of the owners, such as a second test, are in no fold.
    used = tested = np.ones(len(subjects), bool)
    if name == "holdout" and test_splits:
        tested = np.isin(splits, test_splits)
        used = np.isin(splits, train_splits) | tested
        test_subjects = _subjects_of(splits, test_splits, subjects)
        _subjects_of(splits, train_splits, subjects)
    names = sorted(set(subjects[used].tolist()))
    if name == "loso":
        groups = [[subject] for subject in names]
        titles = _file_names(names)
    elif name == "cross_dataset":
        titles = sorted({dataset_of(subject) for subject in names})
        if len(titles) < 2:
            raise UserError(
                f"cross_dataset: every subject is of {titles[0]}; give several "
                "datasets, joined by + in config.data.dataset"
            )
        if unknown := sorted(set(protocol.test_datasets) - set(titles)):
            raise UserError(
                f"cross_dataset: protocol.test_datasets {unknown} are none of {titles}"
            )
        titles = sorted(protocol.test_datasets) or titles
        groups = [[s for s in names if dataset_of(s) == title] for title in titles]
    elif name == "kfold":
        if not 2 <= folds <= len(names):
            raise UserError(f"kfold: {folds} folds of {len(names)} subjects")
        groups = [[] for _ in range(folds)]
        # Dealt to the fold with the fewest clips, the largest subject first: what comes
        # late is small and evens out, while a large one at the end could not.
        counts = {s: int((subjects == s).sum()) for s in names}
        for subject in sorted(names, key=lambda s: (-counts[s], s)):
            min(groups, key=lambda g: sum(counts[s] for s in g)).append(subject)
        titles = [f"fold{i + 1}" for i in range(folds)]
    else:  # holdout
        unknown = sorted(set(test_subjects) - set(names))
        if unknown or not test_subjects or len(test_subjects) == len(names):
            raise UserError(
                "holdout: protocol.test_subjects must be some of the subjects; "
                f"unknown: {unknown}; known: {names}"
            )
        groups, titles = [list(test_subjects)], ["holdout"]

    made = []
    for title, group in zip(titles, groups, strict=True):
        rest = [s for s in names if s not in group]
        inner = _middle(rest, subjects, inner_subjects)
        train = np.flatnonzero(used & ~np.isin(subjects, group + inner))
        test = np.flatnonzero(tested & np.isin(subjects, group))
        chosen = np.flatnonzero(used & np.isin(subjects, inner))
        made.append(Fold(title, train, test, chosen))
        if len(np.unique(labels[train])) < 2:
            raise UserError(
                f"fold {title}: its training clips ({len(train)}) hold fewer than two "
                "classes; there is nothing to learn"
            )
    check_leakage(made, subjects)
    return made


def members(folds: Sequence[Fold], seeds: Sequence[int]) -> list[Member]:
    """Returns every fold with every seed, seed-major.

    Args:
        folds: of the protocol.
        seeds: one model of every fold each.
    """
    # Seed-major: a run that is stopped early has whole seeds.
    return [Member(f, s, i) for s in seeds for i, f in enumerate(folds)]


def check_leakage(folds: Sequence[Fold], subjects: np.ndarray) -> None:
    """Checks that no subject is on two sides and no clip tested twice.

    Args:
        folds: of one protocol.
        subjects: [n] of all clips.

    Raises:
        AssertionError: naming the fold and subjects, as this would be our own error.
    """
    for fold in folds:
        sides = [set(subjects[part]) for part in (fold.train, fold.test, fold.inner)]
        shared = sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
        assert not shared, f"fold {fold.name}: subjects on two sides: {sorted(shared)}"
    tested = np.concatenate([fold.test for fold in folds])
    assert len(np.unique(tested)) == len(tested), "a clip is tested in two folds"


def _subjects_of(splits: np.ndarray, wanted: Sequence[str], subjects) -> list[str]:
    # A misspelt split would leave its clips out without a word.
    known = sorted(set(splits.tolist()))
    if not wanted or set(wanted) - set(known):
        raise UserError(f"holdout: splits {list(wanted)} of a dataset with {known}")
    return sorted(set(subjects[np.isin(splits, wanted)].tolist()))


def _middle(rest: list[str], subjects: np.ndarray, count: int) -> list[str]:
    if not count:
        return []
    if count >= len(rest):
        raise UserError(f"inner_subjects={count} leaves none of {len(rest)} to train")
    # Subjects in the middle by size: the largest would take much of the training away,
    # the smallest have too few clips and classes to select an epoch by.
    by_size = sorted(rest, key=lambda s: (int((subjects == s).sum()), s))
    start = (len(by_size) - count) // 2
    return by_size[start : start + count]


def _file_names(subjects: Sequence[str]) -> list[str]:
    """What each subject's files are called: no two alike, and no folder among them."""
    # Builders write "dataset/subject"; a slash would make folders.
    last = [subject.rsplit("/", 1)[-1] for subject in subjects]
    plain = [re.sub("[^A-Za-z0-9_.-]", "_", name).strip(".")[:100] for name in last]
    # Compared without case: some drives take two spellings for one file.
    small = [name.lower() for name in plain]
    return [
        name
        if small.count(name.lower()) == 1 and name == whole
        else f"{name}-{hashlib.sha256(subject.encode()).hexdigest()[:8]}"
        for name, whole, subject in zip(plain, last, subjects, strict=True)
    ]
