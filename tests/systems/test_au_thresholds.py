"""Thresholds come from inner subjects alone, and lie in the member's file."""

import dataclasses

import numpy as np
import pytest

from configs import micro_au_clip
from merclip_jax import build, experiment
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.errors import UserError
from merclip_jax.results.card import find_row
from merclip_jax.scoring import au_metrics
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.systems import tiny_au

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.whole,
    pytest.mark.xdist_group("test_au_thresholds"),
]
PROTOCOL = {
    "name": "holdout",
    "test_subjects": ("synthetic/s00",),
    "selection": "inner",
    "inner_subjects": 1,
}


@pytest.fixture(scope="module")
def clips(mini_data):
    classes = mini.config(mini_data).data.classes
    options = DataOptions(
        dataset=mini.DATASET, data_dir=str(mini_data), classes=classes
    )
    return load_clips(options, tiny_au.VIEW)


def job(clips):
    return tiny_au.job(
        clips,
        epochs=2,
        made=tiny_au.system(threshold="inner"),
        options=TrainOptions(batch_size=8, scan_steps=1, stack=1),
        **PROTOCOL,
    )


def run(clips, path):
    """The card, and the arrays of the only member's file."""
    card = experiment.train_and_score(job(clips), Workdir(path), command="tests")
    (file,) = (path / "members").glob("*.npz")
    with np.load(file) as arrays:
        return card, {n: arrays[n] for n in arrays.files if n not in ("seal", "clip")}


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    path = tmp_path_factory.mktemp("thresholds") / "run"
    return path, *run(clips, path)


def poisoned(clips, index):
    """Those clips show what they did not show."""
    cells = clips.au_cell.astype(object)
    for i in index:
        cells[i] = "12" if cells[i] != "12" else "1+2"
    return dataclasses.replace(clips, au_cell=cells.astype(str))


def test_no_test_clip_has_a_part_in_them(clips, whole, tmp_path):
    """Whatever the test subject shows, every number of the member stays; not so what
    the inner subject shows."""
    _, card, arrays = whole
    (member,) = mini.members_of(job(clips))
    other, same = run(poisoned(clips, member.fold.test), tmp_path / "test")
    assert set(same) == set(arrays) and "best/thresholds" in arrays
    for name, values in arrays.items():
        np.testing.assert_array_equal(same[name], values, err_msg=name)
    assert find_row(other, "f1") != find_row(card, "f1")
    _, moved = run(poisoned(clips, member.fold.inner), tmp_path / "inner")
    np.testing.assert_array_equal(moved["aus"], arrays["aus"])
    assert not np.array_equal(moved["thresholds"], arrays["thresholds"])


def test_the_card_is_of_the_thresholds_in_the_file(clips, whole):
    """A second call reads them, trains nothing and says the same."""
    path, card, arrays = whole
    (member,) = mini.members_of(job(clips))
    shown = tiny_au.system().columns(clips)["aus"][member.fold.test]
    assert arrays["best/thresholds"].shape == shown.shape
    assert (arrays["best/thresholds"] == arrays["best/thresholds"][:1]).all()
    said = arrays["best/aus"] > arrays["best/thresholds"]
    expected = au_metrics.f1(au_metrics.counts(shown, said)).mean()
    assert find_row(card, "f1")["mean"] == pytest.approx(expected)
    assert any("each fold's inner subjects" in note for note in card["notes"])
    again, _ = run(clips, path)
    assert again["card_sha256"] == card["card_sha256"]


def test_they_need_inner_subjects():
    config = micro_au_clip.on("synthetic/apart")
    config.score.threshold = "inner"
    with pytest.raises(UserError, match="it goes with config.protocol.selection='inn"):
        build.check(config)
    config.protocol.selection = "inner"
    config.protocol.inner_subjects = 1
    build.check(config)
    config.score.threshold = "best"
    with pytest.raises(UserError, match=r"expected one of \['half', 'inner'\]"):
        build.check(config)
