"""What all readers share: files, tables, and rows joined with their frames."""

import dataclasses
import json

import openpyxl
import pytest
from openpyxl.styles import Font

from data_builders import tasks
from data_builders.casme2.builder import Casme2
from data_builders.readers import cells, table
from data_builders.readers.findings import DatasetError, OutsideError
from data_builders.readers.gather import gather
from data_builders.readers.release import Row
from data_builders.records import counts
from merclip_jax.facs import parse_cell
from tests.data_builders.test_build import manual, run
from tests.data_builders.test_casme2 import full_table, published
from tests.fixtures.casme2 import edit_table, write_casme2

_ = manual
TABLE = "CASME2-coding-20190701.xlsx"
ROW = Row(
    where="t.xlsx, row 2",
    subject="s1",
    clip="s1/a",
    onset=10,
    apex=12,
    offset=19,
    fps=30.0,
    emotion="fear",
    au_cell="4",
)


def release(root, numbers, *, suffix=".jpg", whole=False, row=ROW):
    folder = root / "s1" / "A"
    folder.mkdir(parents=True)
    for number in numbers:
        (folder / f"img{number}{suffix}").touch()
    return gather(
        "d",
        [row],
        {"s1/a": folder},
        root=root,
        layout="tree/",
        table="t.xlsx",
        whole=whole,
    )


def kinds(made):
    return [finding.kind for finding in made.findings]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".bmp"])
def test_a_clip_takes_the_frames_of_its_range(tmp_path, suffix):
    (clip,) = release(tmp_path, range(1, 31), suffix=suffix, whole=True).clips
    assert list(clip.files) == list(range(10, 20))
    assert clip.numbers.index(10) == 9  # the recording before the onset


@pytest.mark.parametrize("numbers", [[10, 11], [19], [12, 17], range(10, 19, 3)])
def test_few_frames_are_told_and_are_a_clip(tmp_path, numbers):
    made = release(tmp_path, numbers)
    assert len(made.clips) == 1 and "missing" in kinds(made)
    assert f"{len(numbers)} of 10 frames" in {f.text for f in made.findings}


@pytest.mark.parametrize("numbers", [[], [9, 20], [13], [13, 14, 15, 16]])
def test_no_frame_or_none_near_an_end_is_no_clip(tmp_path, numbers):
    made = release(tmp_path, numbers)
    assert not made.clips and kinds(made) == ["empty"]
    assert "expected frames 10..19" in made.findings[0].text


@pytest.mark.parametrize("sparse, wrong", [(2, False), (3, False), (4, True)])
def test_a_wrong_tree_shows_in_many_clips(tmp_path, sparse, wrong):
    rows, folders = [], {}
    for index in range(12):
        rows.append(dataclasses.replace(ROW, clip=f"s1/{index:02d}"))
        folders[rows[-1].clip] = tmp_path / str(index)
        folders[rows[-1].clip].mkdir()
        for number in range(10, 20, 3 if index < sparse else 1):
            (folders[rows[-1].clip] / f"{number}.jpg").touch()
    made = gather("d", rows, folders, root=tmp_path, layout="tree/", table="t.xlsx")
    assert len(made.clips) == 12 - sparse * wrong
    said = [f for f in made.findings if f.kind == ("empty" if wrong else "missing")]
    assert len(said) == sparse
    assert ("so it is with 4 of 12 clips" in said[0].text) == wrong


def test_what_is_odd_in_a_row(tmp_path):
    odd = dataclasses.replace(ROW, apex=35, au_cell="4+99", emotion="", offset=28)
    made = release(tmp_path, range(10, 29), row=odd)
    assert set(kinds(made)) == {"apex_impossible", "unknown_au", "no_label", "long"}
    found = {finding.kind: finding.text for finding in made.findings}
    assert found["long"] == "10..28 are 0.63 s at 30 per s"


def test_two_folders_of_one_clip_are_named(tmp_path):
    clip = write_casme2(tmp_path, subjects=1, clips_per_subject=1)[0]
    twin = tmp_path / "Cropped" / "sub1" / clip.name
    twin.mkdir(parents=True)
    with pytest.raises(DatasetError, match="expected one folder of sub01/EP02"):
        Casme2.read(tmp_path, "cropped")


@pytest.mark.parametrize("depth", [1, 2])
def test_trees_and_tables_are_found_three_folders_down(tmp_path, depth):
    below = tmp_path.joinpath(*"xyz"[:depth])
    write_casme2(below, subjects=1, clips_per_subject=1)
    (tmp_path / "Cropped").mkdir()  # an empty one is passed over
    assert len(Casme2.read(tmp_path, "cropped").clips) == 1


def test_the_table_itself_is_preferred_to_copies_and_locks(tmp_path):
    for name in (TABLE, "CASME2-coding-20190701 - Copy.xlsx", f"~${TABLE}"):
        (tmp_path / name).touch()
    path = table.find_table(tmp_path, ["casme2-coding-20190701.*[.]xlsx"])
    assert path.name == TABLE
    (tmp_path / "inside").mkdir()
    outside = tmp_path / TABLE
    (tmp_path / "inside" / TABLE).symlink_to(outside)
    with pytest.raises(OutsideError):
        table.find_table(tmp_path / "inside", ["casme2-coding.*[.]xlsx"])


def test_numbers_as_text(tmp_path):
    assert cells.integer("46.0") == cells.integer(" 46 ") == cells.integer(46.0) == 46
    assert cells.integer("46.5") is cells.integer("1e3") is cells.integer(None) is None
    assert cells.cell_text("12.0") == cells.cell_text(12.0) == "12"
    assert cells.cell_text("4.05") == "4.05"
    write_casme2(tmp_path, subjects=1, clips_per_subject=1)
    edit_table(tmp_path / TABLE, 2, "Subject", "1.0")
    edit_table(tmp_path / TABLE, 2, "Action Units", "12.0")
    (row,) = Casme2.read(tmp_path, "cropped").rows
    assert (row.subject, row.au_cell) == ("sub01", "12")


@pytest.mark.parametrize("blank", ["\xa0", "\u3000", "\u2009"])
def test_blanks_of_all_kinds_in_au_cells(blank):
    for cell in (f"4{blank}+ 7", f"{blank}4+7{blank}", f"4+{blank}7"):
        assert str(parse_cell(cell)) == "4+7"


def test_a_format_on_the_last_row_costs_nothing(tmp_path):
    path = tmp_path / "t.xlsx"
    workbook = openpyxl.Workbook()
    workbook.active.append(["a", "b"])
    workbook.active.append([1, None])
    workbook.active.cell(1_048_576, 2).font = Font(bold=True)
    workbook.save(path)
    assert table.read_cells(path) == {"Sheet": [("a", "b"), (1,)]}


def test_a_sheet_with_a_header_alone_hides_no_other(tmp_path):
    path = tmp_path / "t.xlsx"
    workbook = openpyxl.Workbook()
    workbook.active.append(["a", "b"])
    second = workbook.create_sheet("more")
    second.append(["A ", " b"])
    second.append([1, 2])
    workbook.save(path)
    sheet = table.read_sheet(path, ("a", "b"))
    assert sheet.name == "more" and sheet.rows == ((2, {"a": 1, "b": 2}),)
    with pytest.raises(DatasetError, match="missing c; found a, b"):
        table.read_sheet(path, ("a", "c"))


def test_a_row_that_cannot_be_read_is_named_beside_the_counts(tmp_path):
    write_casme2(tmp_path, subjects=1, clips_per_subject=1)
    full_table(tmp_path / TABLE, "20190701", published("20190701"))
    edit_table(tmp_path / TABLE, 40, "OnsetFrame", "x")
    task = counts.report(Casme2.read(tmp_path, "cropped"), "cropped")["casme2_3class"]
    assert any("row or name that cannot be read" in line for line in task["explained"])


def test_a_difference_in_one_split_is_told():
    task = tasks.TASKS["dfme_7class"]
    facts = [
        (split, f"{split}{i % task.subjects[split]}", f"dfme/{split}/{i}", "fear")
        for split, n in task.clips.items()
        for i in range(n - (split == "test_b"))
    ]
    found = counts.tally(task, facts)
    assert counts.differences(task, found) == ["test_b: clips 298 instead of 299"]


def test_a_changed_record_or_name_is_damage(manual, tmp_path, capsys):
    assert run(manual, tmp_path) == 0
    path = tmp_path / "casme2" / "cropped" / "1.1.0" / "metadata.json"
    metadata = json.loads(path.read_text())
    for name in ("fingerprint", "records"):
        path.write_text(json.dumps(metadata | {name: "0" * 64}))
        assert run(manual, tmp_path) == 1
        assert f"damaged: its {name} hash is" in capsys.readouterr().err
    path.write_text(json.dumps(metadata))
    assert run(manual, tmp_path) == 0
