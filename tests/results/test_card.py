"""Predictions that would be scored wrongly are refused; cards survive a round trip."""

import csv
import dataclasses
import errno
import io
import json
import os

import numpy as np
import pytest

from merclip_jax.atomic import write_atomically
from merclip_jax.results import card as cards
from merclip_jax.results.answers import Answers
from merclip_jax.results.terminal import format_card
from merclip_jax.scoring.predictions import Predictions, pool
from merclip_jax.scoring.tasks import AUTask, EmotionTask

CLASSES = ("negative", "positive", "surprise")
TASK = EmotionTask(CLASSES)


def _member(subject: str, *, seed: int = 0, clips: int = 4) -> Predictions:
    """A LOSO member's predictions on its test subject, right three times of four."""
    rng = np.random.default_rng(int(subject[1:]) + 100 * seed)
    label = (np.arange(clips) + int(subject[1:])) % 3
    answer = np.where(np.arange(clips) % 4 == 3, (label + 1) % 3, label)
    logits = (3 * np.eye(3)[answer] + rng.random((clips, 3))).astype(np.float32)
    return Predictions(
        task=TASK,
        clip=np.array([f"synthetic/{subject}/{i:02d}" for i in range(clips)]),
        subject=np.full(clips, f"synthetic/{subject}"),
        fold=np.full(clips, subject),
        split=np.full(clips, "clips"),
        seed=np.full(clips, seed),
        target=label,
        outputs={"logits": logits},
    )


def _pooled(seeds=(0, 1)) -> Predictions:
    return pool([_member(f"s{i}", seed=s) for s in seeds for i in range(5)])


def _card(predictions: Predictions, **changes) -> dict:
    given = {
        "title": "MER-CLIP on synthetic/tiny, 3 classes",
        "system": "MER-CLIP",
        "task": "synthetic-3class",
        "dataset": "synthetic/tiny:1.0.0",
        "dataset_fingerprint": "ab" * 32,
        "protocol": "loso",
        "recipe": "paper",
        "selection": "last",
        "input_contract": "oracle-keyframes",
        "config": {"optim.lr": 1e-4, "model.size": "tiny", "folds": (1, 2)},
        "versions": {"jax": "0.10.2", "numpy": "2.4"},
        "command": "python -m merclip_jax.main",
        "ceiling": {"name": "Bayes ceiling", "uf1": 0.9, "uar": 0.9, "acc": 0.92},
        "compute": {"training_hours": 0.5},
        "parameters": [{"part": "head", "arrays": 2, "trained": 99, "frozen": 1}],
    }
    own = {"bound", "test_splits"} & changes.keys()
    answers = Answers(predictions, epochs=10, **{n: changes.pop(n) for n in own})
    return cards.build_card(answers, cards.Facts(**given | changes))


def write_card(path, card):
    write_atomically(path, cards.to_json(card))


def test_pool_does_not_depend_on_the_order_of_members():
    members = [_member(f"s{i}", seed=s) for s in (0, 1) for i in range(5)]
    first, second = pool(members), pool(members[::-1])
    for name in ("clip", "subject", "fold", "split", "seed", "target"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.outputs["logits"], second.outputs["logits"])
    assert first.sha256() == second.sha256()
    with pytest.raises(ValueError, match="no member"):
        pool([])


def _changed(**columns) -> Predictions:
    return dataclasses.replace(_member("s1"), **columns)


def test_predictions_name_the_clip_that_is_wrong():
    good = _member("s1")
    logits = good.outputs["logits"].copy()
    logits[2, 0] = np.nan
    with pytest.raises(ValueError, match="not finite: synthetic/s1/02"):
        _changed(outputs={"logits": logits})
    with pytest.raises(ValueError, match="more than one prediction.*synthetic/s1/00"):
        pool([good, good])
    with pytest.raises(ValueError, match="outside the task: synthetic/s1/03"):
        _changed(target=np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="synthetic/s1 has more than one fold"):
        _changed(fold=np.array(["s1", "s1", "s1", "s2"]))
    with pytest.raises(ValueError, match="not all of 2 seeds: synthetic/s1/03"):
        pool([good, _member("s1", seed=1, clips=3)])
    again = dataclasses.replace(_member("s1", seed=1), target=(good.target + 1) % 3)
    with pytest.raises(ValueError, match="synthetic/s1/00 has more than one target"):
        pool([good, again])
    with pytest.raises(ValueError, match=r"must be \[n\]"):
        _changed(target=np.array([0, 1]))
    with pytest.raises(ValueError, match="label: expected integers"):
        _changed(target=np.zeros(4))


def test_card_scores_are_those_of_the_pooled_matrix():
    predictions = _pooled()
    card = _card(predictions)
    f1 = []
    for c in range(3):
        hit = ((predictions.answer == c) & (predictions.target == c)).sum()
        f1.append(
            2
            * hit
            / ((predictions.answer == c).sum() + (predictions.target == c).sum())
        )
    assert cards.find_row(card, "uf1")["mean"] == pytest.approx(np.mean(f1))
    assert cards.find_row(card, "acc")["mean"] == pytest.approx(0.75)
    assert cards.find_row(card, "uf1")["per_seed"].keys() == {"0", "1"}
    _, per_class, matrix = card["scores"]
    assert sum(sum(row["counts"]) for row in matrix["rows"]) == 40
    assert [row["support"] for row in per_class["rows"]] == [7, 7, 6]
    assert card["task"]["clips"] == 20 and card["protocol"]["folds"] == 5
    best, prior = (
        cards.find_row(card, key, part="chance")["value"]
        for key in ("best_on_test", "prior")
    )
    assert best > prior
    with pytest.raises(KeyError, match="scores has .*not 'wf1'"):
        cards.find_row(card, "wf1")


def test_card_says_what_is_unknown():
    one = _card(_pooled(seeds=(0,)))
    assert cards.find_row(one, "uf1")["sd"] is None
    assert any("One seed" in note for note in one["notes"])
    alone = _card(_member("s0", clips=1))
    assert cards.find_row(alone, "uf1")["low"] is None
    assert any("One test subject" in note for note in alone["notes"])
    assert any("No clip is surprise" in note for note in alone["notes"])
    format_card(alone)


def test_signature_covers_results_but_not_place_and_time():
    card = _card(_pooled())
    elsewhere = _card(_pooled(), command="other", compute={"clips": 1})
    assert card["card_sha256"] == elsewhere["card_sha256"]
    assert card["card_sha256"] != _card(_pooled(), selection="inner")["card_sha256"]
    assert card["config_sha256"] != _card(_pooled(), config={})["config_sha256"]
    others = EmotionTask(("others", "positive", "surprise"))
    renamed = _card(dataclasses.replace(_pooled(), task=others))
    assert card["task"]["clip_list_sha256"] != renamed["task"]["clip_list_sha256"]


def test_round_trip_and_same_bytes(tmp_path):
    card = _card(_pooled())
    write_card(tmp_path / "a.json", card)
    write_card(tmp_path / "b.json", _card(_pooled()))
    assert cards.read_card(tmp_path / "a.json") == card
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"]


def test_wrong_cards_are_refused(tmp_path):
    path = tmp_path / "card.json"
    card = _card(_pooled())
    write_card(path, card)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(cards.CardError, match="card.json: not a whole JSON file"):
        cards.read_card(path)
    for foreign in ([], {}, {"schema": "merclip_jax.card/2"}):
        path.write_text(json.dumps(foreign))
        with pytest.raises(cards.CardError, match="expected 'merclip_jax.card/3'"):
            cards.read_card(path)
    path.write_text(json.dumps({k: v for k, v in card.items() if k != "scores"}))
    with pytest.raises(cards.CardError, match="card: 'scores' is a required property"):
        cards.read_card(path)
    # An epoch that was chosen on test subjects cannot be said to be the result.
    path.write_text(json.dumps(card | {"selection": "oracle"}))
    with pytest.raises(cards.CardError, match="card.selection: 'oracle' is not one of"):
        cards.read_card(path)
    path.write_text(json.dumps(card | {"selection": "inner"}))
    with pytest.raises(cards.CardError, match="changed since it was written"):
        cards.read_card(path)
    with pytest.raises(cards.CardError, match="card.compute.clips is nan"):
        _card(_pooled(), compute={"clips": float("nan")})
    with pytest.raises(cards.CardError, match="config.layer: cannot write set"):
        _card(_pooled(), config={"layer": {1}})


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_full_disk_keeps_the_old_card(tmp_path, monkeypatch, call):
    path = tmp_path / "card.json"
    write_card(path, _card(_pooled(seeds=(0,))))
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr("builtins.open", full)
    with pytest.raises(
        OSError, match="disk is full; the old file is unchanged"
    ) as raised:
        write_card(path, _card(_pooled()))
    monkeypatch.undo()
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["card.json"]


def test_card_text_fits_the_terminal():
    seven = tuple(f"an-emotion-with-a-long-name-{i}" for i in range(7))
    rng = np.random.default_rng(0)
    wide = dataclasses.replace(
        _pooled(),
        task=EmotionTask(seven),
        outputs={"logits": rng.normal(size=(40, 7)).astype(np.float32)},
    )
    lineage = ["UniFormerV2-B/16 of " + "a/very/long/path/" * 12]
    made = [
        _card(_pooled(), notes=["A remark that is long. " * 8], dropped=["x"]),
        _card(wide, lineage=lineage),
        _card(_pooled(), bound=_pooled()),
        _card(_split(), test_splits=("test_a", "test_b")),
        _card(_au_predictions(), ceiling=None),
    ]
    for one in made:
        lines = format_card(one).splitlines()
        assert {len(line) for line in lines} == {80}
    assert "selected on test, no result: UF1 0.7" in format_card(made[2])
    assert "test_b: 8 clips of 2 subjects" in format_card(made[3])
    text = format_card(_card(_pooled()))
    for part in ("UF1", "% of the ceiling", "negative", "best of 10 epochs", "loso"):
        assert part in text
    assert "99 trained, 1 frozen" in text


def _split() -> Predictions:
    """Three subjects in the owners' test A, two in their test B."""
    pooled = _pooled(seeds=(0,))
    later = np.isin(pooled.subject, ["synthetic/s3", "synthetic/s4"])
    return dataclasses.replace(pooled, split=np.where(later, "test_b", "test_a"))


def test_the_owners_test_splits_are_scored_apart_and_together():
    predictions = _split()
    card = _card(predictions, test_splits=("test_a", "test_b"))
    assert [part["name"] for part in card["splits"]] == ["test_a", "test_b"]
    assert [part["clips"] for part in card["splits"]] == [12, 8]
    for part in card["splits"]:
        alone = predictions.where(predictions.split == part["name"])
        wanted = cards.means(alone)
        for row in part["scores"]["rows"]:
            assert row["mean"] == pytest.approx(wanted[row["key"]])
    assert cards.find_row(card, "acc")["mean"] == pytest.approx(0.75)
    # LOSO over a dataset in two parts has no test part of its own.
    assert _card(predictions)["splits"] == []


HOSTILE = "=1+1\x1b[2J\u202e\ud800"


def test_hostile_names_are_written_out():
    """On the terminal, in the card's file and in the table."""
    pooled = _pooled()
    names = {
        name: np.asarray([f"{HOSTILE}{value}" for value in getattr(pooled, name)])
        for name in ("clip", "subject", "fold")
    }
    hostile = dataclasses.replace(
        pooled, **names, task=EmotionTask(("a", "b", HOSTILE))
    )
    card = _card(hostile, dataset=HOSTILE, lineage=[HOSTILE], notes=[HOSTILE])
    for text in (format_card(card), cards.to_json(card).decode(), hostile.csv()):
        assert not set(text) & set("\x1b\u202e\ud800")
        assert "\\x1b[2J\\u202e" in text.replace("\\\\", "\\")
    for row in csv.reader(hostile.csv().splitlines()):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def _au_predictions() -> Predictions:
    pooled = _pooled()
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(40, 3)).astype(np.float32)
    target = np.tile(rng.integers(0, 2, (20, 3)), (2, 1))
    return dataclasses.replace(
        pooled,
        task=AUTask(("AU1", "AU4", "AU12")),
        target=target,
        outputs={"aus": logits},
    )


def test_a_card_of_aus_has_their_names_and_scores():
    predictions = _au_predictions()
    card = _card(predictions, ceiling=None)
    said, shown = predictions.answer, predictions.target.astype(bool)
    f1 = []
    for seed in (0, 1):
        own = predictions.seed == seed
        hits = (said & shown)[own].sum(0)
        f1.append(2 * hits / (said[own].sum(0) + shown[own].sum(0)))
    assert cards.find_row(card, "f1")["mean"] == pytest.approx(np.mean(f1))
    assert cards.find_row(card, "AU4")["f1"] == pytest.approx(np.mean(f1, 0)[1])
    assert card["task"]["classes"] == ["AU1", "AU4", "AU12"]


def test_csv_has_one_row_per_clip_and_seed():
    rows = list(csv.DictReader(io.StringIO(_pooled().csv())))
    assert len(rows) == 40
    assert rows[0]["clip"] == "synthetic/s0/00" and rows[0]["true"] == "negative"
    total = sum(float(rows[0][f"p_{name}"]) for name in CLASSES)
    assert total == pytest.approx(1, abs=1e-5)
    several = list(csv.DictReader(io.StringIO(_au_predictions().csv())))
    names = {row["true"] for row in several}
    assert "AU1+AU4" in names and "" in names


def test_missing_numbers_of_a_ceiling_are_named():
    """The first score's, which percents are of; the oracle has all."""
    with pytest.raises(ValueError, match=r"ceiling: lacks \['uf1'\]"):
        _card(_pooled(), ceiling={"name": "Bayes", "uar": 0.9})
    assert _card(_pooled(), ceiling={"name": "Bayes", "uf1": 0.9})
