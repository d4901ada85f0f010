"""A run's final model: trained on everyone, told apart from what was scored."""

import json
import shutil

import numpy as np
import pytest

from configs import window_synthetic
from data_builders.build import build as build_dataset
from merclip_jax import experiment
from merclip_jax.video.answer import Answerer
from merclip_jax.weights import final
from merclip_jax.weights.bundle import SYSTEM
from tests.systems import three

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("cache")]


def config(data_dir, **changes):
    made = window_synthetic.get_config()
    values = {
        "data.dataset": "synthetic/windows_mini",
        "data.data_dir": str(data_dir),
        "train.epochs": 2,
        "protocol.final_fit": True,
        "protocol.seeds": (0, 1),
    }
    made.update_from_flattened_dict(values | changes)
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    build_dataset("synthetic/windows_mini", data_dir=folder / "data")
    card = experiment.run(config(folder / "data"), folder / "run")
    return folder, card


def test_it_has_all_that_use_needs(run):
    folder, card = run
    model = final.load(folder / "run")
    about = model.about
    assert len(model.members) == 2 and about.clips == 48 and about.subjects == 3
    assert about.classes == ("none", "negative", "positive", "surprise")
    assert about.nothing == "none" and about.contract == card["input_contract"]
    assert about.contract == "raw-window" and about.card == card["card_sha256"]
    # Of clips, not of clips and seeds: the final models are averaged too.
    assert model.calibration.logits.shape == (48, 4)
    told = json.loads(
        (folder / "run/model/weights/everyone-seed0" / SYSTEM).read_text()
    )
    assert told["system"]["name"] == "mer_clip"
    assert "48 clips" in (folder / "run/model/README.md").read_text()
    answerer = Answerer(model)
    assert answerer.aus and answerer.nothing == 0 and answerer.sets is not None


def test_its_calibration_is_of_models_that_did_not_know_the_clips(run):
    """Members' own outputs, not those of the final models."""
    folder, _ = run
    model = final.load(folder / "run")
    everyone = np.load(folder / "run/final/members/everyone-seed0.npz")["logits"]
    assert not np.allclose(np.sort(everyone, 0), np.sort(model.calibration.logits, 0))


def test_no_score_changes_by_it_and_a_copy_of_the_folder_is_enough(run, tmp_path):
    folder, card = run
    plain = experiment.run(
        config(folder / "data", **{"protocol.final_fit": False}), tmp_path / "plain"
    )
    assert plain["scores"] == card["scores"]
    copy = shutil.copytree(folder / "run" / "model", tmp_path / "elsewhere")
    assert final.load(copy).about == final.load(folder / "run").about


def test_the_same_command_again_trains_nothing(run):
    folder, card = run
    before = (folder / "run/final/members/everyone-seed1.npz").stat().st_mtime_ns
    again = experiment.run(config(folder / "data"), folder / "run")
    assert again["card_sha256"] == card["card_sha256"]
    after = (folder / "run/final/members/everyone-seed1.npz").stat().st_mtime_ns
    assert before == after


def test_its_weights_know_that_they_have_seen_everyone(run):
    folder, _ = run
    text = (folder / "run/model/weights/everyone-seed0" / SYSTEM).read_text()
    assert all(f"synthetic/s0{i}" in text for i in range(3))


@pytest.mark.parametrize(
    "name", [pytest.param("fdp_released", marks=pytest.mark.long), "micro_au_clip"]
)
def test_the_sisters_have_final_models_too(name, mini_data, tmp_path):
    values = {"protocol.final_fit": True}
    card = experiment.run(three.config(name, mini_data, values), tmp_path / "run")
    model = final.load(tmp_path / "run")
    answerer = Answerer(model)
    assert model.about.title == card["title"] and answerer.classes
    if name == "micro_au_clip":
        assert model.about.classes == () and model.calibration is None
        assert set(answerer.calibrated) <= set(answerer.aus) and answerer.aus
    else:
        assert model.calibration.logits.shape == (24, 3) and answerer.aus == ()


@pytest.mark.long
def test_a_finished_run_may_have_its_final_model_later(run, tmp_path):
    """No score depends on it, so nothing else is trained again."""
    folder, card = run
    path, later = tmp_path / "run", {"protocol.seeds": (0,)}
    experiment.run(
        config(folder / "data", **later, **{"protocol.final_fit": False}), path
    )
    kept = {p: p.stat().st_mtime_ns for p in (path / "members").iterdir()}
    again = experiment.run(config(folder / "data", **later), path)
    assert {p: p.stat().st_mtime_ns for p in (path / "members").iterdir()} == kept
    assert final.load(path).about.card == again["card_sha256"]
