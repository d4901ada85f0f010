"""The controls, at tiny size: order carries the class, and nothing else does.

A linear probe on matched-filtered pixels stands in for the model, which the command
`python -m benchmarks.controls` trains.
"""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks import controls
from data_builders import build
from data_builders.synthetic.clip import make_all
from data_builders.synthetic.config import GROUPS, TINY
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.scoring import chance, metrics

CLASSES = tuple(
    (name, emotions)
    for name, emotions in (
        ("negative", ("anger", "contempt", "disgust", "fear", "sadness")),
        ("positive", ("happiness",)),
        ("surprise", ("surprise",)),
    )
)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    build.build("synthetic/mini", data_dir=data)
    options = DataOptions(dataset="synthetic/mini", data_dir=str(data), classes=CLASSES)
    clips = load_clips(options, View(frames=8, image_size=32))
    return data, clips


def test_controls_take_away_what_they_say(mini):
    _, clips = mini
    onset = controls.controlled(clips, "onset")
    assert (onset.decode(3) == clips.decode(3)[:1]).all()
    shuffled = controls.controlled(clips, "shuffled")
    assert (np.sort(shuffled.positions, 1) == clips.positions).all()
    assert (shuffled.positions != clips.positions).any(1).all()
    permuted = controls.controlled(clips, "permuted")
    assert (np.bincount(permuted.label) == np.bincount(clips.label)).all()
    assert (permuted.label != clips.label).any()
    with pytest.raises(ValueError, match="none, onset, shuffled or permuted"):
        controls.controlled(clips, "reversed")


def test_oracle_is_near_the_ceiling(mini):
    data, clips = mini
    scores = controls.oracle_scores("synthetic/mini", str(data), 3)
    assert scores.support.sum() == len(clips)
    ceiling = clips.metadata["tasks"]["3"]["ceiling"]["ACC"]
    assert scores.acc > ceiling - 2 * np.sqrt(ceiling * (1 - ceiling) / len(clips))


@pytest.fixture(scope="module")
def tiny():
    data = make_all(dataclasses.replace(TINY, clips=600))
    label = np.asarray([GROUPS.index(group) for group in data["group"]])
    return data["frames"].astype(np.float32).mean(-1), label, data["subject"]


def probe(frames, label, subject):
    """LOSO scores of a linear reader of which regions move up and down slowly."""
    t = frames.shape[1]
    bump = np.sin(np.pi * np.arange(1, t - 1) / (t - 1))
    match = (bump - bump.mean()) / np.square(bump - bump.mean()).sum()
    change = np.einsum("t,nthw->nhw", match, frames[:, 1:-1])
    n, h, w = change.shape
    features = change.reshape(n, h // 2, 2, w // 2, 2).mean((2, 4)).reshape(n, -1)
    features /= max(features.std(), 1e-6)
    answers = np.zeros_like(label)
    for left_out in np.unique(subject):
        test = subject == left_out
        model = LogisticRegression(C=0.01, max_iter=500)
        model.fit(features[~test], label[~test])
        answers[test] = model.predict(features[test])
    return metrics.scores(metrics.confusion_matrix(label, answers, classes=3)).uf1


def test_only_ordered_frames_score_above_chance(tiny):
    frames, label, subject = tiny
    guess = chance.guess_by_prior(label, classes=3)
    rng = np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(16), (len(label), 1)), axis=1)
    shuffled = np.take_along_axis(frames, order[..., None, None], 1)
    onset = np.repeat(frames[:, :1], 16, 1)
    assert probe(frames, label, subject) > guess.high + 0.15
    assert probe(shuffled, label, subject) < guess.high
    assert probe(onset, label, subject) < guess.high
    assert probe(frames, rng.permutation(label), subject) < guess.high
