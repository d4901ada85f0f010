"""Others' numbers: each with its caveat, and the page that shows them is up to date."""

import pytest

from benchmarks import field, tables
from data_builders.tasks import TASKS
from merclip_jax.scoring import published
from tests import mini


def test_every_row_says_how_far_to_trust_it():
    for row in published.field():
        assert row.selection in published.SELECTIONS, row
        assert row.source and row.given and row.pretraining and row.code, row
        values = [value for value in row.scores.values() if value is not None]
        assert values and all(0 < value < 1 for value in values), row
        assert row.task in field.TITLES, row
        name = row.task.removesuffix("_a").removesuffix("_b")
        assert name in TASKS or name == "cd6me", row


def test_a_task_has_its_rows_and_its_parts():
    both = published.table("dfme_7class")
    names = [row["name"] for row in both.rows]
    assert "MER-CLIP (A)" in names and "MER-CLIP (B)" in names
    assert both.columns[:3] == ("uf1", "uar", "acc")
    (row,) = published.on("casme3_7class")
    assert row.scores["uf1"] == 0.4997 and row.selection == "test subject"
    assert published.table("synthetic_3class") is None


def test_the_page_is_what_the_command_writes():
    shown = (mini.ROOT / "docs" / "field.md").read_text()
    assert shown == field.page(), "python -m benchmarks.field > docs/field.md"
    for row in published.field():
        assert row.method in shown and row.source in shown


def test_hours_of_the_tables_are_what_the_command_prints():
    page = (mini.ROOT / "docs" / "reproducing.md").read_text()
    assert tables.rows(192.0) in page, "python -m benchmarks.tables"
    assert tables.learned(TASKS["dfme_7class"]) == 55 * 1856
    assert 4.3e6 < tables.learned(TASKS["casme3_7class"]) < 4.5e6


def test_fold_sizes_are_those_of_the_challenge():
    assert {name: sum(sizes) for name, sizes in field.MEGC2019.items()} == {
        "smic": 164,
        "casme2": 145,
        "samm": 133,
    }
    assert sum(map(len, field.MEGC2019.values())) == 68
    for task, sizes in field.SIZES.items():
        (clips,) = TASKS[task].clips.values()
        (subjects,) = TASKS[task].subjects.values()
        assert (sum(sizes), len(sizes)) == (clips, subjects), task
    assert field.folds_of("dfme_7class_a") is None
    assert sum(map(len, field.folds_of("casme3_7class"))) == 860


@pytest.mark.parametrize("task", ["casme2_3class", "megc2019_3class"])
def test_guessing_is_said_of_each(task):
    assert "Guessing: UF1 **0.33**" in field.chance(task)
