"""CASME II as its owners ship it, in miniature: tree and table to a result card."""

from configs import casme2_3class
from data_builders.build import build
from merclip_jax import experiment
from merclip_jax.models import mer_clip
from merclip_jax.results import read_card
from tests import mini
from tests.fixtures.casme2 import write_casme2


def test_the_casme2_config_runs_through_loso_to_a_card(tmp_path):
    write_casme2(tmp_path / "owners", subjects=3, clips_per_subject=8)
    build("casme2/cropped", manual_dir=tmp_path / "owners", data_dir=tmp_path / "data")
    config = casme2_3class.get_config()
    assert mini.NANO in mer_clip.SIZES.values()
    config.update_from_flattened_dict(
        {
            "data.data_dir": str(tmp_path / "data"),
            "data.frames": 8,
            "data.image_size": 32,
            "model.size": "nano",
            "train.epochs": 1,
            "train.batch_size": 8,
            "train.scan_steps": 2,
        }
    )
    card = experiment.run(config, tmp_path / "run")
    assert read_card(tmp_path / "run" / "card.json") == card
    assert card["task"]["dataset"] == "casme2/cropped"
    assert card["task"]["classes"] == ["negative", "positive", "surprise"]
    assert card["protocol"]["folds"] == card["task"]["subjects"] == 3
    assert card["task"]["dropped"] == ["others"]
    assert 0 <= card["scores"]["uf1"]["mean"] <= 1
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
