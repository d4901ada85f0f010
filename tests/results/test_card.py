"""Predictions that would be scored wrongly are refused; cards survive a round trip."""

import csv
import dataclasses
import errno
import json
import os

import numpy as np
import pytest

from merclip_jax.results import card

CLASSES = ("negative", "positive", "surprise")


def _member(subject: str, *, seed: int = 0, clips: int = 4) -> card.Predictions:
    """A LOSO member's predictions on its test subject, right three times of four."""
    rng = np.random.default_rng(int(subject[1:]) + 100 * seed)
    label = (np.arange(clips) + int(subject[1:])) % 3
    answer = np.where(np.arange(clips) % 4 == 3, (label + 1) % 3, label)
    return card.Predictions(
        clip=np.array([f"synthetic/{subject}/{i:02d}" for i in range(clips)]),
        subject=np.full(clips, f"synthetic/{subject}"),
        fold=np.full(clips, subject),
        seed=np.full(clips, seed),
        label=label,
        logits=(3 * np.eye(3)[answer] + rng.random((clips, 3))).astype(np.float32),
    )


def _pooled(seeds=(0, 1)) -> card.Predictions:
    return card.pool([_member(f"s{i}", seed=s) for s in seeds for i in range(5)])


def _card(predictions: card.Predictions, **changes) -> dict:
    given = {
        "title": "MER-CLIP on synthetic/tiny, 3 classes",
        "task": "synthetic-3class",
        "dataset": "synthetic/tiny:1.0.0",
        "dataset_fingerprint": "ab" * 32,
        "classes": CLASSES,
        "protocol": "loso",
        "recipe": "paper",
        "selection": "last",
        "input_contract": "oracle-keyframes",
        "config": {"optim.lr": 1e-4, "model.size": "tiny", "folds": (1, 2)},
        "predictions": predictions,
        "epochs": 10,
        "versions": {"jax": "0.10.2", "numpy": "2.4"},
        "command": "python -m merclip_jax.main",
        "ceiling": {"name": "Bayes ceiling", "uf1": 0.9, "uar": 0.9, "acc": 0.92},
        "timing": {"train_s": 12.5},
    }
    return card.build_card(**given | changes)


def test_pool_does_not_depend_on_the_order_of_members():
    members = [_member(f"s{i}", seed=s) for s in (0, 1) for i in range(5)]
    first, second = card.pool(members), card.pool(members[::-1])
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(
            getattr(first, field.name), getattr(second, field.name)
        )
    assert first.sha256() == second.sha256()
    with pytest.raises(ValueError, match="no member"):
        card.pool([])


def _changed(**columns) -> card.Predictions:
    return dataclasses.replace(_member("s1"), **columns)


def test_predictions_name_the_clip_that_is_wrong():
    good = _member("s1")
    logits = good.logits.copy()
    logits[2, 0] = np.nan
    with pytest.raises(ValueError, match="not finite: synthetic/s1/02"):
        _changed(logits=logits)
    with pytest.raises(ValueError, match="more than one prediction.*synthetic/s1/00"):
        card.pool([good, good])
    with pytest.raises(ValueError, match="label outside 0 to 2: synthetic/s1/03"):
        _changed(label=np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="synthetic/s1 has more than one fold"):
        _changed(fold=np.array(["s1", "s1", "s1", "s2"]))
    with pytest.raises(ValueError, match="not all of 2 seeds: synthetic/s1/03"):
        card.pool([good, _member("s1", seed=1, clips=3)])
    again = dataclasses.replace(_member("s1", seed=1), label=(good.label + 1) % 3)
    with pytest.raises(ValueError, match="synthetic/s1/00 has more than one label"):
        card.pool([good, again])
    with pytest.raises(ValueError, match=r"must be \[n\]"):
        _changed(label=np.array([0, 1]))
    with pytest.raises(ValueError, match="label: expected integers"):
        _changed(label=np.zeros(4))


def test_card_scores_are_those_of_the_pooled_matrix():
    predictions = _pooled()
    card = _card(predictions)
    f1 = []
    for c in range(3):
        hit = ((predictions.predicted == c) & (predictions.label == c)).sum()
        f1.append(
            2
            * hit
            / ((predictions.predicted == c).sum() + (predictions.label == c).sum())
        )
    assert card["scores"]["uf1"]["mean"] == pytest.approx(np.mean(f1))
    assert card["scores"]["acc"]["mean"] == pytest.approx(0.75)
    assert card["scores"]["uf1"]["per_seed"].keys() == {"0", "1"}
    assert np.sum(card["scores"]["confusion_matrix"]) == 40
    assert [row["support"] for row in card["scores"]["per_class"]] == [7, 7, 6]
    assert card["task"]["clips"] == 20 and card["protocol"]["folds"] == 5
    assert card["chance"]["best_on_test_uf1"] > card["chance"]["prior_uf1"]["mean"]


def test_card_says_what_is_unknown():
    one = _card(_pooled(seeds=(0,)))
    assert one["scores"]["uf1"]["sd"] is None
    assert any("One seed" in note for note in one["notes"])
    alone = _card(_member("s0", clips=1))
    assert alone["scores"]["uf1"]["low"] is None
    assert any("One test subject" in note for note in alone["notes"])
    assert any("No clip is surprise" in note for note in alone["notes"])
    card.format_card(alone)


def test_signature_covers_results_but_not_place_and_time():
    card = _card(_pooled())
    elsewhere = _card(_pooled(), command="other", timing={"train_s": 1.0})
    assert card["card_sha256"] == elsewhere["card_sha256"]
    assert card["card_sha256"] != _card(_pooled(), selection="inner")["card_sha256"]
    assert card["config_sha256"] != _card(_pooled(), config={})["config_sha256"]
    renamed = _card(_pooled(), classes=("others", "positive", "surprise"))
    assert card["task"]["clip_list_sha256"] != renamed["task"]["clip_list_sha256"]


def test_round_trip_and_same_bytes(tmp_path):
    card = _card(_pooled())
    card.write_card(tmp_path / "a.json", card)
    card.write_card(tmp_path / "b.json", _card(_pooled()))
    assert card.read_card(tmp_path / "a.json") == card
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"]


def test_wrong_cards_are_refused(tmp_path):
    path = tmp_path / "card.json"
    card = _card(_pooled())
    card.write_card(path, card)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(card.CardError, match="card.json: not a whole JSON file"):
        card.read_card(path)
    for foreign in ([], {}, {"schema": "merclip_jax.card/99"}):
        path.write_text(json.dumps(foreign))
        with pytest.raises(card.CardError, match="expected 'merclip_jax.card/1'"):
            card.read_card(path)
    path.write_text(json.dumps({k: v for k, v in card.items() if k != "scores"}))
    with pytest.raises(card.CardError, match="lacks scores"):
        card.read_card(path)
    path.write_text(json.dumps(card | {"selection": "inner"}))
    with pytest.raises(card.CardError, match="changed since it was written"):
        card.read_card(path)
    with pytest.raises(card.CardError, match="card.timing.train_s is nan"):
        _card(_pooled(), timing={"train_s": float("nan")})
    with pytest.raises(card.CardError, match="config.layer: cannot write set"):
        _card(_pooled(), config={"layer": {1}})


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_full_disk_keeps_the_old_card(tmp_path, monkeypatch, call):
    path = tmp_path / "card.json"
    card.write_card(path, _card(_pooled(seeds=(0,))))
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
        card.write_card(path, _card(_pooled()))
    monkeypatch.undo()
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["card.json"]


def test_card_text_fits_the_terminal():
    seven = [f"an-emotion-with-a-long-name-{i}" for i in range(7)]
    rng = np.random.default_rng(0)
    wide = dataclasses.replace(
        _pooled(), logits=rng.normal(size=(40, 7)).astype(np.float32)
    )
    lineage = ["UniFormerV2-B/16 of " + "a/very/long/path/" * 12]
    for card in (
        _card(_pooled(), notes=["A remark that is long. " * 8], dropped=["x"]),
        _card(wide, classes=seven, lineage=lineage),
        _card(_pooled(), selection="oracle"),
    ):
        lines = card.format_card(card).splitlines()
        assert {len(line) for line in lines} == {80}
    assert "bound, not a result" in card.format_card(card)
    text = card.format_card(_card(_pooled()))
    for part in ("UF1", "% of the ceiling", "negative", "best of 10 epochs", "loso"):
        assert part in text


def test_csv_has_one_row_per_clip_and_seed(tmp_path):
    predictions = _pooled()
    path = tmp_path / "predictions.csv"
    card.write_predictions_csv(path, predictions, classes=CLASSES)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert rows[0]["clip"] == "synthetic/s0/00" and rows[0]["true"] == "negative"
    total = sum(float(rows[0][f"p_{name}"]) for name in CLASSES)
    assert total == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="2 class names"):
        card.write_predictions_csv(path, predictions, classes=CLASSES[:2])


def test_missing_numbers_of_a_ceiling_are_named():
    with pytest.raises(ValueError, match=r"ceiling: lacks \['acc', 'uar'\]"):
        _card(_pooled(), ceiling={"name": "Bayes", "uf1": 0.9})
    with pytest.raises(ValueError, match="3 logits but classes"):
        _card(_pooled(), classes=CLASSES[:2])
