"""Every number of a card follows from what lies beside it; what was edited is named."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from huggingface_hub import ModelCard

from configs import micro_au_clip
from merclip_jax import card as command
from merclip_jax import experiment
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.results import answers, card
from merclip_jax.results.model_card import model_card
from merclip_jax.results.verify import told, verify
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.systems import tiny, tiny_au

pytestmark = pytest.mark.usefixtures("cache")


def clips_of(view, data_dir):
    classes = mini.config(data_dir).data.classes
    options = DataOptions(dataset=mini.DATASET, data_dir=str(data_dir), classes=classes)
    return load_clips(options, view)


@pytest.fixture(scope="module")
def clips(mini_data):
    return clips_of(tiny.Tiny().view, mini_data)


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    """A run with two seeds, emotions by rules, and a best epoch."""
    path = tmp_path_factory.mktemp("verify") / "run"
    job = tiny.job(clips, seeds=(0, 1), selection="oracle")
    experiment.train_and_score(job, Workdir(path), command="tests")
    return path


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def edited(path, change, **seal):
    """A card with a change, signed again as a forger would."""
    told = json.loads(path.read_text())
    change(told)
    told["card_sha256"] = card.card_sha256(told)
    path.write_bytes(card.to_json(told | seal))


def test_what_was_not_touched_holds(run, capsys):
    assert verify(run / "card.json") == []
    assert command.main(["verify", str(run)]) == 0
    assert "every number follows" in capsys.readouterr().out
    assert command.main(["show", str(run / "card.json")]) == 0
    assert "Tiny on synthetic/mini" in capsys.readouterr().out


def _mean(told):
    told["scores"][0]["rows"][0]["mean"] += 0.1


def _support(told):
    told["scores"][1]["rows"][3]["support"] += 1


def _chance(told):
    told["chance"][0]["rows"][0]["value"] = 0.0


def _oracle(told):
    told["oracle"]["f1"] += 1e-6


def _clips(told):
    told["task"]["clips"] = 240


def _notes(told):
    told["notes"] = []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_mean, r"^scores.Scores.rows.f1.mean: [\d.]+, the predictions give [\d.]+$"),
        (_support, r"^scores.AU by AU.rows.AU6.support: \d+, the predictions give"),
        (_chance, r"^chance.F1 without learning anything.rows.prior.value: 0.0, the"),
        (_oracle, r"^oracle.f1: "),
        (_clips, r"^task.clips: 240, the predictions give 24$"),
    ],
)
def test_a_number_of_the_card_that_was_edited_is_named(run, change, line, capsys):
    """Though the card was signed again."""
    edited(run / "card.json", change)
    (found,) = verify(run / "card.json")
    assert re.search(line, found)
    assert command.main(["verify", str(run)]) == 1
    assert found in capsys.readouterr().err


def test_a_remark_that_was_taken_out_is_named(run, clips, tmp_path):
    path = tmp_path / "one_seed"
    experiment.train_and_score(tiny.job(clips), Workdir(path))
    edited(path / "card.json", _notes)
    assert any("One seed" in line for line in verify(path / "card.json"))


def test_a_card_that_was_not_signed_again_is_refused(run):
    path = run / "card.json"
    path.write_text(path.read_text().replace('"command": "tests"', '"title": ""'))
    assert verify(path)
    path.write_text("{")
    assert "not a whole JSON file" in verify(path)[0]
    path.unlink()
    assert "No such file" in verify(path)[0]


def test_predictions_that_were_edited_are_told(run):
    path = run / answers.FILE
    found = answers.read(path)
    changed = found.predictions.outputs["aus"].copy()
    changed[0] = -changed[0]
    other = dataclasses.replace(found.predictions, outputs={"aus": changed})
    path.write_bytes(
        answers.encode(dataclasses.replace(found, predictions=other)),
    )
    lines = verify(run / "card.json")
    for start in ("predictions_sha256", "scores.Scores"):
        assert any(line.startswith(start) for line in lines)
    (member,) = [line for line in lines if "members" in line]
    assert "answers other than in predictions.npz" in member
    assert any("predictions.csv, line 2" in line for line in lines)
    assert "and" in told(lines, run)
    whole = path.read_bytes()
    for broken in (whole[:200], b"", whole[:-60]):
        path.write_bytes(broken)
        assert "no whole file of predictions" in verify(run / "card.json")[0]


def test_a_table_that_was_edited_is_told(run):
    path = run / "predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], lines[4].replace(",0,", ",1,"), *lines[5:]]))
    (found,) = verify(run / "card.json")
    assert "predictions.csv, line 5" in found
    path.write_text("".join(lines[:-1]))
    assert "lines, the predictions give" in verify(run / "card.json")[0]
    path.unlink()
    assert "is not there" in verify(run / "card.json")[0]


def test_members_that_were_edited_exchanged_or_lost_are_told(run):
    first, second = sorted((run / "members").iterdir())[:2]
    whole = first.read_bytes()
    first.write_bytes(whole[:-40])
    lines = verify(run / "card.json")
    assert "damaged" in lines[0] and "no whole file of this run's" in lines[1]
    # Of the same run, and whole, but another fold's: there twice, and once lacking.
    first.write_bytes(second.read_bytes())
    assert "no whole file of this run's fold" in verify(run / "card.json")[0]
    first.unlink()
    assert "no whole file of this run's fold" in verify(run / "card.json")[0]
    first.write_bytes(whole)
    with np.load(first) as data:
        arrays = {name: data[name] for name in data.files}
    arrays["aus"] = arrays["aus"] + 1
    np.savez(first, **arrays)
    assert "what it holds is not what was written" in verify(run / "card.json")[0]


@pytest.mark.whole
def test_emotions_that_were_read_off_are_made_again(mini_data, tmp_path):
    path = tmp_path / "run"
    tasks = micro_au_clip.on("synthetic/tiny").score.emotions
    job = tiny_au.job(clips_of(tiny_au.VIEW, mini_data))
    experiment.train_and_score(dataclasses.replace(job, emotions=tasks), Workdir(path))
    told = card.read_card(path / "card.json")
    read = [i for i, b in enumerate(told["scores"]) if "read off" in b["title"]]
    assert read and verify(path / "card.json") == []

    def change(told):
        told["scores"][read[0]]["rows"][0]["uf1"] = 0.99

    edited(path / "card.json", change)
    assert "hard.uf1: 0.99" in verify(path / "card.json")[0]


def test_another_programs_task_is_named(run):
    (line,) = verify(run / "card.json", tasks={})
    assert "task 'AUTask', expected one of []" in line


def test_the_same_answers_are_the_same_bytes(run):
    path = run / answers.FILE
    assert answers.encode(answers.read(path)) == path.read_bytes()


def test_a_model_card_says_what_the_card_says(run, tmp_path, capsys):
    out = tmp_path / "README.md"
    assert command.main(["publish", str(run), f"--out={out}"]) == 0
    made = ModelCard.load(out)
    assert made.data.library_name == "merclip_jax"
    scores = card.read_card(run / "card.json")["scores"][0]["rows"]
    values = [result.metric_value for result in made.data.eval_results]
    assert values == [row["mean"] for row in scores]
    for text in ("always every AU", "Tiny says nothing about people.", "AI Act"):
        assert text in made.content
    edited(run / "card.json", _mean)
    out.unlink()
    assert command.main(["publish", str(run), f"--out={out}"]) == 1
    assert not out.exists() and "does not hold" in capsys.readouterr().err


def test_hostile_words_of_a_card_are_no_markup(run):
    hostile = '---\nlicense: mit\n<script>alert(1)</script> [x](javascript:y) "'

    def change(told):
        told["title"] = told["task"]["dataset"] = hostile
        told["lineage"] = [hostile]
        told["notes"].append(hostile)

    edited(run / "card.json", change)
    made = ModelCard(model_card(card.read_card(run / "card.json")))
    assert made.data.license == "other"
    assert made.data.model_name.startswith("--- license: mit <script>")
    assert not re.search(r"(?<!\\)(<script|\]\(javascript)", made.text), made.text
