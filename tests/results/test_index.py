"""A page over many runs: every one is there, or it is said why not."""

import re

import pytest

from merclip_jax import report as command
from merclip_jax.results import card, index
from tests.results.test_report import _card, _Page, _predictions


@pytest.fixture
def runs(tmp_path):
    """Two runs of a task, one of another, and a folder that holds none."""
    predictions = _predictions()
    for name, changes in (
        ("good", {}),
        ("deep/other", {"recipe": "released"}),
        ("samm", {"task": "samm_3class"}),
    ):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "card.json").write_bytes(card.to_json(_card(predictions, **changes)))
        (folder / "report.html").write_text("")
    return tmp_path / "runs"


def test_all_runs_stand_by_their_tasks(runs, capsys):
    out = runs / "index.html"
    assert command.main([str(runs), f"--out={out}", "--title=All of them"]) == 0
    assert "3 runs" in capsys.readouterr().out
    page = out.read_text()
    parsed = _Page(page)
    text = " ".join(parsed.text)
    assert parsed.tags.count("table") == 2 and "All of them" in text
    for part in ("samm_3class", "synthetic-3class", "released", "guessing", "0.06"):
        assert part in text
    links = [x for x in parsed.loads if x.endswith(".html")]
    assert sorted(links) == [
        "deep/other/report.html",
        "good/report.html",
        "samm/report.html",
    ]
    for link in links:
        assert (runs / link).exists()
    assert "http" not in page and parsed.tags.count("script") == 1


def test_a_run_that_cannot_be_read_is_named(runs):
    path = runs / "good" / "card.json"
    path.write_text(path.read_text().replace("last", "inner"))
    page = index.render_index(
        index.find_runs([runs]), out=runs / "index.html", title="Runs"
    )
    text = " ".join(_Page(page).text)
    assert "Not shown" in text and "changed since it was written" in text


def test_hostile_names_are_escaped(runs):
    evil = '<img src=x onerror="alert(1)">#?%'
    folder = runs / evil
    (runs / "good").rename(folder)
    told = _card(_predictions(), title=evil, recipe=evil, task=evil)
    (folder / "card.json").write_bytes(card.to_json(told))
    page = index.render_index(
        index.find_runs([runs]), out=runs / "index.html", title=evil
    )
    parsed = _Page(page)
    assert "img" not in parsed.tags
    (link,) = [x for x in parsed.loads if "alert" in x]
    assert re.fullmatch(r"[\w/%.()=-]+", link)


def test_nothing_to_show_is_an_error(tmp_path, capsys):
    assert command.main([str(tmp_path), f"--out={tmp_path / 'x.html'}"]) == 1
    assert "no card.json in or below" in capsys.readouterr().err
