import csv
import dataclasses
import os
import shutil
from collections import Counter

import openpyxl
import pytest

from data_builders.casme_sq import coding
from data_builders.casme_sq.builder import CasmeSq
from data_builders.readers.findings import DatasetError
from data_builders.records.counts import differences, tally
from data_builders.tasks import tasks_of
from merclip_jax import facs
from tests.fixtures.casme_sq import (
    CODES,
    FILMS,
    MACRO,
    ROWS,
    TABLE,
    TREES,
    full_rows,
    write_casme_sq,
    write_casme_sq_table,
)
from tests.fixtures.findings import found, one
from tests.fixtures.workbook import edit_cell, truncate, write_workbook

TEETH = "15_0101disgustingteeth"


@pytest.mark.parametrize("own_folders", [False, True])
@pytest.mark.parametrize("config", TREES)
def test_every_micro_expression(tmp_path, config, own_folders):
    expected = write_casme_sq(tmp_path, tree=config, own_folders=own_folders)
    release = CasmeSq.read(tmp_path, config)
    assert [c.row.clip for c in release.clips] == sorted(row.clip for row in expected)
    clips = {clip.row.clip: clip for clip in release.clips}
    for row in expected:
        clip = clips[row.clip]
        got = clip.row
        assert (got.subject, got.onset, got.apex, got.offset) == (
            *(row.subject, row.onset, row.apex, row.offset),
        )
        assert (got.emotion, got.au_cell) == (row.emotion, str(row.au_cell))
        assert (got.fps, got.split) == (30, "clips")
        assert list(clip.files) == list(range(row.onset, row.offset + 1))
        assert all(path.name == f"img{n:03d}.jpg" for n, path in clip.files.items())
        folder = row.name if own_folders else row.subject[1:] + "_"
        assert all(p.parent.name.startswith(folder) for p in clip.files.values())
        assert {p.parent.parent.name for p in clip.files.values()} == {row.subject}
    kinds = {finding.kind for finding in release.findings}
    assert kinds == {"short", "no_aus", "unscorable"}
    assert release.table == TABLE and release.dataset == "casme_sq"
    assert release.layout.startswith(f"{TREES[config]}/ ({config})")
    assert ("recording's folder" in release.layout) == (not own_folders)


def test_macro_expressions_are_counted_and_not_built(tmp_path):
    write_casme_sq(tmp_path)
    release = CasmeSq.read(tmp_path, "cropped")
    macro = [row.clip for row in ROWS if row.kind == MACRO]
    assert len(macro) == 3 and not {r.clip for r in release.rows} & set(macro)
    assert release.version == "8 micro-expressions; 3 macro-expressions passed over"


def test_clips_of_one_recording_share_its_folder(tmp_path):
    write_casme_sq(tmp_path)
    clips = {c.row.clip: c for c in CasmeSq.read(tmp_path, "cropped").clips}
    first, other = clips["s15/disgust1_2"], clips["s15/disgust1_4"]
    folders = {path.parent for c in (first, other) for path in c.files.values()}
    assert {folder.name for folder in folders} == {TEETH}
    assert not set(first.files) & set(other.files)


def test_a_folder_of_the_clips_own_is_preferred(tmp_path):
    write_casme_sq(tmp_path)
    top = tmp_path / "cropped" / "s15"
    shutil.copytree(top / TEETH, top / "Disgust1_2")
    clips = {c.row.clip: c for c in CasmeSq.read(tmp_path, "cropped").clips}
    of = {name: next(iter(c.files.values())).parent.name for name, c in clips.items()}
    assert of["s15/disgust1_2"] == "Disgust1_2" and of["s15/disgust1_4"] == TEETH


def test_au_cells_are_kept_as_they_stand(tmp_path):
    write_casme_sq(tmp_path)
    release = CasmeSq.read(tmp_path, "cropped")
    cells = {row.clip: row.au_cell for row in release.rows}
    assert cells["s15/anger1_1"] == "NULL" and cells["s17/happy1_1"] == "null"
    assert cells["s15/disgust1_2"] == "14or23" and cells["s16/disgust1_1"] == "10or11"
    assert cells["s17/disgust1_1"] == "74" and 74 in facs.CODES
    assert not found(release, "unknown_au")
    wordless = {"s15/anger1_1", "s17/disgust1_1", "s17/happy1_1"}
    assert {f.clip for f in found(release, "no_aus")} == wordless
    assert "74 says that nothing can be scored" in one(release, "unscorable").text


def test_a_typo_in_the_self_report_changes_nothing(tmp_path):
    write_casme_sq(tmp_path)
    rows = {row.clip: row for row in CasmeSq.read(tmp_path, "cropped").rows}
    assert rows["s15/happy1_1"].emotion == "positive"


def test_an_offset_of_0_is_the_apex_and_told(tmp_path):
    write_casme_sq(tmp_path)
    edit_cell(tmp_path / TABLE, 2, 5, 0)
    release = CasmeSq.read(tmp_path, "cropped")
    row = next(row for row in release.rows if row.clip == "s15/disgust1_2")
    assert (row.onset, row.apex, row.offset) == (33, 36, 36)
    (finding,) = found(release, "repaired")
    assert finding.clip == row.clip and not finding.stops
    assert "row 2" in str(finding) and "offset 0" in str(finding)
    assert "read as 36, the apex" in str(finding)


@pytest.mark.parametrize("apex", [None, 0, "/"])
def test_an_offset_of_0_without_an_apex_cannot_be_read(tmp_path, apex):
    write_casme_sq(tmp_path)
    edit_cell(tmp_path / TABLE, 2, 5, 0)
    edit_cell(tmp_path / TABLE, 2, 4, apex)
    release = CasmeSq.read(tmp_path, "cropped")
    (finding,) = found(release, "table")
    assert "expected a frame number from 33 on, found 0" in str(finding)


def test_wrong_cells_are_collected_and_named(tmp_path):
    write_casme_sq(tmp_path)
    path = tmp_path / TABLE
    edit_cell(path, 2, 1, 9)
    edit_cell(path, 4, 2, "sad7_1")
    edit_cell(path, 5, 2, "anger")
    edit_cell(path, 6, 7, "joy")
    edit_cell(path, 7, 6, "4+x")
    edit_cell(path, 8, 3, "?")
    edit_cell(path, 9, 8, "mini")
    edit_cell(path, 10, 3, 99)
    release = CasmeSq.read(tmp_path, "cropped")
    told = [str(finding) for finding in found(release, "table")]
    assert all(text.startswith(f"{TABLE}, row ") for text in told)
    for part in (
        "row 2, clip '9/disgust1_2', column 'participant': expected a participant of",
        "row 4, clip 's15/sad7_1', column 'expression': expected a recording of sheet",
        "row 5, clip 's15/anger', column 'expression': expected a name such as",
        "row 6, clip 's15/happy1_1', column 'estimated emotion': expected one of",
        "row 7, clip 's16/disgust1_1', column 'AUs': expected an AU cell",
        "row 8, clip 's16/anger1_1', column 'onset': expected a whole number",
        "row 9, column 'macro or micro': expected micro-expression or macro-expression",
        "row 10, clip 's17/disgust1_1', column 'offset': expected a frame number from",
    ):
        assert sum(part in text for text in told) == 1, part
    assert len(told) == 8 and len(release.clips) == 1


def test_cells_saved_as_text_or_float_and_blank_columns(tmp_path):
    write_casme_sq(tmp_path)
    before = CasmeSq.read(tmp_path, "cropped")
    workbook = openpyxl.load_workbook(tmp_path / TABLE)
    sheet = workbook["CASFEcode_final"]
    for row in sheet.iter_rows():
        row[0].value, row[2].value = float(row[0].value), f" {row[2].value} "
        row[4].value = float(row[4].value)
        row[6].value = row[6].value.title() + " "
        row[7].value = row[7].value.capitalize()
    sheet.insert_cols(3)
    sheet.insert_rows(2)
    workbook.save(tmp_path / TABLE)
    after = CasmeSq.read(tmp_path, "cropped")
    facts = [
        [(r.clip, r.onset, r.apex, r.offset, r.emotion, r.au_cell) for r in x.rows]
        for x in (before, after)
    ]
    assert facts[0] == facts[1] and len(facts[0]) == 8
    assert "row 3" in next(r.where for r in after.rows if r.clip == "s15/disgust1_2")


def test_the_updated_table_is_preferred(tmp_path):
    write_casme_sq(tmp_path)
    shutil.copy(tmp_path / TABLE, tmp_path / "CAS(ME)^2code_final.xlsx")
    assert CasmeSq.read(tmp_path, "cropped").table == TABLE
    (tmp_path / TABLE).unlink()
    assert CasmeSq.read(tmp_path, "cropped").table == "CAS(ME)^2code_final.xlsx"


def test_other_names_of_folders_and_files(tmp_path):
    write_casme_sq(tmp_path / "x", doubled=True)
    top = tmp_path / "x" / "cropped" / "cropped"
    top.parent.rename(tmp_path / "x" / "Cropped")
    top = tmp_path / "x" / "Cropped" / "cropped"
    (top / "s15" / TEETH).rename(top / "s15" / "15_0101")
    for path in (top / "s15" / "15_0101").glob("img*.jpg"):
        path.rename(path.with_name(f"img{int(path.stem[3:])}.JPG"))
    (top / "s16").rename(top / "S16")
    release = CasmeSq.read(tmp_path, "cropped")
    assert len(release.clips) == 8
    assert release.layout.startswith("x/Cropped/cropped/ (cropped)")


def test_a_recording_in_a_folder_of_another_subjects_name(tmp_path):
    write_casme_sq(tmp_path)
    top = tmp_path / "cropped"
    (top / "s15" / TEETH).rename(top / "s15" / "16_0101disgustingteeth")
    release = CasmeSq.read(tmp_path, "cropped")
    assert len(release.clips) == 8
    told = found(release, "misplaced")
    assert {f.clip for f in told} == {"s15/disgust1_2", "s15/disgust1_4"}
    assert "expected a folder of s15; cropped/s15/16_0101" in str(told[0])
    files = {c.row.clip: c.files for c in release.clips}
    assert "s16" in str(files["s16/disgust1_1"][3])


def test_a_recording_in_another_subjects_folder(tmp_path):
    write_casme_sq(tmp_path)
    top = tmp_path / "cropped"
    name = "16_0101disgustingteeth"
    (top / "s16" / name).rename(top / "s15" / name)
    release = CasmeSq.read(tmp_path, "cropped")
    assert len(release.clips) == 8
    (finding,) = found(release, "misplaced")
    assert finding.clip == "s16/disgust1_1" and not finding.stops
    files = {c.row.clip: c.files for c in release.clips}
    assert files["s16/disgust1_1"][3].parent == top / "s15" / name
    assert files["s15/disgust1_2"][33].parent == top / "s15" / TEETH


def test_frames_that_are_not_there(tmp_path):
    write_casme_sq(tmp_path)
    top = tmp_path / "cropped"
    shutil.rmtree(top / "s15" / "15_0203madeup")
    folder = top / "s15" / "15_0304invented"
    shutil.rmtree(folder)
    folder.write_text("a file where a folder is expected")
    for path in (top / "s16" / "16_0101disgustingteeth").glob("img*.jpg"):
        path.unlink()
    (top / "s17" / "17_0101disgustingteeth" / "img011.jpg").unlink()
    release = CasmeSq.read(tmp_path, "cropped")
    told = {
        kind: [f.clip for f in found(release, kind)] for kind in ("folder", "empty")
    }
    assert told == {
        "folder": ["s15/anger1_1", "s15/happy1_1"],
        "empty": ["s16/disgust1_1"],
    }
    assert [f.clip for f in found(release, "missing")] == ["s17/disgust1_1"]
    assert len(release.clips) == 5


def test_a_link_out_of_the_folder(tmp_path):
    root = tmp_path / "manual"
    write_casme_sq(root)
    recording = root / "cropped" / "s15" / TEETH
    recording.rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", recording)
    release = CasmeSq.read(root, "cropped")
    told = one(release, "outside")  # the link, not each of its clips
    assert f"{recording}: leads out of the dataset's folder {root}" in told.text
    assert "give that folder as --manual_dir; 2 clips lie there" in told.text
    assert len(release.clips) == 6


def test_a_clip_that_occurs_twice(tmp_path):
    write_casme_sq(tmp_path)
    edit_cell(tmp_path / TABLE, 4, 2, "disgust1_2")
    (finding,) = found(CasmeSq.read(tmp_path, "cropped"), "twice")
    assert finding.clip == "s15/disgust1_2" and "row 4" in str(finding)


def test_a_name_with_two_meanings(tmp_path):
    write_casme_sq(tmp_path)
    edit_cell(tmp_path / TABLE, 4, 2, "s18", sheet=1)
    edit_cell(tmp_path / TABLE, 4, 3, 1, sheet=1)
    edit_cell(tmp_path / TABLE, 4, 1, "0405", sheet=2)
    edit_cell(tmp_path / TABLE, 4, 2, "anger1", sheet=2)
    told = [str(f) for f in found(CasmeSq.read(tmp_path, "cropped"), "table")]
    rule = f"{TABLE}, sheet naming rule"
    assert f"{rule}1: expected one line for 1, found s15 and s18" in told
    assert f"{rule}2: expected one line for anger1, found 0203 and 0405" in told


def test_a_recording_with_two_folders(tmp_path):
    write_casme_sq(tmp_path)
    top = tmp_path / "cropped"
    (top / "s15" / "15_0101other").mkdir()
    (top / "s16" / "15_0101disgustingteeth").mkdir()
    release = CasmeSq.read(tmp_path, "cropped")
    spare = {f.where: str(f) for f in found(release, "unlisted")}
    assert set(spare) == {
        str(top / "s15" / "15_0101other"),
        str(top / "s16" / "15_0101disgustingteeth"),
    }
    assert str(top / "s15" / TEETH) in spare[str(top / "s15" / "15_0101other")]
    assert len(release.clips) == 8


def test_no_table_and_no_tree(tmp_path):
    with pytest.raises(DatasetError, match="expected the coding table CAS"):
        CasmeSq.read(tmp_path, "cropped")
    write_casme_sq(tmp_path, tree="selected")
    with pytest.raises(DatasetError, match="expected a folder cropped/"):
        CasmeSq.read(tmp_path, "cropped")
    (tmp_path / "cropped").write_text("a file where a folder is expected")
    with pytest.raises(DatasetError, match="expected a folder cropped/"):
        CasmeSq.read(tmp_path, "cropped")


def test_wrong_workbooks(tmp_path):
    write_casme_sq(tmp_path)
    path = tmp_path / TABLE
    good = openpyxl.load_workbook(path)
    pages = {s.title: [list(r) for r in s.values] for s in good.worksheets}

    def refuses(match, **changed):
        sheets = pages | {k.replace("_", " ", 1): v for k, v in changed.items()}
        write_workbook(path, {k: v for k, v in sheets.items() if v is not None})
        with pytest.raises(DatasetError, match=match):
            CasmeSq.read(tmp_path, "cropped")

    refuses("expected the sheets .* naming rule2, found .*rule1$", naming_rule2=None)
    refuses("naming rule1: expected rows with", naming_rule1=[["a", "b", 1]])
    refuses("naming rule2: expected rows such as", naming_rule2=[["a", "b"]])
    final = {"CASFEcode final": pages["CASFEcode_final"]}
    short = [row[:7] for row in final["CASFEcode final"]]
    pages = {"CASFEcode_final": short} | {k: v for k, v in pages.items() if "n" == k[0]}
    refuses("expected 8 columns .*, found 7")
    pages["CASFEcode_final"] = [row[::-1] for row in final["CASFEcode final"]]
    refuses("expected micro-expression or macro-expression in column 8")
    truncate(path)
    with pytest.raises(DatasetError, match="expected an xlsx workbook"):
        CasmeSq.read(tmp_path, "cropped")


def write_csv(root, change=lambda row: row):
    """The table as the copy that goes around: no header, 11 columns, no sheets."""
    (root / TABLE).unlink()
    with open(root / TABLE.replace(".xlsx", ".csv"), "w", newline="") as file:
        for mini in ROWS:
            recording = mini.name.split("_")[0]
            number = mini.subject[1:]
            folder = f"{mini.subject}/{number}_{CODES[recording]}{FILMS[recording]}"
            row = [*dataclasses.astuple(mini), "", folder]
            csv.writer(file).writerow(change(row))


def test_a_csv_file_says_in_a_column_what_the_sheets_do(tmp_path):
    write_casme_sq(tmp_path)
    whole = CasmeSq.read(tmp_path, "cropped")
    write_csv(tmp_path)
    release = CasmeSq.read(tmp_path, "cropped")
    assert release.table.endswith(".csv") and release.version == whole.version
    for mine, other in zip(release.clips, whole.clips, strict=True):
        row = dataclasses.replace(mine.row, where=other.row.where)
        assert (row, mine.files) == (other.row, other.files)
    assert [f.kind for f in release.findings] == [f.kind for f in whole.findings]


def test_a_csv_file_that_contradicts_itself_or_lacks_the_column(tmp_path):
    write_casme_sq(tmp_path)
    path = tmp_path / TABLE.replace(".xlsx", ".csv")

    def other(row):
        return [*row[:10], "s16/16_0101x"] if row[1] == "anger1_1" else row

    write_csv(tmp_path, other)
    told = {f.text for f in found(CasmeSq.read(tmp_path, "cropped"), "table")}
    assert "expected one line for 1, found s15 and s16" in told
    assert "expected one line for anger1, found 0101 and 0203" in told
    path.rename(tmp_path / TABLE)
    write_csv(tmp_path, lambda row: row[:9])
    with pytest.raises(DatasetError, match="csv: expected a column behind the others"):
        CasmeSq.read(tmp_path, "cropped")
    path.write_text("participant,expression\n1,disgust1_1\n")
    with pytest.raises(DatasetError, match="csv: expected 8 columns"):
        CasmeSq.read(tmp_path, "cropped")


@pytest.mark.parametrize("name", tasks_of("casme_sq"))
def test_a_table_of_full_size_counts_as_published(tmp_path, name):
    rows = full_rows()
    subjects = {participant: participant + 14 for participant in range(1, 23)}
    write_casme_sq_table(tmp_path / TABLE, rows, subjects=subjects)
    listed = coding.read(tmp_path / TABLE, coding.TABLE.editions[0])
    assert not listed.findings and listed.macro == 300 and len(listed.rows) == 57
    facts = [(r.split, r.subject, f"casme_sq/{r.clip}", r.emotion) for r in listed.rows]
    task = tasks_of("casme_sq")[name]
    counted = tally(task, facts)
    assert differences(task, counted) == []
    assert counted.counts["clips"] == dict(
        zip(["negative", "positive", "surprise", "others"], (21, 8, 9, 19), strict=True)
    )


def test_a_full_table_of_other_counts_is_refused(tmp_path):
    rows = full_rows()
    subjects = {participant: participant + 14 for participant in range(1, 23)}
    write_casme_sq_table(tmp_path / TABLE, rows, subjects=subjects)
    first = next(i for i, row in enumerate(rows) if row.emotion == "negative")
    edit_cell(tmp_path / TABLE, first + 1, 7, "others")
    (tmp_path / "cropped").mkdir()
    (finding,) = found(CasmeSq.read(tmp_path, "cropped"), "counts")
    assert finding.stops and "'others': 20" in str(finding)
    rows = coding.read(tmp_path / TABLE, coding.TABLE.editions[0]).rows
    assert Counter(row.emotion for row in rows)["others"] == 20
