"""The class-map table, counted: differences, and the clips that account for them."""

import dataclasses

import pytest

from configs import casme3_4class, common
from data_builders import tasks
from data_builders.readers.findings import Finding
from data_builders.readers.release import Clip, Release
from data_builders.records import counts
from tests.data_builders.test_casme2 import full_table, published


def release(tmp_path, version, **changes):
    rows, _ = full_table(tmp_path / "t.xlsx", version, published(version))
    rows = [dataclasses.replace(row, **changes.get(row.clip, {})) for row in rows]
    clips = tuple(Clip(row, {}) for row in rows)
    return Release("casme2", "tree", "t.xlsx", version, tuple(rows), clips)


def test_a_whole_release_counts_what_is_published(tmp_path):
    for name, task in counts.report(release(tmp_path, "20190701"), "cropped").items():
        assert task["equal"] and task["accounted"] and not task["explained"], name
        assert len(task["checksum"]) == 64
        assert "as published" in counts.table({name: task})[1]


def test_the_older_table_is_accounted_for_clip_by_clip(tmp_path):
    found = counts.report(release(tmp_path, "20140508"), "cropped")
    task = found["casme2_3class"]
    assert not task["equal"] and task["accounted"]
    line = "clips: negative 99 instead of 96, surprise 25 instead of 28"
    assert task["differences"] == [line]
    assert task["explained"] == [
        f"sub24/{clip}: sadness here, surprise in that of 2019"
        for clip in ("EP07_01", "EP07_04f", "EP10_03")
    ]
    assert found["casme2_3class_megc2019"]["equal"]
    five = found["casme2_5class"]
    assert five["accounted"] and len(five["explained"]) == 3
    shown = counts.table({"casme2_5class": five})
    assert "246/249" in shown[1] and "surprise 25/28" in shown[1]
    assert "accounted for" in shown[1] and "sub24/EP07_01" in shown[2]


def test_clips_that_cannot_be_built_account_for_themselves(tmp_path):
    whole = release(tmp_path, "20190701")
    lost = next(clip for clip in whole.clips if clip.row.emotion == "happiness")
    finding = Finding("image", "t.xlsx, row 9", "unreadable", lost.row.clip)
    found = counts.report(whole.without([finding]), "cropped")
    task = found["casme2_5class"]
    assert task["accounted"] and not task["equal"]
    line = "clips: clips 248 instead of 249, happiness 31 instead of 32"
    assert task["differences"] == [line]
    reason = f"{lost.row.clip} (happiness): unreadable picture"
    assert task["explained"] == [reason]


def test_what_nothing_accounts_for_is_said(tmp_path):
    rows = release(tmp_path, "20190701")
    first = next(row for row in rows.rows if row.emotion == "disgust")
    found = counts.report(
        release(tmp_path, "20190701", **{first.clip: {"emotion": "happiness"}}),
        "cropped",
    )
    assert not found["casme2_5class"]["accounted"]
    assert "DIFFERS" in counts.table({"five": found["casme2_5class"]})[1]
    found = counts.report(
        release(tmp_path, "20190701", **{first.clip: {"emotion": "joy"}}),
        "cropped",
    )
    assert (
        "emotion 'joy' has no class in the task"
        in (found["casme2_5class"]["differences"])
    )


def test_the_checksum_is_of_clips_and_classes(tmp_path):
    clip = ("clips", "s1", "casme2/s1/a", "disgust")
    facts = [clip, ("clips", "s1", "casme2/s1/b", "surprise")]
    three, five = (tasks.TASKS[f"casme2_{n}class"] for n in (3, 5))
    assert counts.tally(three, facts).counts == {
        "clips": {"negative": 1, "positive": 0, "surprise": 1}
    }
    assert counts.tally(five, facts).counts["clips"]["disgust"] == 1
    checksums = {
        counts.tally(task, some).checksum
        for task in (three, five)
        for some in (facts, facts[:1])
    }
    assert len(checksums) == 4  # the task, and the clips
    assert counts.tally(three, facts[::-1]).checksum == (
        counts.tally(three, facts).checksum
    )


@pytest.mark.parametrize("name", sorted(tasks.TASKS))
def test_every_task_is_whole(name):
    task = tasks.TASKS[name]
    several = task.dataset.split("+")  # a task of several has a name of its own
    assert len(several) > 1 or name.startswith(f"{task.dataset}_")
    mapped = [emotion for _, emotions in task.classes for emotion in emotions]
    assert len(mapped) == len(set(mapped)) and not set(mapped) & set(task.dropped)
    for split, per_class in task.counts.items():
        assert len(per_class) == len(task.classes)
        assert sum(per_class) == task.clips[split]
    assert {clip.partition("/")[0] for clip in task.excluded} <= {*several}
    # An emotion that is one dataset's alone is of one that the task has.
    own = [e.partition("/")[0] for e in (*mapped, *task.dropped) if "/" in e]
    assert set(own) <= {*several}


# MER-CLIP's Table III: clips, and subjects of each task.
TABLE_III = {
    "casme2_3class": (156, 25),
    "casme2_5class": (249, 26),
    "samm_3class": (133, 28),
    "samm_5class": (136, 27),
    "casme3_3class": (699, 88),
    "casme3_4class": (860, 94),
    "casme3_7class": (860, 94),
    "dfme_7class": (1856 + 474 + 299, 176 + 42 + 41),
}
LISTS = {
    "casme2_3class_released": 150,
    "casme2_3class_megc2019": 145,
    "samm_3class_released": 110,
    "casme3_7class_released": 857,
    "casme3_4class_released": 857,
}


@pytest.mark.parametrize("name", sorted(TABLE_III | LISTS))
def test_published_sizes(name):
    task = tasks.TASKS[name]
    clips, subjects = sum(task.clips.values()), sum(task.subjects.values())
    if name in TABLE_III:
        assert (clips, subjects) == TABLE_III[name]
    else:
        assert clips == LISTS[name]


def test_a_config_takes_any_task_of_its_dataset():
    config = casme3_4class.get_config("task=casme3_4class_released,recipe=released")
    assert config.name == config.data.task == "casme3_4class_released"
    assert "casme3/spNO.40/e_1812" in config.data.excluded
    with pytest.raises(ValueError, match="task='casme2_3class': expected one of"):
        casme3_4class.get_config("task=casme2_3class")
    assert common.base().data.task == ""
