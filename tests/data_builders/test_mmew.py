import csv
import os
import shutil

import openpyxl
import pytest

from data_builders.mmew import builder
from data_builders.mmew.builder import Mmew
from data_builders.readers.findings import DatasetError
from data_builders.records.counts import differences, tally
from data_builders.tasks import tasks_of
from merclip_jax.facs import AU, parse_cell
from tests.fixtures.mmew import (
    COUNTS,
    HEADER,
    ROWS,
    TABLE,
    TREE,
    full_rows,
    write_mmew,
    write_mmew_table,
)
from tests.fixtures.workbook import edit_cell, listed, truncate

SHEET = f"MMEW_Final/{TABLE}"


def found(release, kind):
    return [finding for finding in release.findings if finding.kind == kind]


def read(root):
    return Mmew.read(root, "cropped")


@pytest.mark.parametrize("doubled", [False, True])
def test_every_clip(tmp_path, doubled):
    expected = write_mmew(tmp_path, doubled=doubled)
    release = read(tmp_path)
    assert [c.row.clip for c in release.clips] == sorted(row.clip for row in expected)
    clips = {clip.row.clip: clip for clip in release.clips}
    for row in expected:
        clip = clips[row.clip]
        got = clip.row
        assert (got.subject, got.onset, got.apex, got.offset) == (
            *(row.subject, 1, row.apex, row.offset),
        )
        assert (got.emotion, got.au_cell) == (row.emotion, str(row.au_cell))
        assert (got.fps, got.split) == (90, "clips")
        folder = tmp_path / TREE / (TREE.name if doubled else "") / row.emotion
        assert clip.files == {
            n: folder / row.name / f"{n}.jpg" for n in range(1, row.offset + 1)
        }
    assert not release.findings
    assert release.table == TABLE and release.dataset == "mmew"
    assert release.version == "8 of 300 rows"
    inner = f"{TREE}/{TREE.name}" if doubled else TREE
    assert release.layout == f"{inner}/ (cropped)"


def test_the_side_of_an_au_may_follow_its_number(tmp_path):
    write_mmew(tmp_path)
    cells = {row.clip: row.au_cell for row in read(tmp_path).rows}
    assert parse_cell(cells["S01/S01-01-001"]).aus == (AU(12, "L"),)
    assert parse_cell(cells["S01/S01-02-001"]).aus == (AU(4, "R"), AU(7))


@pytest.mark.parametrize("emotion", ["surprise", "made_up"])
def test_a_clip_under_another_emotion_is_found_and_told(tmp_path, emotion):
    write_mmew(tmp_path)
    top = tmp_path / TREE
    (top / emotion).mkdir(exist_ok=True)
    (top / "disgust" / "S01-02-002").rename(top / emotion / "S01-02-002")
    release = read(tmp_path)
    (finding,) = found(release, "misplaced")
    assert finding.clip == "S01/S01-02-002" and not finding.stops
    assert "expected its folder under disgust/, found" in str(finding)
    assert f"{emotion}/S01-02-002" in str(finding)
    clip = next(c for c in release.clips if c.row.clip == finding.clip)
    assert clip.row.emotion == "disgust" and len(clip.files) == 17


def test_of_two_folders_that_of_the_emotion_is_taken(tmp_path):
    write_mmew(tmp_path)
    top = tmp_path / TREE
    shutil.copytree(top / "disgust" / "S01-02-002", top / "anger" / "S01-02-002")
    release = read(tmp_path)
    clip = next(c for c in release.clips if c.row.clip == "S01/S01-02-002")
    assert clip.files[1].parent.parent.name == "disgust"
    (finding,) = found(release, "unlisted")
    assert "anger/S01-02-002" in str(finding) and not found(release, "misplaced")


@pytest.mark.parametrize(
    ("emotion", "folder"),
    [("others", "repression"), ("happiness", "happy"), ("sadness", "Sad")],
)
def test_other_names_of_the_emotions_folders(tmp_path, emotion, folder):
    write_mmew(tmp_path)
    (tmp_path / TREE / emotion).rename(tmp_path / TREE / folder)
    release = read(tmp_path)
    assert len(release.clips) == 8 and not release.findings


def test_folders_that_no_row_takes(tmp_path):
    write_mmew(tmp_path)
    extra = tmp_path / TREE / "fear" / "S09-09-009"
    extra.mkdir()
    (finding,) = read(tmp_path).findings
    assert (finding.kind, finding.where) == ("unlisted", str(extra))
    assert not finding.stops


@pytest.mark.parametrize("offset", [None, "/", 0])
def test_without_an_offset_the_last_frame_is_taken(tmp_path, offset):
    write_mmew(tmp_path)
    edit_cell(tmp_path / SHEET, 4, "OffsetFrame", offset)
    release = read(tmp_path)
    (finding,) = release.findings
    assert finding.kind == "repaired" and finding.clip == "S01/S01-02-002"
    assert f"row 4, clip S01/S01-02-002: offset {offset!r} read as 17" in str(finding)
    clip = next(c for c in release.clips if c.row.clip == finding.clip)
    assert clip.row.offset == 17 and len(clip.files) == 17


def test_wrong_apexes_and_offsets_are_told(tmp_path):
    write_mmew(tmp_path)
    path = tmp_path / SHEET
    edit_cell(path, 2, "ApexFrame", 25)
    edit_cell(path, 3, "ApexFrame", "/")
    edit_cell(path, 4, "OffsetFrame", 20)
    edit_cell(path, 5, "OffsetFrame", 90)
    edit_cell(path, 6, "OffsetFrame", 12)
    release = read(tmp_path)
    told = {f.kind: f.clip for f in release.findings}
    assert told == {
        "apex_impossible": "S01/S01-01-001",
        "apex_missing": "S01/S01-02-001",
        "missing": "S02/S02-03-001",
        "long": "S02/S02-03-001",
        "extra": "S02/S02-04-001",
        "short": "S02/S02-04-001",
    }
    few, fewer = found(release, "missing")
    assert "17 of 20 frames" in str(few) and "19 of 90 frames" in str(fewer)
    assert len(release.clips) == 8


@pytest.mark.parametrize("cell", [1, "01", 1.0, "s1", " S01 "])
def test_ways_to_write_a_subject(tmp_path, cell):
    write_mmew(tmp_path)
    edit_cell(tmp_path / SHEET, 2, "Subject", cell)
    release = read(tmp_path)
    assert release.rows[0].subject == "S01" and not release.findings


@pytest.mark.parametrize("cell", ["S02", None, "who"])
def test_another_subject_than_the_clips_is_told(tmp_path, cell):
    write_mmew(tmp_path)
    edit_cell(tmp_path / SHEET, 2, "Subject", cell)
    release = read(tmp_path)
    (finding,) = release.findings
    assert finding.kind == "repaired" and release.rows[0].subject == "S01"
    assert (
        f"row 2, clip 'S01/S01-01-001', column 'Subject': {cell!r} read as S01, as in"
        in str(finding)
    )


def test_spreadsheets_that_were_saved_again(tmp_path):
    write_mmew(tmp_path)
    before = read(tmp_path)
    workbook = openpyxl.load_workbook(tmp_path / SHEET)
    page = workbook.worksheets[0]
    for row in page.iter_rows(min_row=2):
        row[2].value, row[4].value = " 1 ", float(row[4].value)
        row[6].value = row[6].value.title() + " "
    page.delete_cols(8)
    page.insert_cols(3)
    page["D1"] = "OnsetFrame "
    workbook.save(tmp_path / SHEET)
    assert read(tmp_path) == before


def test_a_table_as_csv(tmp_path):
    write_mmew(tmp_path)
    before = read(tmp_path)
    workbook = openpyxl.load_workbook(tmp_path / SHEET)
    with open(tmp_path / "MMEW_Micro_Exp_v2.csv", "w", newline="") as file:
        csv.writer(file).writerows(workbook.worksheets[0].values)
    (tmp_path / SHEET).unlink()
    after = read(tmp_path)
    assert after.table == "MMEW_Micro_Exp_v2.csv" and not after.findings
    assert [c.files for c in after.clips] == [c.files for c in before.clips]
    assert [r.au_cell for r in after.rows] == [r.au_cell for r in before.rows]


def test_wrong_cells_are_collected_and_named(tmp_path):
    write_mmew(tmp_path)
    path = tmp_path / SHEET
    edit_cell(path, 2, "Estimated Emotion", "joy")
    edit_cell(path, 3, "Action Units", "4+x")
    edit_cell(path, 4, "OnsetFrame", "one")
    edit_cell(path, 5, "Filename", "EP02_01f")
    edit_cell(path, 6, "OffsetFrame", "last")
    edit_cell(path, 7, "Filename", "S02-99-001")
    edit_cell(path, 7, "OffsetFrame", 0)
    release = read(tmp_path)
    told = [str(finding) for finding in found(release, "table")]
    for part in (
        "row 2, clip 'S01/S01-01-001', column 'Estimated Emotion': expected one of",
        "row 3, clip 'S01/S01-02-001', column 'Action Units': expected an AU cell",
        "row 4, clip 'S01/S01-02-002', column 'OnsetFrame': expected a whole number",
        "row 5, clip 'S02/EP02_01f', column 'Filename': expected a name such as S01-",
        "row 6, clip 'S02/S02-04-001', column 'OffsetFrame': expected a whole number",
        "row 7, clip 'S02/S02-99-001', column 'OffsetFrame': expected a frame number",
    ):
        assert sum(part in text for text in told) == 1, part
    assert len(told) == 6 and all(text.startswith(TABLE) for text in told)
    assert len(release.clips) == 2


def test_frames_that_are_not_there(tmp_path):
    write_mmew(tmp_path)
    top = tmp_path / TREE
    folder = top / "fear" / "S02-04-001"
    shutil.rmtree(folder)
    folder.write_text("a file where a folder is expected")
    shutil.rmtree(top / "anger" / "S03-07-001")
    for path in (top / "sadness" / "S03-06-001").glob("*.jpg"):
        path.unlink()
    (top / "others" / "S02-05-001" / "7.jpg").unlink()
    release = read(tmp_path)
    assert [(f.kind, f.clip) for f in release.findings] == [
        ("folder", "S02/S02-04-001"),
        ("missing", "S02/S02-05-001"),
        ("empty", "S03/S03-06-001"),
        ("folder", "S03/S03-07-001"),
    ]


def test_links_out_of_the_folder(tmp_path):
    root = tmp_path / "manual"
    write_mmew(root)
    folder = root / TREE / "fear" / "S02-04-001"
    folder.rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder)
    frame = root / TREE / "anger" / "S03-07-001" / "3.jpg"
    frame.rename(tmp_path / "3.jpg")
    os.symlink(tmp_path / "3.jpg", frame)
    told = found(read(root), "outside")
    assert [f.clip for f in told] == ["S02/S02-04-001", "S03/S03-07-001"]
    assert str(folder) in str(told[0]) and str(frame) in str(told[1])


def test_a_clip_that_occurs_twice(tmp_path):
    write_mmew(tmp_path)
    edit_cell(tmp_path / SHEET, 4, "Filename", "S01-02-001")
    release = read(tmp_path)
    (finding,) = found(release, "twice")
    assert finding.clip == "S01/S01-02-001" and "row 4" in str(finding)


def test_no_table_and_no_tree(tmp_path):
    with pytest.raises(DatasetError, match="expected the coding table MMEW_Micro_Exp"):
        read(tmp_path)
    write_mmew_table(tmp_path / TABLE, ROWS)
    with pytest.raises(DatasetError, match="expected a folder Micro_Expression/"):
        read(tmp_path)
    (tmp_path / "Micro_Expression").write_text("a file where a folder is expected")
    with pytest.raises(DatasetError, match="expected a folder Micro_Expression/"):
        read(tmp_path)


@pytest.mark.parametrize("title", HEADER[:-1])
def test_a_renamed_column_and_a_broken_file(tmp_path, title):
    write_mmew(tmp_path)
    edit_cell(tmp_path / SHEET, 1, title, "renamed")
    with pytest.raises(DatasetError, match=f"missing {title}"):
        read(tmp_path)
    truncate(tmp_path / SHEET)
    with pytest.raises(DatasetError, match="expected an xlsx workbook"):
        read(tmp_path)


@pytest.mark.parametrize("name", tasks_of("mmew"))
def test_a_table_of_full_size_counts_as_published(tmp_path, name):
    write_mmew_table(tmp_path / TABLE, full_rows())
    rows, findings = listed(builder.TABLE, tmp_path / TABLE)
    assert not findings and len(rows) == 300
    facts = [(r.split, r.subject, f"mmew/{r.clip}", r.emotion) for r in rows]
    counted = tally(tasks_of("mmew")[name], facts)
    assert differences(tasks_of("mmew")[name], counted) == []
    assert counted.counts["clips"] == COUNTS and counted.subjects == {"clips": 30}


def test_a_full_table_of_other_counts_is_refused(tmp_path):
    rows = full_rows()
    write_mmew_table(tmp_path / TABLE, rows)
    edit_cell(tmp_path / TABLE, 2, "Estimated Emotion", "fear")
    (tmp_path / "Micro_Expression").mkdir()
    release = read(tmp_path)
    (finding,) = found(release, "counts")
    assert finding.stops and "'fear': 17" in str(finding)
    assert release.version == "300 of 300 rows"


def test_the_table_without_others(tmp_path):
    rows = [row for row in full_rows() if row.emotion != "others"]
    write_mmew_table(tmp_path / TABLE, rows)
    (tmp_path / "Micro_Expression").mkdir()
    release = read(tmp_path)
    assert release.version == "234 of 300 rows" and not found(release, "counts")
