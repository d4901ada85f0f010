"""Every dataset as its owners ship it, in miniature: from tree to result card."""

import importlib

import pytest

from data_builders.build import build
from data_builders.tasks import TASKS
from merclip_jax import experiment
from merclip_jax.build import clips as build_clips
from merclip_jax.results.card import find_row, read_card
from merclip_jax.results.verify import verify
from tests import mini
from tests.fixtures.casme2 import write_casme2
from tests.fixtures.casme3 import write_casme3
from tests.fixtures.casme_sq import write_casme_sq
from tests.fixtures.dfme import write_dfme
from tests.fixtures.fourdme import write_fourdme
from tests.fixtures.mmew import write_mmew
from tests.fixtures.samm import write_samm
from tests.fixtures.smic import write_smic

CASES = {
    "casme2_3class": ("casme2/cropped", write_casme2),
    "samm_5class": ("samm/raw", write_samm),
    "casme3_7class": ("casme3/clips", write_casme3),
    "dfme_7class": ("dfme/ccac", write_dfme),
    "smic_3class": ("smic/cropped", write_smic),
    "casme_sq_4class": ("casme_sq/cropped", write_casme_sq),
    "mmew_7class": ("mmew/cropped", write_mmew),
    "fourdme_5class": ("fourdme/crop", write_fourdme),
}
assert mini.NANO  # the size "nano" is known

# Runs of one shape share their compiled programs.
pytestmark = pytest.mark.usefixtures("cache")


def small(name, data_dir):
    """A config's task, on a small model and for one epoch."""
    config = importlib.import_module(f"configs.{name}").get_config()
    config.update_from_flattened_dict(
        {
            "data.data_dir": str(data_dir),
            "data.frames": 8,
            "data.image_size": 32,
            "data.resize": 0,
            "model.size": "nano",
            "train.epochs": 1,
            "train.batch_size": 8,
            "train.scan_steps": 2,
        }
    )
    return config


@pytest.mark.parametrize("name", list(CASES))
def test_one_epoch_of_the_matching_config(tmp_path, name):
    dataset, write = CASES[name]
    write(tmp_path / "owners")
    build(dataset, manual_dir=tmp_path / "owners", data_dir=tmp_path / "data")
    config = small(name, tmp_path / "data")
    card = experiment.run(config, tmp_path / "run")
    assert read_card(tmp_path / "run" / "card.json") == card
    assert card["task"]["dataset"] in (dataset, dataset.split("/")[0])
    assert card["task"]["classes"] == [c for c, _ in TASKS[name].classes]
    assert 0 <= find_row(card, "uf1")["mean"] <= 1
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000


def test_megc2019_scores_three_datasets_together_and_apart(tmp_path):
    """Subjects of all three are left out one at a time; what is one's own stays so."""
    for name in ("casme2_3class", "samm_5class", "smic_3class"):
        dataset, write = CASES[name]
        write(tmp_path / dataset)
        build(dataset, manual_dir=tmp_path / dataset, data_dir=tmp_path / "data")
    config = small("megc2019_3class", tmp_path / "data")
    clips = build_clips(config)
    of = {}
    for clip, emotion, label in zip(
        clips.clip, clips.emotion, clips.label, strict=True
    ):
        of.setdefault(clip.partition("/")[0], set()).add((emotion, int(label)))
    assert set(of) == {"casme2", "samm", "smic"}
    assert not {e for e, _ in of["casme2"]} & {"fear", "sadness", "others"}
    assert of["smic"] == {("negative", 0), ("positive", 1), ("surprise", 2)}
    for emotion, label in of["samm"]:
        wanted = {"happiness": 1, "surprise": 2}.get(emotion, 0)
        assert label == wanted and emotion != "others"
    card = experiment.run(config, tmp_path / "run")
    assert card["protocol"]["folds"] == len(set(clips.subject.tolist()))
    (table,) = [b for b in card["scores"] if b["title"] == "Dataset by dataset"]
    assert [row["name"] for row in table["rows"]] == ["casme2", "samm", "smic"]
    assert sum(row["clips"] for row in table["rows"]) == len(clips)
    assert "uf1" in table["columns"] and "uar" in table["columns"]
    assert verify(tmp_path / "run" / "card.json") == []
