"""What `examples/` shows runs, is short, and ends with a score."""

import runpy

import pytest

from tests import mini

NAMES = ("train_one_fold", "add_a_dataset", "add_a_system", "explain_a_clip")
NAMES += ("predict_a_video",)


def path(name):
    return mini.ROOT / "examples" / f"{name}.py"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short(name):
    assert len(path(name).read_text().splitlines()) < 100


def test_all_are_tried():
    assert {p.stem for p in (mini.ROOT / "examples").glob("*.py")} == {*NAMES}


@pytest.mark.whole
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, tmp_path, monkeypatch, capsys):
    # An example may register a dataset, which no other test should see.
    monkeypatch.setattr("data_builders.datasets.BUILDERS", {**builders()})
    given = [f"--data_dir={tmp_path / 'data'}"]
    drawn = name in ("train_one_fold", "explain_a_clip")
    if drawn:
        given += [f"--picture={tmp_path / 'shown.png'}", "--epochs=1"]
    if name != "train_one_fold":
        given += [f"--workdir={tmp_path / 'run'}"]
    if name == "predict_a_video":
        given += ["--dataset=synthetic/windows_mini", "--epochs=1"]
        given += [f"--out={tmp_path / 'run' / 'found'}"]
    runpy.run_path(str(path(name)))["main"](given)
    assert "UF1" in capsys.readouterr().out
    shown = tmp_path / ("shown.png" if drawn else "run/report.html")
    assert shown.stat().st_size > 1000


def builders():
    from data_builders.datasets import BUILDERS

    return BUILDERS
