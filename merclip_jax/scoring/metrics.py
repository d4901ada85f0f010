"""UF1, UAR, ACC and WF1 from one pooled confusion matrix, and their intervals.

The number of classes K is a property of the task, never of the predictions at hand: a
class that nobody has, or nobody predicts, counts as 0 and stays in the mean.
"""

from dataclasses import dataclass

import numpy as np

from merclip_jax.scoring.intervals import jackknife


@dataclass(frozen=True)
class Scores:
    """Scores of one confusion matrix; the arrays are per class, [K] float64."""

    uf1: float
    uar: float
    acc: float
    wf1: float
    f1: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    support: np.ndarray


@dataclass(frozen=True)
class Intervals:
    """95 % intervals (low, high) over subjects."""

    uf1: tuple[float, float]
    uar: tuple[float, float]
    acc: tuple[float, float]
    wf1: tuple[float, float]


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, *, classes: int
) -> np.ndarray:
    """Counts clips by true (row) and predicted (column) class.

    Args:
        labels: [n] integers in 0..classes-1.
        predictions: [n], likewise.
        classes: K of the task.

    Returns:
        int64 [K, K].

    Raises:
        ValueError: if there is no clip, or for a class outside the task.
    """
    labels = class_indices("labels", labels, classes)
    predictions = class_indices("predictions", predictions, classes)
    if labels.shape != predictions.shape:
        raise ValueError(
            f"{labels.size} labels but {predictions.size} predictions: "
            "expected one prediction for each clip"
        )
    # Each pair of classes has a number of its own: counting them counts the cells.
    cells = np.bincount(labels * classes + predictions, minlength=classes**2)
    return cells.reshape(classes, classes)


def scores(matrix: np.ndarray) -> Scores:
    """Returns the scores of a confusion matrix [K, K] (rows: truth), x/0 being 0.

    UF1 is the mean of MER-CLIP's eq. 16 over all K classes, UAR its eq. 19; WF1 weighs
    each class by its clips. They equal scikit-learn's macro f1_score and recall_score
    and its weighted f1_score with `labels=range(K), zero_division=0`. Raises
    ValueError for an empty matrix.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"expected a confusion matrix [K, K], got {matrix.shape}")
    if matrix.sum() == 0:
        raise ValueError("the confusion matrix holds no clip: nothing to score")
    hits = np.diagonal(matrix)
    support, predicted = matrix.sum(1), matrix.sum(0)
    # 2TP / (2TP + FP + FN), which needs no precision and recall of absent classes.
    f1 = ratio(2 * hits, support + predicted)
    recall = ratio(hits, support)
    return Scores(
        uf1=float(f1.mean()),
        uar=float(recall.mean()),
        acc=float(hits.sum() / matrix.sum()),
        wf1=float((f1 * support).sum() / matrix.sum()),
        f1=f1,
        recall=recall,
        precision=ratio(hits, predicted),
        support=support,
    )


def subject_intervals(
    labels: np.ndarray,
    predictions: np.ndarray,
    subjects: np.ndarray,
    *,
    classes: int,
    seeds: np.ndarray | None = None,
) -> Intervals:
    """Intervals of UF1, UAR, ACC and WF1 over subjects (`intervals.jackknife`).

    Args:
        labels, predictions: [n] integers in 0..classes-1.
        subjects: [n] of the clips.
        classes: K of the task.
        seeds: [n] training seed that each prediction is of; None: one seed.

    Raises:
        ValueError: with fewer than two subjects, where none can be left out, and for
            arrays that do not fit each other.
    """
    # Clips of one subject are alike: leaving out clips would give intervals too narrow.
    subjects = np.asarray(subjects)
    labels = class_indices("labels", labels, classes)
    predictions = class_indices("predictions", predictions, classes)
    seeds = np.zeros(labels.size, np.int64) if seeds is None else np.asarray(seeds)
    sizes = {labels.shape, predictions.shape, subjects.shape, seeds.shape}
    if len(sizes) != 1:
        raise ValueError(
            "labels, predictions, subjects and seeds must have one length, "
            f"got {sorted(sizes)}"
        )
    _, group = np.unique(subjects, return_inverse=True)
    _, run = np.unique(seeds, return_inverse=True)
    groups, runs = int(group.max()) + 1, int(run.max()) + 1
    if groups < 2:
        raise ValueError(
            f"only subject {subjects[0]!s}: an interval over subjects needs two or more"
        )
    matrices = np.zeros((groups, runs, classes, classes))
    np.add.at(matrices, (group, run, labels, predictions), 1)
    return intervals_of(matrices)


def intervals_of(matrices: np.ndarray) -> Intervals:
    """The same, of confusion matrices [s, r, K, K] of each subject with each seed."""
    whole = matrices.sum(0)
    # A subject is left out of all seeds at once; their scores are averaged as in the
    # headline.
    found = [
        jackknife(all_.mean(), each.mean(1))
        for all_, each in zip(
            pooled_scores(whole), pooled_scores(whole - matrices), strict=True
        )
    ]
    return Intervals(*found)


def pooled_scores(matrices: np.ndarray) -> tuple[np.ndarray, ...]:
    """UF1, UAR, ACC and WF1, each [...], of confusion matrices [..., K, K]."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    support, predicted = matrices.sum(-1), matrices.sum(-2)
    f1, clips = ratio(2 * hits, support + predicted), support.sum(-1)
    acc, wf1 = ratio(hits.sum(-1), clips), ratio((f1 * support).sum(-1), clips)
    return f1.mean(-1), ratio(hits, support).mean(-1), acc, wf1


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Returns a quotient in float64, 0 where the divisor is 0.

    Args:
        top: what is divided.
        bottom: by what, of the same shape.
    """
    # A class that nobody has or predicts counts as 0 and stays in the mean: leaving it
    # out would reward folds with few classes.
    zeros = np.zeros(np.shape(top), np.float64)
    return np.divide(top, bottom, out=zeros, where=np.asarray(bottom) != 0)


def class_indices(name: str, values: np.ndarray, classes: int) -> np.ndarray:
    """Returns class indices as int64 [n], checked.

    Args:
        name: of the array, for messages.
        values: [n] integers.
        classes: K of the task.

    Raises:
        ValueError: for anything but integers in 0..classes-1, naming the first.
    """
    values = np.asarray(values)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"{name}: expected [n] with a clip at least, got {values.shape}"
        )
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name}: expected integers, got {values.dtype}")
    wrong = np.flatnonzero((values < 0) | (values >= classes))
    if wrong.size:
        raise ValueError(
            f"{name}[{wrong[0]}] is {values[wrong[0]]}: expected 0 to {classes - 1}"
        )
    return values.astype(np.int64)
