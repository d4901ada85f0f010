"""The ablation's rows differ from the full model in what they say, and run."""

import pytest

from benchmarks import ablation
from configs import common
from merclip_jax import build, experiment
from merclip_jax.job import flatten
from merclip_jax.results.card import find_row
from tests import mini

# Runs of one shape share their compiled programs.
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("row", ablation.ROWS)
def test_rows_change_what_they_name(mini_data, row):
    config = mini.config(mini_data)
    full = flatten(ablation.ablated(config, "none", subjects=["a"], seeds=5))
    made = flatten(ablation.ablated(config, row, subjects=["a"], seeds=5))
    changed = {k for k in full if made[k] != full[k]} - {"name", "ablation"}
    # A row may also name a value that the config has already.
    assert changed <= set(common.ABLATIONS[row])
    assert bool(changed) == (row != "none")
    assert made["protocol.seeds"] == [0, 1, 2, 3, 4] and made["train.stack"] == 5
    assert config.protocol.name == "loso"  # the caller's is untouched


def test_unknown_rows_are_named(mini_data):
    with pytest.raises(ValueError, match="'no_text': expected one of"):
        ablation.ablated(mini.config(mini_data), "no_text", subjects=[], seeds=1)


@pytest.mark.whole
def test_a_row_runs_to_scores_of_every_seed(mini_data, tmp_path):
    config = mini.config(mini_data, {"train.epochs": 1})
    clips = build.clips(config)
    subjects = ablation.held_out(clips, 1)
    made = ablation.ablated(config, "no_head", subjects=subjects, seeds=2)
    card = experiment.run_on(clips, made, tmp_path)
    assert len(find_row(card, "uf1")["per_seed"]) == 2
