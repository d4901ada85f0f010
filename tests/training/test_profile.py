"""`train.profile` writes one trace, of the asked steps of the first group."""

import pytest

from merclip_jax import build, experiment
from merclip_jax.errors import UserError
from merclip_jax.training.profile import Profile
from merclip_jax.training.workdir import Workdir
from tests import mini

# Runs of one shape share their compiled programs.
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.whole
def test_a_run_leaves_a_trace_and_the_same_bits(mini_data, cache, tmp_path):
    changes = {"train.epochs": 2, "train.profile": (2, 3)}
    config = mini.config(mini_data, changes)
    card = experiment.run(config, tmp_path / "a")
    assert list((tmp_path / "a" / "profile").rglob("*.xplane.pb"))
    config.train.profile = ()
    plain = experiment.run(config, tmp_path / "b")
    assert not (tmp_path / "b" / "profile").exists()
    assert card["predictions_sha256"] == plain["predictions_sha256"]
    # No number depends on it, so the same run may be traced when it goes on.
    config.train.profile = (0, 1)
    assert experiment.run(config, tmp_path / "b")["title"] == plain["title"]


@pytest.mark.parametrize("steps", [(3,), (5, 2), (1, 2, 3)])
def test_impossible_steps_are_named(mini_data, steps):
    config = mini.config(mini_data, {"train.profile": steps})
    with pytest.raises(UserError, match=r"config\.train\.profile=.*first, last"):
        build.clips(config)


def test_other_processes_trace_nothing(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path)
    monkeypatch.setattr(workdir, "writes", False)
    profile = Profile((0, 1), workdir)
    profile.start(0, 1)
    profile.stop(1, {})
    assert not list(tmp_path.iterdir())
