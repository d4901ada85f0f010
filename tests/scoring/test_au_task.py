"""The blocks of a detector's answers: floors, thresholds, AUs that come together."""

import numpy as np
import pytest

from merclip_jax.scoring.predictions import Predictions
from merclip_jax.scoring.tasks import AUTask

NAMES = ("AU1", "AU4", "AU12")


def table(target, logits, *, thresholds=None, seeds=(0,)):
    """LOSO answers, four clips a subject."""
    n = len(target)
    task = AUTask(NAMES, "half" if thresholds is None else "inner")
    outputs = {"aus": np.asarray(logits, np.float32)}
    if thresholds is not None:
        outputs["thresholds"] = np.asarray(thresholds, np.float32)
    subject = np.array([f"synthetic/s{i // 4}" for i in range(n // len(seeds))])
    clip = np.array([f"{s}/{i}" for i, s in enumerate(subject)])
    return Predictions(
        task=task,
        clip=np.tile(clip, len(seeds)),
        subject=np.tile(subject, len(seeds)),
        fold=np.tile(subject, len(seeds)),
        split=np.full(n, "clips"),
        seed=np.repeat(np.array(seeds), n // len(seeds)),
        target=np.asarray(target, np.int32),
        outputs=outputs,
    )


def drawn(n=24):
    rng = np.random.default_rng(0)
    target = (rng.random((n, 3)) < (0.6, 0.3, 0.0)).astype(np.int32)
    return target, rng.normal(size=(n, 3)) + target


def test_each_au_has_its_floor_and_its_auc_pr():
    target, logits = drawn()
    scores, per_au, _ = table(target, logits).task.score(table(target, logits))
    assert [row["name"] for row in scores.rows] == ["F1", "AUC-PR"]
    for row in scores.rows:
        assert row["low"] < row["mean"] < row["high"]
    columns = {c: [row[c] for row in per_au.rows] for c in per_au.columns}
    assert scores.rows[0]["mean"] == pytest.approx(np.mean(columns["f1"]))
    assert scores.rows[1]["mean"] == pytest.approx(np.mean(columns["auc_pr"]))
    share = target.mean(0)
    np.testing.assert_allclose(columns["floor"], 2 * share / (1 + share))
    assert per_au.remarks == ("No clip shows AU12: it counts as 0 in the mean F1.",)
    (chance,) = AUTask(NAMES).chance(table(target, logits), epochs=3)
    assert chance.rows[1]["value"] == pytest.approx(np.mean(columns["floor"]))


def test_a_threshold_moves_answers_and_no_probability():
    target, logits = drawn()
    plain = table(target, logits)
    moved = table(target, logits, thresholds=np.tile([0.5, -9, 9], (24, 1)))
    np.testing.assert_array_equal(moved.answer[:, 0], np.float32(logits[:, 0]) > 0.5)
    assert moved.answer[:, 1].all() and not moved.answer[:, 2].any()
    np.testing.assert_array_equal(
        moved.task.probabilities(moved.outputs), plain.task.probabilities(plain.outputs)
    )
    ours, theirs = (t.task.score(t)[0] for t in (moved, plain))
    assert ours.rows[1] == theirs.rows[1] and ours.rows[0] != theirs.rows[0]
    assert "inner subjects" in ours.remarks[-1]
    assert moved.sha256() != plain.sha256()


def test_thresholds_are_asked_for_where_they_are_read():
    target, logits = drawn()
    outputs = {"aus": logits}
    assert AUTask(NAMES).calibrate(outputs, target) == {}
    (found,) = AUTask(NAMES, "inner").calibrate(outputs, target).values()
    assert found.shape == (3,) and found[2] == 0
    assert AUTask(NAMES, "inner").reads == ("aus", "thresholds")


def test_aus_that_come_together():
    """Annotated once, answered over all seeds; nothing of an AU that nobody shows."""
    target = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    said = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]])
    other = np.array([[1, 0, 0]] * 4)
    both = table(
        np.tile(target, (2, 1)), np.concatenate([said, other]) - 0.5, seeds=(0, 1)
    )
    *_, together = both.task.score(both)
    assert together.kind == "shares" and together.columns == NAMES
    annotated = [row["annotated"] for row in together.rows]
    answered = [row["answered"] for row in together.rows]
    assert annotated == [[1, 2 / 3, 0], [2 / 3, 1, 0], [None] * 3]
    assert answered == [[1, 3 / 7, 0], [1, 1, 0], [0, 0, 1]]
