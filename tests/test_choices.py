"""Every choice that a config offers trains to a card; the released ones together."""

import dataclasses

import numpy as np
import pytest

from configs import common
from merclip_jax import build, experiment
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.results.card import find_row
from merclip_jax.training import loop
from merclip_jax.training.stack import Stack
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.training.test_loop import assert_same_files, files_of

# Runs of one shape share their compiled programs.
pytestmark = pytest.mark.usefixtures("cache")

# Together they hold every choice that no other run of the tests makes.
CHOICES = {
    "factorized": {
        "model.video": "factorized_vit",
        "model.temporal_layers": 1,
        "loss.contrastive": "soft_au",
        "loss.progression": "gaussian",
        "text.words": "facs",
        "text.order": "shuffled",
        "text.templates": 10,
    },
    "kinetics": {
        "model.structure": "kinetics",
        "data.balanced": True,
        "data.sampling": "uniform",
        "model.head_blocks": 0,
        "model.learn_temperature": True,
        "loss.contrastive": "sigmoid",
        "text.supervision": "emotion",
        "loss.label_smoothing": 0.1,
        "loss.class_balance": 0.99,
    },
}


def one_round(data, changes):
    return mini.config(data, {"train.epochs": 1} | changes)


def train(config, path, **changes):
    """One stack of two members; their files."""
    clips = build.clips(config)
    plan = experiment.plan_of(build.job(config, clips))
    plan = dataclasses.replace(plan, **changes)
    members = mini.members(config, clips)[:2]
    loop.train_members(Stack(plan, members, 2), members, Workdir(path))
    return files_of(path)


@pytest.mark.whole
@pytest.mark.xdist_group("choices")
@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_runs_to_a_card(mini_data, tmp_path, choice):
    config = one_round(mini_data, CHOICES[choice])
    clips = build.clips(config)
    card = experiment.run_on(clips, config, tmp_path)
    assert np.isfinite(find_row(card, "uf1")["mean"])
    assert (tmp_path / "report.html").exists()


@pytest.mark.whole
@pytest.mark.xdist_group("choices")
def test_the_released_recipe_runs(mini_data, tmp_path):
    """AugMix on every clip, statistics over groups, learnable temperature."""
    changes = dict(common.RECIPES["released"]) | {"model.bn_group_size": 4}
    config = one_round(mini_data, changes)
    found = train(config, tmp_path)
    assert np.isfinite(found["s00-seed0"]["logits"]).all()


@pytest.mark.whole
@pytest.mark.long
@pytest.mark.xdist_group("choices")
def test_drawn_frames_are_the_same_from_device_and_host(
    mini_data, tmp_path, cache, exact_emitters
):
    """Uniform sampling draws by seed and step, wherever the clips live."""
    config = one_round(mini_data, {"data.sampling": "uniform"})
    clips = build.clips(config)
    assert clips.view.drawn
    device = train(config, tmp_path / "device")
    host = train(config, tmp_path / "host", store=ClipStore(clips, residency="host"))
    assert_same_files(host, device)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.video": "vivit"},
            r"config.model.video='vivit': expected one of \['uniformer_v2', 'fac",
        ),
        (
            {"model.structure": "k400"},
            r"config.model.structure='k400': expected one of \['ssv2', 'kinetics'",
        ),
        ({"model.size": "b32"}, r"config.model.size='b32': expected one of \['tiny'"),
        ({"text.supervision": "au+emotion"}, r"config.text.supervision='au\+emotion'"),
        ({"text.order": "random"}, "config.text.order='random': expected one of"),
        ({"text.templates": 11}, "config.text.templates=11: .* from 1 to 10"),
        ({"data.resize": 16}, "config.data.resize=16: cannot crop 32 pixels"),
        ({"data.sampling": "all"}, "config.data.sampling='all': expected one of"),
        (
            {"loss.contrastive": "soft"},
            "config.loss.contrastive='soft': expected one of",
        ),
        ({"loss.progression": "cosine"}, "config.loss.progression='cosine': expected"),
        ({"model.attention": "flash"}, "config.model.attention='flash': expected"),
        ({"augment.flip": 1.5}, "config.augment.flip=1.5: .* from 0 to 1"),
        (
            {"loss.contrastive": "soft_sides", "model.learn_temperature": True},
            "config.loss.contrastive='soft_sides' has a fixed temperature",
        ),
        ({"loss.label_smoothing": 1.0}, "config.loss.label_smoothing=1.0: expected"),
        ({"model.bn_group_size": 3}, "config.model.bn_group_size=3 .* batch.* 8"),
    ],
)
def test_choices_that_do_not_exist_are_named(mini_data, tmp_path, changes, message):
    config = mini.config(mini_data, changes)
    with pytest.raises(UserError, match=message):
        experiment.run(config, tmp_path)
    assert not list(tmp_path.glob("members/*"))
