"""A finished run is opened again and explained by models that never saw its subject."""

import shutil

import numpy as np
import pytest

from merclip_jax import experiment, explain
from merclip_jax.errors import UserError
from merclip_jax.explaining import heat
from merclip_jax.explaining.finished import open_run
from tests import mini
from tests.results.test_report import _Page
from tests.systems import three

pytestmark = [pytest.mark.usefixtures("cache"), pytest.mark.whole]


@pytest.fixture(scope="module")
def finished(mini_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("explain") / "run"
    changes = {"train.keep_weights": True, "train.epochs": 2}
    experiment.run(mini.config(mini_data, changes), path)
    return path


def test_a_run_is_explained(finished, capsys):
    before = heat.attributions._cache_size()
    assert explain.main([str(finished)]) == 0
    # One program for classes and one for AUs, however many clips and members.
    assert heat.attributions._cache_size() - before == 2
    assert "explained.html" in capsys.readouterr().out
    page = (finished / "explained.html").read_text()
    text = " ".join(_Page(page).text)
    for part in (
        "What speaks for",
        "What speaks for AU",
        "Where the model looked",
        "before the head",
        "after the head",
        "Calibration",
        "AUs by their sentences",
    ):
        assert part in text, part
    assert list((finished / "explained").glob("*.npz"))


def test_a_clip_and_an_au_are_asked_for(finished, tmp_path, capsys):
    run = open_run(finished)
    member = run.members[1]
    clip = str(run.plan.store.clips.clip[member.fold.test[0]])
    out = tmp_path / "one.html"
    given = [str(finished), f"--clip={clip}", "--au=12", f"--out={out}"]
    assert explain.main(given) == 0
    (kept,) = (tmp_path / "explained").glob("*.npz")
    with np.load(kept) as data:
        assert "What speaks for AU12" in data.files
        assert data["What speaks for AU12"].shape == data["frames"].shape[:3]
    # By the member that was not trained on its subject.
    assert run.member_of(clip)[0] == member
    capsys.readouterr()
    for wrong, told in (
        (["--clip=nobody/s99/1"], "no test clip of"),
        (["--au=99"], "AU99: expected one of"),
        (["--data_dir=/nowhere"], "not built"),
    ):
        assert explain.main([str(finished), *wrong]) == 1
        assert told in capsys.readouterr().err


def test_what_cannot_be_explained_says_why(finished, tmp_path, mini_data):
    with pytest.raises(UserError, match="expected a finished run"):
        open_run(tmp_path)
    bare = shutil.copytree(finished, tmp_path / "bare")
    shutil.rmtree(bare / "weights")
    with pytest.raises(UserError, match="kept no weights; add --config.train.keep"):
        open_run(bare)
    other = shutil.copytree(finished, tmp_path / "other")
    first, second = sorted((other / "members").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match="tested other clips than are here"):
        open_run(other)


@pytest.mark.parametrize(
    "name",
    [pytest.param("fdp_released", marks=pytest.mark.long), "micro_au_clip"],
)
def test_the_sisters_are_explained_too(name, mini_data, tmp_path):
    path = tmp_path / "run"
    config = three.config(name, mini_data, {"train.keep_weights": True})
    experiment.run(config, path)
    assert explain.main([str(path)]) == 0
    page = (path / "explained.html").read_text()
    assert "What speaks for" in page and "Clips as the model holds them" in page
