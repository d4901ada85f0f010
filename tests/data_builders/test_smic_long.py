import openpyxl
import pytest

from data_builders.readers.findings import DatasetError
from data_builders.smic import table
from data_builders.smic.builder import Smic
from tests.fixtures.findings import found, one
from tests.fixtures.smic import (
    CLIPS,
    LONG,
    TABLE,
    MiniClip,
    edit_table,
    long_rows,
    write_smic,
    write_smic_table,
)

IN_LONG = [clip for clip in CLIPS if clip.long]
ANNOTATION = LONG.parent / TABLE


def read(root, config):
    return Smic.read(root, config)


@pytest.mark.parametrize("third", [True, False])
@pytest.mark.parametrize("calculated", [True, False])
def test_features_of_every_long_clip(tmp_path, calculated, third):
    write_smic(tmp_path, trees=("long",), calculated=calculated, third=third)
    release = read(tmp_path, "long")
    assert release.layout == f"{LONG.as_posix()}/ (long)"
    assert release.table == TABLE and release.version == "6 rows"
    clips = {clip.row.clip: clip for clip in release.clips}
    assert sorted(clips) == sorted(clip.long for clip in IN_LONG)
    for mini in IN_LONG:
        clip = clips[mini.long]
        row = clip.row
        assert (row.subject, row.emotion) == (mini.subject, mini.emotion)
        assert (row.onset, row.apex, row.offset) == (mini.onset, None, mini.offset)
        assert (row.fps, row.au_cell) == (100.0, "")
        name = "_".join(mini.long.partition("/")[2].split("_")[:3])
        folder = tmp_path / LONG / mini.subject / name
        numbers = range(mini.onset, mini.offset + 1)
        assert clip.files == {n: folder / f"image{n:06d}.jpg" for n in numbers}
    kinds = {f.kind for f in release.findings}
    said = {"apex_missing", "uncoded"}
    assert kinds == said | (set() if calculated else {"repaired"})
    assert release.clips[0].row.where.startswith(f"{TABLE}, row ")


def test_numbers_are_padded_to_6_and_have_up_to_8_digits(tmp_path):
    write_smic(tmp_path, trees=("long",))
    names = {
        path.name
        for clip in read(tmp_path, "long").clips
        for path in clip.files.values()
    }
    assert {"image012345.jpg", "image10012345.jpg"} <= names


def test_several_expressions_of_one_recording(tmp_path):
    write_smic(tmp_path, trees=("long",))
    edit_table(tmp_path / ANNOTATION, 6, "Onset3F", 400250)
    edit_table(tmp_path / ANNOTATION, 6, "Offset3F", 400253)
    release = read(tmp_path, "long")
    rows = [row for row in release.rows if row.clip.startswith("s09/")]
    assert [(row.clip, row.onset, row.offset) for row in rows] == [
        ("s09/s9_po_61", 400200, 400219),
        ("s09/s9_po_61_2", 400230, 400247),
        ("s09/s9_po_61_3", 400250, 400253),
    ]
    assert len(release.clips) == 8


def test_a_second_onset_of_0_is_none(tmp_path):
    write_smic(tmp_path, trees=("long",))
    for column in ("Onset2F", "Offset2F"):
        edit_table(tmp_path / ANNOTATION, 3, column, 0)
    release = read(tmp_path, "long")
    assert len(release.rows) == 7 and not any(f.stops for f in release.findings)


def with_third(root, onset, offset, *, nth=3):
    """The release with another onset and offset of the nth expression of s9_po_61."""
    write_smic(root, trees=("long",))
    edit_table(root / ANNOTATION, 6, f"Onset{nth}F", onset)
    edit_table(root / ANNOTATION, 6, f"Offset{nth}F", offset)
    return read(root, "long")


@pytest.mark.parametrize(
    "onset, offset, reason",
    [
        (400230, 400247, "are those of expression 2"),
        (400200, 400219, "are those of expression 1"),
        (2950, 400253, "begin before the first expression"),
        (1500, 2950, "begin before the first expression"),
        (2950, 1500, "begin before the first expression"),
        (500000, 500010, "lie outside the recording, 400194..400253"),
        (400250, 436000, "lie outside the recording, 400194..400253"),
        ("400230", "400247", "are those of expression 2"),
    ],
)
def test_a_third_interval_that_is_debris_is_none_and_told(
    tmp_path, onset, offset, reason
):
    release = with_third(tmp_path, onset, offset)
    assert sorted(row.clip for row in release.rows) == sorted(c.long for c in IN_LONG)
    told = [str(f) for f in found(release, "repaired") if "calculated" not in f.text]
    said = f"Onset3F {onset}, Offset3F {offset} {reason}; read as none"
    assert told == [f"{TABLE}, row 6, clip s09/s9_po_61: {said}"]
    assert not any(f.stops for f in release.findings)


@pytest.mark.parametrize("onset, offset", [(400200, 400219), (99, 400240)])
def test_a_second_interval_that_is_debris_is_none_as_well(tmp_path, onset, offset):
    release = with_third(tmp_path, onset, offset, nth=2)
    assert [r.clip for r in release.rows if "s9" in r.clip] == ["s09/s9_po_61"]
    told = [f.text for f in found(release, "repaired") if "read as none" in f.text]
    assert told[0].startswith(f"Onset2F {onset}, Offset2F {offset} ")


@pytest.mark.parametrize(
    "onset, offset", [(400253, 400250), (400250, 0), (0, 400253), ("x", 400253)]
)
def test_a_third_interval_that_cannot_be_read_stops(tmp_path, onset, offset):
    finding = one(with_third(tmp_path, onset, offset), "table")
    assert "row 6" in finding.where and "3F'" in finding.where


def test_the_name_of_a_recording_beats_its_label_and_is_told(tmp_path):
    write_smic(tmp_path, trees=("long",))
    for row, label in ((2, "surprise"), (4, "ne"), (6, "Negative ")):
        edit_table(tmp_path / ANNOTATION, row, "Emotion", label)
    release = read(tmp_path, "long")
    assert sorted(r.clip for r in release.rows) == sorted(c.long for c in IN_LONG)
    assert {r.emotion for r in release.rows if "_sur_" in r.clip} == {"surprise"}
    told = {
        f.where.partition(", clip")[0]: f.text
        for f in found(release, "repaired")
        if "name" in f.text
    }
    assert told == {
        f"{TABLE}, row 2": "'surprise' read as 'negative', as in its name",
        f"{TABLE}, row 4": "'ne' read as 'surprise', as in its name",
        f"{TABLE}, row 6": "'Negative ' read as 'positive', as in its name",
    }


def test_an_onset_without_its_offset(tmp_path):
    write_smic(tmp_path, trees=("long",))
    edit_table(tmp_path / ANNOTATION, 6, "Offset2F", None)
    edit_table(tmp_path / ANNOTATION, 2, "OffsetF", 559739)
    release = read(tmp_path, "long")
    first, second = found(release, "table")
    assert "row 2" in str(first) and "from 559740 on, found 559739" in first.text
    assert "row 6" in str(second) and "'Offset2F'" in second.where
    assert len(release.rows) == 4


def test_a_formula_that_was_never_calculated_is_followed_or_told(tmp_path):
    write_smic(tmp_path, trees=("long",))
    workbook = openpyxl.load_workbook(tmp_path / ANNOTATION)
    workbook["VIS"]["B3"] = "s1_po_61"
    workbook["HS"]["B3"] = "='VIS'!$B$3"
    workbook["HS"]["D4"] = "=VIS!D4*4"
    workbook["HS"]["A5"] = "=VIS!A5&A4"
    workbook["VIS"]["P6"] = "=NIR!P6"
    workbook.save(tmp_path / ANNOTATION)
    release = read(tmp_path, "long")
    wrong = one(release, "table")
    assert "row 4" in wrong.where and "'OnsetF'" in wrong.where
    assert "found '=VIS!D4*4'" in wrong.text
    said = [str(f) for f in found(release, "repaired")]
    name = f"{TABLE}, row 3, column 'Filename'"
    assert f"{name}: \"='VIS'!$B$3\" was never calculated; read as 's1_po_61'" in said
    assert any("row 5" in s and "'Subject'" in s and "read as 3" in s for s in said)
    assert any("row 6" in s and "'=VIS!P6' read as 'positive'" in s for s in said)
    assert any("row 2" in s and "read as 'negative'" in s for s in said)
    assert len(release.rows) == 6


def test_a_row_of_formulas_alone_is_not_lost(tmp_path):
    write_smic(tmp_path, trees=("long",))
    workbook = openpyxl.load_workbook(tmp_path / ANNOTATION)
    for cell in workbook["HS"][4][:9]:
        cell.value = f"=VIS!{cell.coordinate}+1" if cell.value is not None else None
    workbook.save(tmp_path / ANNOTATION)
    release = read(tmp_path, "long")
    assert "row 4" in one(release, "table").where
    assert release.version == "6 rows"
    assert "s1_sur_61" in one(release, "unlisted").where


@pytest.mark.parametrize("listed", [False, True])
def test_clips_that_hs_e_lacks(tmp_path, listed):
    write_smic(tmp_path, trees=("cropped", "long"), absent_listed=listed)
    assert len(read(tmp_path, "cropped").clips) == 10
    release = read(tmp_path, "long")
    assert len(release.clips) == len(release.rows) == 7
    told = [f.clip for f in found(release, "absent")]
    assert told == (["s3_ne_03", "s4_ne_05", "s9_sur_02"] if listed else [])
    assert not any(f.stops for f in release.findings)


def test_which_clips_hs_e_lacks():
    names = ("s3_ne_03", "s3_ne_20", "s4_ne_05", "s4_ne_06", "s9_sur_02")
    assert {table.clip_key(name) for name in names} == table.ABSENT


def test_a_listed_clip_without_a_folder_and_a_folder_that_is_not_listed(tmp_path):
    write_smic(tmp_path, trees=("long",))
    folder = tmp_path / LONG / "s11"
    (folder / "s11_sur_61").rename(folder / "s11_sur_62")
    release = read(tmp_path, "long")
    assert one(release, "folder").clip == "s11/s11_sur_61"
    assert "s11_sur_62" in one(release, "unlisted").where


def test_the_table_may_write_names_and_subjects_otherwise(tmp_path):
    write_smic(tmp_path, trees=("long",))
    edit_table(tmp_path / ANNOTATION, 5, "Filename", "s03_ne_61")
    edit_table(tmp_path / ANNOTATION, 5, "Subject", "s03")
    edit_table(tmp_path / ANNOTATION, 2, "Subject", "01")
    edit_table(tmp_path / ANNOTATION, 3, "Subject", None)
    edit_table(tmp_path / ANNOTATION, 4, "Emotion", "sur")
    release = read(tmp_path, "long")
    assert sorted(r.clip for r in release.rows) == sorted(c.long for c in IN_LONG)
    said = [str(f) for f in found(release, "repaired") if "calculated" not in f.text]
    assert len(said) == 2
    assert "row 3" in said[0] and "None read as 1" in said[0]
    assert "'s03_ne_61' read as the folder 's3_ne_61'" in said[1]


def test_wrong_rows_are_collected_and_named(tmp_path):
    write_smic(tmp_path, trees=("long",))
    for row, column, cell in (
        *((2, "OnsetF", "x"), (3, "Filename", "clip 3"), (4, "Subject", 7)),
        *((5, "OffsetF", "12 (?)"), (6, "Emotion", "joy")),
    ):
        edit_table(tmp_path / ANNOTATION, row, column, cell)
    release = read(tmp_path, "long")
    columns = ("OnsetF", "Filename", "Subject", "OffsetF", "Emotion")
    told = found(release, "table")
    for at, (finding, column) in enumerate(zip(told, columns, strict=True), start=2):
        assert f"{TABLE}, row {at}" in finding.where
        assert f"column '{column}'" in finding.where
    assert len(release.rows) == 1


def test_a_clip_twice_in_the_table(tmp_path):
    write_smic(tmp_path, trees=("long",))
    edit_table(tmp_path / ANNOTATION, 3, "Filename", "s1_ne_01")
    edit_table(tmp_path / ANNOTATION, 3, "Emotion", "negative")
    release = read(tmp_path, "long")
    assert one(release, "twice").clip == "s01/s1_ne_01"
    assert "s1_po_61" in one(release, "unlisted").where


def test_long_clips_without_annotation(tmp_path):
    write_smic(tmp_path, trees=("long",), table=False)
    release = read(tmp_path, "long")
    assert release.table == "folder names" and release.version == ""
    assert len(release.clips) == 6
    row = next(row for row in release.rows if row.clip == "s01/s1_ne_01")
    assert (row.onset, row.offset, row.emotion) == (559734, 559766, "negative")
    finding = one(release, "absent")
    assert "SMIC-HS-E_annotation" in finding.text and not finding.stops
    assert found(release, "long")


def test_wrong_annotations(tmp_path):
    write_smic(tmp_path, trees=("long",))
    path = tmp_path / ANNOTATION
    data = path.read_bytes()
    edit_table(path, 1, "OffsetF", "Offset")
    with pytest.raises(DatasetError, match="annotation.*missing OffsetF;"):
        read(tmp_path, "long")
    workbook = openpyxl.load_workbook(path)
    workbook["HS"].title = "Sheet1"
    workbook.save(path)
    with pytest.raises(DatasetError, match="expected a sheet 'HS', found VIS, Sheet1"):
        read(tmp_path, "long")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match="expected an xlsx workbook"):
        read(tmp_path, "long")


@pytest.mark.parametrize("edition", [157, 162])
def test_editions_of_the_annotation(tmp_path, edition):
    made = [MiniClip(f"s1_ne_{n:03d}", 100, 120, "") for n in range(101, 258)]
    if edition == 162:
        names = ("s3_ne_03", "s3_ne_20", "s4_ne_05", "s4_ne_06", "s9_sur_02")
        made += [MiniClip(name, 100, 120, "") for name in names]
    path = tmp_path / "SMIC-HS-E_annotation_2019.xlsx"
    write_smic_table(path, long_rows(made))
    assert table.find(tmp_path) == path
    rows, lines, findings = table.read(path, {})
    assert lines == edition and len(rows) == 157
    assert [f.kind for f in findings] == ["absent"] * (edition - 157)
