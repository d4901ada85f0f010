"""MEGC2019's metric on worked cases: pooled, and by dataset, whatever folds lack."""

import numpy as np
import pytest

from merclip_jax.results.answers import Answers
from merclip_jax.results.card import computed
from merclip_jax.results.datasets import by_dataset
from merclip_jax.scoring.predictions import Predictions
from merclip_jax.scoring.tasks import EmotionTask

NAMES = ("negative", "positive", "surprise")


def made(rows):
    """Of (dataset, subject, true, answered, how many)."""
    rows = [row[:4] for row in rows for _ in range(row[4])]
    answer = np.array([row[3] for row in rows])
    subject = np.array([f"{row[0]}/{row[1]}" for row in rows])
    return Predictions(
        task=EmotionTask(NAMES),
        clip=np.array([f"{s}/{i}" for i, s in enumerate(subject)]),
        subject=subject,
        fold=subject,
        split=np.full(len(rows), "clips"),
        seed=np.zeros(len(rows), int),
        target=np.array([row[2] for row in rows]),
        outputs={"logits": (5 * np.eye(3)[answer]).astype(np.float32)},
    )


# CASME II has no surprise, one subject of SAMM has one class, SMIC has one subject.
CASE = made(
    [
        ("casme2", "sub01", 0, 0, 4),
        ("casme2", "sub01", 1, 0, 2),
        ("casme2", "sub02", 1, 1, 2),
        ("samm", "006", 0, 0, 3),
        ("samm", "007", 2, 2, 1),
        ("samm", "007", 2, 0, 1),
        ("smic", "s1", 0, 2, 1),
        ("smic", "s1", 1, 1, 2),
        ("smic", "s1", 2, 2, 3),
    ]
)


def test_the_composite_is_worked_out_by_hand():
    """Counts first: 2 TP / (2 TP + FP + FN) of each class, and TP / N, then means."""
    told = computed(Answers(CASE))
    rows = {row["key"]: row["mean"] for row in told["scores"][0]["rows"]}
    # negative: 7 hits, 3 answered wrongly so, 1 missed; positive 4, 0, 2; surprise 4,
    # 1, 1.
    f1 = [2 * 7 / (14 + 3 + 1), 2 * 4 / (8 + 0 + 2), 2 * 4 / (8 + 1 + 1)]
    recall = [7 / 8, 4 / 6, 4 / 5]
    assert rows["uf1"] == pytest.approx(np.mean(f1))
    assert rows["uar"] == pytest.approx(np.mean(recall))
    assert rows["acc"] == pytest.approx(15 / 19)


def test_each_dataset_is_worked_out_by_hand():
    (table,) = by_dataset(CASE)
    rows = {row["name"]: row for row in table.rows}
    # A class that a dataset lacks counts as 0 and stays in the mean.
    assert rows["casme2"]["uf1"] == pytest.approx((8 / 10 + 4 / 6 + 0) / 3)
    assert rows["casme2"]["uar"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert rows["samm"]["uf1"] == pytest.approx((6 / 7 + 0 + 2 / 3) / 3)
    # One subject alone: scored all the same.
    assert rows["smic"]["uf1"] == pytest.approx((0 + 1 + 6 / 7) / 3)
    assert [rows[n]["subjects"] for n in ("casme2", "samm", "smic")] == [2, 2, 1]
    assert [rows[n]["clips"] for n in ("casme2", "samm", "smic")] == [8, 5, 6]
    assert "no mean of these" in table.note


def test_one_dataset_has_no_such_table():
    assert by_dataset(CASE.where(np.char.startswith(CASE.subject, "samm"))) == []
