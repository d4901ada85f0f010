import os
import shutil

import cv2
import openpyxl
import pytest

from data_builders.fourdme import builder
from data_builders.fourdme.builder import Fourdme
from data_builders.readers.findings import DatasetError
from data_builders.records.counts import differences, tally
from data_builders.tasks import tasks_of
from merclip_jax.facs import AU, parse_cell
from tests.fixtures.fourdme import (
    HEADER,
    ROWS,
    TABLE,
    TREES,
    full_rows,
    write_fourdme,
    write_fourdme_table,
)
from tests.fixtures.workbook import edit_cell, listed, truncate


def found(release, kind):
    return [finding for finding in release.findings if finding.kind == kind]


def renumber(folder, shift):
    """Count the frames from elsewhere; through other names, so that none is lost."""
    for path in list(folder.glob("[0-9]*.jpg")):
        path.rename(path.with_name(f"x{int(path.stem) + shift}.jpg"))
    for path in list(folder.glob("x*.jpg")):
        path.rename(path.with_name(path.name[1:]))


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("config", TREES)
def test_every_clip(tmp_path, config, doubled):
    expected = write_fourdme(tmp_path, tree=config, doubled=doubled)
    release = Fourdme.read(tmp_path, config)
    assert [c.row.clip for c in release.clips] == sorted(row.clip for row in expected)
    clips = {clip.row.clip: clip for clip in release.clips}
    top = tmp_path / TREES[config] / (TREES[config] if doubled else "")
    for row in expected:
        clip = clips[row.clip]
        got = clip.row
        assert (got.subject, got.onset, got.apex, got.offset) == (
            *(row.sub_id, row.onset, row.apex, row.offset),
        )
        assert got.emotion == "+".join(sorted(row.emotion.lower().split("+")))
        assert (got.au_cell, got.fps, got.split) == (row.au_cell, 60, "clips")
        assert clip.files == {
            n: top / row.sub_id / row.name / f"{n}.jpg"
            for n in range(row.onset, row.offset + 1)
        }
    assert not release.findings
    assert release.table == TABLE and release.dataset == "fourdme"
    assert release.version == "7 of 267 rows"
    assert release.layout == f"{top.relative_to(tmp_path)}/ ({config})"


def test_pictures_of_the_miniature_are_grey(tmp_path):
    write_fourdme(tmp_path)
    clip = Fourdme.read(tmp_path, "crop").clips[0]
    path = next(iter(clip.files.values()))
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 2


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("Surprise+Positive", "positive+surprise"),
        ("positive + Surprise ", "positive+surprise"),
        ("Other", "others"),
        ("Others+Negative+Repression", "negative+others+repression"),
        ("Negative+negative", "negative"),
    ],
)
def test_emotions_that_combine(tmp_path, cell, label):
    write_fourdme(tmp_path)
    edit_cell(tmp_path / TABLE, 2, "Emotion", cell)
    row = Fourdme.read(tmp_path, "crop").rows[0]
    task = tasks_of("fourdme")["fourdme_5class"]
    assert row.emotion == label
    assert (label in task.emotions) == ("+" not in label)
    assert (label in task.dropped) == ("+" in label)


def test_static_aus_are_read(tmp_path):
    write_fourdme(tmp_path)
    cells = {row.clip: row.au_cell for row in Fourdme.read(tmp_path, "crop").rows}
    assert parse_cell(cells["p01/p01_c"]).aus == (AU(4), AU(7, "L"))
    assert parse_cell(cells["p02/p02_a"]).aus == (AU(2, "R"), AU(12), AU(45))


@pytest.mark.parametrize("first", [0, 1, 9])
def test_frames_that_count_from_elsewhere(tmp_path, first):
    write_fourdme(tmp_path)
    folder = tmp_path / TREES["crop"] / "p01" / "p01_b"
    renumber(folder, first - 8)
    release = Fourdme.read(tmp_path, "crop")
    (finding,) = release.findings
    assert finding.kind == "repaired" and finding.clip == "p01/p01_b"
    assert "row 3, clip p01/p01_b: onset, apex, offset 8, 15, 25 read as" in str(
        finding
    )
    clip = next(c for c in release.clips if c.row.clip == "p01/p01_b")
    assert (clip.row.onset, clip.row.apex, clip.row.offset) == (
        *(first, first + 7, first + 17),
    )
    assert list(clip.files) == list(range(first, first + 18))


def test_only_as_many_frames_without_a_gap_are_taken_for_renumbered(tmp_path):
    write_fourdme(tmp_path)
    top = tmp_path / TREES["crop"]
    renumber(top / "p01" / "p01_a", -100)
    (top / "p01" / "p01_a" / "21.jpg").unlink()
    renumber(top / "p01" / "p01_b", -7)
    (top / "p01" / "p01_b" / "18.jpg").rename(top / "p01" / "p01_b" / "20.jpg")
    (top / "p01" / "p01_c" / "20.jpg").unlink()
    release = Fourdme.read(tmp_path, "crop")
    assert [(f.kind, f.clip) for f in release.findings] == [
        ("renumbered", "p01/p01_a"),
        ("renumbered", "p01/p01_b"),
        ("missing", "p01/p01_c"),
    ]


def test_a_renumbered_clip_whose_apex_cannot_be_read_stops(tmp_path):
    write_fourdme(tmp_path)
    edit_cell(tmp_path / TABLE, 3, "Apex", "15 (?)")
    renumber(tmp_path / TREES["crop"] / "p01" / "p01_b", -7)
    release = Fourdme.read(tmp_path, "crop")
    (finding,) = [f for f in release.findings if f.stops]
    assert "'Apex'" in finding.where and finding.text.endswith("found '15 (?)'")


def test_a_renumbered_clip_without_an_apex(tmp_path):
    write_fourdme(tmp_path)
    edit_cell(tmp_path / TABLE, 3, "Apex", "/")
    renumber(tmp_path / TREES["crop"] / "p01" / "p01_b", -7)
    release = Fourdme.read(tmp_path, "crop")
    assert {f.kind for f in release.findings} == {"repaired", "apex_missing"}
    row = next(row for row in release.rows if row.clip == "p01/p01_b")
    assert (row.onset, row.apex, row.offset) == (1, None, 18)


def test_a_wrong_apex_is_told(tmp_path):
    write_fourdme(tmp_path)
    edit_cell(tmp_path / TABLE, 2, "Apex", 99)
    (finding,) = Fourdme.read(tmp_path, "crop").findings
    assert finding.kind == "apex_impossible" and finding.clip == "p01/p01_a"


def test_the_trees_are_not_taken_for_each_other(tmp_path):
    write_fourdme(tmp_path / "a", tree="gray")
    with pytest.raises(DatasetError, match="expected a folder gray_micro_crop/"):
        Fourdme.read(tmp_path / "a", "crop")
    write_fourdme(tmp_path / "b", tree="crop")
    with pytest.raises(DatasetError, match="expected a folder gray_micro/"):
        Fourdme.read(tmp_path / "b", "gray")


def test_folders_that_no_row_lists_and_other_letter_case(tmp_path):
    write_fourdme(tmp_path)
    top = tmp_path / TREES["crop"]
    (top / "p01" / "p01_a").rename(top / "p01" / "P01_A")
    (top / "p03").rename(top / "P03")
    extra = top / "p02" / "p02_z"
    extra.mkdir()
    release = Fourdme.read(tmp_path, "crop")
    (finding,) = release.findings
    assert (finding.kind, finding.where) == ("unlisted", str(extra))
    assert len(release.clips) == 7


def test_wrong_cells_are_collected_and_named(tmp_path):
    write_fourdme(tmp_path)
    path = tmp_path / TABLE
    edit_cell(path, 2, "Emotion", "Surprise+Joy")
    edit_cell(path, 3, "Emotion", None)
    edit_cell(path, 4, "AUs", "AU4(z)")
    edit_cell(path, 5, "Onset", "one")
    edit_cell(path, 6, "fold_name", None)
    edit_cell(path, 7, "Offset", 59)
    release = Fourdme.read(tmp_path, "crop")
    told = [str(finding) for finding in found(release, "table")]
    for part in (
        "row 2, clip 'p01/p01_a', column 'Emotion': expected some of negative",
        "row 3, clip 'p01/p01_b', column 'Emotion': expected some of negative",
        "row 4, clip 'p01/p01_c', column 'AUs': expected an AU cell",
        "row 5, clip 'p02/p02_a', column 'Onset': expected a whole number",
        "row 6, clip 'p02/', column 'fold_name': expected a name",
        "row 7, clip 'p03/p03_a', column 'Offset': expected a frame number from 60 on",
    ):
        assert sum(part in text for text in told) == 1, part
    assert len(told) == 6 and all(text.startswith(TABLE) for text in told)
    assert [c.row.clip for c in release.clips] == ["p03/p03_b"]


def test_a_spreadsheet_that_was_saved_again(tmp_path):
    write_fourdme(tmp_path)
    before = Fourdme.read(tmp_path, "crop")
    workbook = openpyxl.load_workbook(tmp_path / TABLE)
    page = workbook.worksheets[0]
    for row in page.iter_rows(min_row=2):
        row[3].value, row[5].value = f" {row[3].value} ", float(row[5].value)
        row[2].value = row[2].value.upper()
    page.delete_cols(8, 20)  # all that stands behind the AUs
    page.insert_cols(2)
    page["A1"] = "Sub_ID "
    workbook.save(tmp_path / TABLE)
    assert Fourdme.read(tmp_path, "crop") == before


def test_frames_that_are_not_there(tmp_path):
    write_fourdme(tmp_path)
    top = tmp_path / TREES["crop"]
    folder = top / "p01" / "p01_a"
    shutil.rmtree(folder)
    folder.write_text("a file where a folder is expected")
    shutil.rmtree(top / "p02")
    for path in (top / "p03" / "p03_a").glob("*.jpg"):
        path.unlink()
    release = Fourdme.read(tmp_path, "crop")
    assert [(f.kind, f.clip) for f in release.findings] == [
        ("folder", "p01/p01_a"),
        ("folder", "p02/P02_b"),
        ("folder", "p02/p02_a"),
        ("empty", "p03/p03_a"),
    ]


def test_links_out_of_the_folder(tmp_path):
    root = tmp_path / "manual"
    write_fourdme(root)
    folder = root / TREES["crop"] / "p01" / "p01_a"
    folder.rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder)
    (finding,) = Fourdme.read(root, "crop").findings
    assert (finding.kind, finding.clip) == ("outside", "p01/p01_a")
    assert str(folder) in str(finding)


def test_a_clip_that_occurs_twice(tmp_path):
    write_fourdme(tmp_path)
    edit_cell(tmp_path / TABLE, 3, "fold_name", "p01_a")
    (finding,) = found(Fourdme.read(tmp_path, "crop"), "twice")
    assert finding.clip == "p01/p01_a" and "row 3" in str(finding)


def test_no_table_and_no_tree(tmp_path):
    with pytest.raises(DatasetError, match="expected the table 4DME_Labelling_Micro"):
        Fourdme.read(tmp_path, "crop")
    write_fourdme_table(tmp_path / TABLE, ROWS)
    (tmp_path / TREES["crop"]).write_text("a file where a folder is expected")
    with pytest.raises(DatasetError, match="expected a folder gray_micro_crop/"):
        Fourdme.read(tmp_path, "crop")


@pytest.mark.parametrize("title", HEADER[:7])
def test_a_renamed_column_and_a_broken_file(tmp_path, title):
    write_fourdme_table(tmp_path / TABLE, ROWS)
    edit_cell(tmp_path / TABLE, 1, title, "renamed")
    with pytest.raises(DatasetError, match=f"missing {title}"):
        Fourdme.read(tmp_path, "crop")
    truncate(tmp_path / TABLE)
    with pytest.raises(DatasetError, match="expected an xlsx workbook"):
        Fourdme.read(tmp_path, "crop")


@pytest.mark.parametrize("name", tasks_of("fourdme"))
def test_a_table_of_full_size_is_counted(tmp_path, name):
    write_fourdme_table(tmp_path / TABLE, full_rows())
    rows, findings = listed(builder.TABLE, tmp_path / TABLE)
    assert not findings and len(rows) == 267
    assert len({row.clip for row in rows}) == 267
    facts = [(r.split, r.subject, f"fourdme/{r.clip}", r.emotion) for r in rows]
    counted = tally(tasks_of("fourdme")[name], facts)
    assert differences(tasks_of("fourdme")[name], counted) == []
    assert not counted.unknown
    single = sum("+" not in row.emotion for row in full_rows())
    assert sum(counted.counts["clips"].values()) == single == 213
