"""No protocol and no selection ever reads a test subject: what is changed there moves
no bit of a training, of the epoch that is chosen, or of what is answered."""

import dataclasses

import numpy as np
import pytest

from merclip_jax import build, experiment
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.several import merge
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.data.test_several import renamed
from tests.systems import three, tiny
from tests.training.test_loop import assert_same_files, files_of

pytestmark = pytest.mark.usefixtures("cache")
PROTOCOLS = {
    "loso": {},
    "kfold": {"folds": 3},
    "holdout": {"test_subjects": ("synthetic/s01",)},
    "cross_dataset": {},
    "one_dataset": {"name": "cross_dataset", "test_datasets": ("other",)},
}
# The selection that asks most: with "last" nothing is chosen.
INNER = {"selection": "inner", "inner_subjects": 1}


@pytest.fixture(scope="module")
def clips(mini_data):
    classes = mini.config(mini_data).data.classes
    options = DataOptions(
        dataset=mini.DATASET, data_dir=str(mini_data), classes=classes
    )
    return load_clips(options, tiny.Tiny().view)


def poisoned(clips, test):
    """Other labels, emotions and AUs of the clips `test`."""
    rest = np.setdiff1d(np.arange(len(clips)), test)
    changed = {}
    for name in ("label", "emotion", "au_cell"):
        column = getattr(clips, name).copy()
        column[test] = column[np.resize(rest[::-1], len(test))]
        changed[name] = column
    changed["label"][test] = (clips.label[test] + 1) % 3
    return dataclasses.replace(clips, **changed)


def trained(job, path, count=1):
    """The files of the first members, whose folds are named."""
    experiment.train_and_score(job, Workdir(path))
    names = [m.name for m in experiment.members_of(job)][:count]
    found = files_of(path)
    return {name: found[name] for name in names}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_annotated_of_a_test_subject_changes_no_bit(clips, name, tmp_path):
    if "dataset" in name:
        clips = merge([clips, renamed(clips, "other")])
    given = {"name": name} | PROTOCOLS[name] | INNER
    job = tiny.job(clips, steps=10, **given)
    (member, *_) = experiment.members_of(job)
    other = poisoned(clips, member.fold.test)
    found = [
        trained(tiny.job(own, steps=10, **given), tmp_path / str(i))
        for i, own in enumerate((clips, other))
    ]
    assert_same_files(*found)


@pytest.mark.whole
@pytest.mark.parametrize("system", ["mer_clip", "fdp", "micro_au_clip"])
def test_so_it_is_with_every_system(system, mini_data, tmp_path):
    """The epoch is chosen on inner subjects; labels of the test subject are others."""
    config = three.config(system, mini_data)
    clips = build.clips(config)
    config.protocol.name = "holdout"
    for key, value in (PROTOCOLS["holdout"] | INNER).items():
        config.protocol[key] = value
    job = build.job(config, clips)
    assert isinstance(job.protocol, ProtocolOptions)
    (member, *_) = experiment.members_of(job)
    other = poisoned(clips, member.fold.test)
    found = [
        trained(build.job(config, own), tmp_path / str(i))
        for i, own in enumerate((clips, other))
    ]
    assert_same_files(*found)
