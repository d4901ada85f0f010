import shutil
import time
from collections import Counter

import openpyxl
import pytest

from data_builders.readers.findings import DatasetError
from data_builders.readers.reader import locate_table
from data_builders.records.counts import differences, tally
from data_builders.records.encode import inspect, key_indices
from data_builders.samm import builder
from data_builders.samm.builder import Samm
from data_builders.tasks import tasks_of
from merclip_jax.facs import parse_cell
from tests.fixtures.samm import (
    AU_CELLS,
    NOTES,
    TABLE,
    edit_table,
    full_rows,
    write_samm,
    write_samm_table,
)
from tests.fixtures.workbook import listed


def kinds(release):
    return Counter(finding.kind for finding in release.findings)


def of_kind(release, kind):
    return [finding for finding in release.findings if finding.kind == kind]


def rows_of(path):
    rows, findings = listed(builder.TABLE, path)
    return {row.clip: row for row in rows}, findings


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """(folder, expected clips, release) of the miniature; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("samm")
    clips = write_samm(folder)
    return folder, clips, Samm.read(folder, "raw")


def test_the_miniature_is_written_fast(tmp_path):
    begin = time.process_time()
    write_samm(tmp_path)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("config", ["raw", "cropped"])
@pytest.mark.parametrize("plain", [False, True])
def test_features_of_every_clip(tmp_path, config, plain):
    expected = write_samm(tmp_path, tree=config, plain_names=plain, subjects=2)
    release = Samm.read(tmp_path, config)
    folder = {"raw": "SAMM", "cropped": "SAMM_CROP"}[config]
    assert release.dataset == "samm" and release.splits == ("clips",)
    assert release.layout == f"{folder}/ ({config})"
    assert release.table == TABLE and release.version == "2"
    assert [clip.row for clip in release.clips] == list(release.rows)
    found = {clip.row.clip: clip for clip in release.clips}
    assert list(found) == sorted(clip.clip for clip in expected)
    for number, clip in enumerate(expected, start=15):
        row = found[clip.clip].row
        assert row.where == f"{TABLE}, row {number}"
        assert (row.subject, row.split, row.fps) == (clip.subject, "clips", 200)
        frames = (clip.onset, clip.apex, clip.offset)
        assert (row.onset, row.apex, row.offset) == frames
        assert (row.emotion, row.au_cell) == (clip.emotion, str(clip.au_cell))
        top = tmp_path / folder / clip.subject / clip.name
        assert found[clip.clip].files == {
            n: top / (f"{n}.jpg" if plain else clip.file(n))
            for n in range(clip.onset, clip.offset + 1)
        }
    assert not any(finding.stops for finding in release.findings)
    assert set(kinds(release)) == {"apex_impossible", "repaired", "no_aus"}


def test_clips_lie_in_their_long_recordings(tmp_path):
    """SAMM Long Videos: 006_1/ holds what the table calls 006_1_2 and 006_1_3."""
    expected = write_samm(tmp_path, tree="long", subjects=1)
    release = Samm.read(tmp_path, "long")
    assert release.layout == "SAMM_longvideos/ (long)" and release.version == "2"
    found = {clip.row.clip: clip for clip in release.clips}
    assert set(found) == {clip.clip for clip in expected}
    for clip in expected:
        recording = clip.name.rpartition("_")[0]
        names = [path.name for path in found[clip.clip].files.values()]
        span = range(clip.onset, clip.offset + 1)
        assert names == [f"{recording}_{n:05d}.jpg" for n in span]
        assert clip.onset - 1 in found[clip.clip].around
    # Neither frames outside of a clip nor a recording without one is odd.
    assert set(kinds(release)) == {"apex_impossible", "repaired"}
    shutil.rmtree(tmp_path / "SAMM_longvideos" / "006_1")
    gone = of_kind(Samm.read(tmp_path, "long"), "folder")
    assert {finding.clip for finding in gone} == {"006/006_1_2", "006/006_1_3"}


def test_configs_and_what_a_build_is_told():
    assert list(Samm.builder_configs) == ["raw", "cropped", "long"]
    assert [n for n, t in Samm.TREES.items() if t.cropped] == [
        "cropped"
    ] and Samm.SIZE == 256
    assert str(Samm.VERSION) == "1.0.0"
    words = Samm.MANUAL_DOWNLOAD_INSTRUCTIONS
    assert TABLE in words and Samm.HOMEPAGE in words
    assert "--dataset=samm/raw --manual_dir=" in words


def test_pictures_are_not_opened_and_grey_ones_can_be_read(mini, tmp_path):
    _, _, release = mini
    assert not [f for clip in release.clips for f in inspect("samm", clip)[1]]
    write_samm(tmp_path, subjects=1)
    for path in (tmp_path / "SAMM").rglob("*.jpg"):
        path.write_bytes(b"")
    assert len(Samm.read(tmp_path, "raw").clips) == 11


def test_names_are_padded_to_four_or_five_digits(mini):
    _, _, release = mini
    files = {clip.row.clip: list(clip.files.values()) for clip in release.clips}
    assert files["006/006_1_2"][0].name == "006_05562.jpg"
    assert files["006/006_1_3"][0].name == "006_3912.jpg"


def test_the_header_is_found_by_its_names(tmp_path):
    path, rows = tmp_path / TABLE, full_rows()
    for notes, blank in ((NOTES, False), (NOTES, True), ((), False), (NOTES * 2, True)):
        write_samm_table(path, rows, notes=notes, blank=blank)
        found, findings = rows_of(path)
        assert len(found) == 159 and len(findings) == 1
        first = found["028/028_4_1"]
        assert first.where == f"{TABLE}, row {len(notes) + 2}"


def test_duration_is_a_formula_and_not_read(mini):
    folder, _, _ = mini
    sheet = openpyxl.load_workbook(folder / TABLE)["MICRO_ONLY"]
    assert [cell.value for cell in sheet[14]][0] == "Subject"
    assert sheet["G15"].value == "=SUM(F15-D15)+1"
    assert "Duration" not in builder.TABLE.columns.needed


@pytest.mark.parametrize("value", [6, 6.0, "6", "006", " 006 "])
def test_a_subject_is_three_digits_of_text(mini, tmp_path, value):
    shutil.copy(mini[0] / TABLE, tmp_path / TABLE)
    edit_table(tmp_path / TABLE, 15, "Subject", value)
    rows, findings = rows_of(tmp_path / TABLE)
    assert rows["006/006_1_2"].subject == "006" and len(findings) == 1


def test_labels_are_capitalised_and_other_is_others(mini):
    _, clips, release = mini
    assert {"Other", "Anger", "Sadness"} <= {clip.label for clip in clips}
    emotions = Counter(row.emotion for row in release.rows)
    assert emotions["others"] == 3 and set(emotions) == set(
        builder.TABLE.editions[0].emotions
    )


def test_the_apex_behind_the_offset_is_no_apex(mini):
    _, _, release = mini
    (found,) = of_kind(release, "apex_impossible")
    assert found.clip == "028/028_4_1" and f"{TABLE}, row 17" in found.where
    assert found.text == "apex 1143 outside 1090..1134; midpoint taken"
    clip = next(clip for clip in release.clips if clip.row.clip == found.clip)
    row, numbers = clip.row, list(clip.files)
    assert key_indices(numbers, row.onset, row.apex, row.offset) == (22, False)


@pytest.mark.parametrize("apex", [1100, 1103, 1105, 1113, 1124])
def test_a_copy_with_another_apex_is_read_as_it_stands(tmp_path, apex):
    write_samm(tmp_path, subjects=0, apex_028=apex, apex_032=4930)
    release = Samm.read(tmp_path, "raw")
    row = next(row for row in release.rows if row.clip == "028/028_4_1")
    assert row.apex == apex and not release.findings


def test_the_apex_before_the_onset_is_put_right_and_told(mini, tmp_path):
    _, _, release = mini
    (found,) = of_kind(release, "repaired")
    assert found.clip == "032/032_3_1" and not found.stops
    assert found.where == f"{TABLE}, row 18, clip '032/032_3_1', column 'Apex Frame'"
    assert found.text == "1930 in the table, read as 4930"
    row = next(row for row in release.rows if row.clip == found.clip)
    assert row.apex == 4930
    # The same number in another row, or another number in this one, is not touched.
    shutil.copy(mini[0] / TABLE, tmp_path / TABLE)
    edit_table(tmp_path / TABLE, 18, "Apex Frame", 1931)
    edit_table(tmp_path / TABLE, 19, "Apex Frame", 1930)
    rows, findings = rows_of(tmp_path / TABLE)
    assert not findings and rows["032/032_3_1"].apex == 1931
    assert rows["032/032_3_2"].apex == 1930


def test_an_apex_one_frame_after_the_onset_is_one(mini):
    _, _, release = mini
    row = next(row for row in release.rows if row.clip == "032/032_3_2")
    assert row.apex == row.onset + 1
    assert key_indices(range(5101, 5121), 5101, 5102, 5120) == (1, True)
    assert not [f for f in release.findings if f.clip == row.clip]


AUS = {
    "ref(7B)": [(7, "", "B", True)],
    "A/L12": [(12, "A/L", "", False)],
    "(R6 or R12)+R15": [(n, "R", "", False) for n in (6, 12, 15)],
    "L12 or L14": [(12, "L", "", False), (14, "L", "", False)],
    "soft focus": [],
    "A7": [(7, "A", "", False)],
    "7A": [(7, "", "A", False)],
    "4A/B": [(4, "", "A/B", False)],
    "T18+39": [(18, "T", "", False), (39, "", "", False)],
    "L12 + 61": [(12, "L", "", False), (61, "", "", False)],
    "12A+6B": [(12, "", "A", False), (6, "", "B", False)],
    "4": [(4, "", "", False)],
}


def test_au_cells_keep_side_grade_and_doubt(mini):
    _, _, release = mini
    cells = {row.au_cell for row in release.rows}
    assert {str(cell) for cell in AU_CELLS} <= cells and set(AUS) <= cells
    for cell, expected in AUS.items():
        found = [
            (a.number, a.side, a.intensity, a.uncertain) for a in parse_cell(cell).aus
        ]
        assert found == expected, cell
    assert not of_kind(release, "unknown_au")


@pytest.mark.parametrize("folder", ["samm", "SAMM/SAMM", "release of 2018/frames", "."])
def test_the_tree_is_found_by_what_it_holds(tmp_path, folder):
    write_samm(tmp_path, folder=folder, subjects=1)
    shutil.copytree(tmp_path / folder / "041", tmp_path / "__MACOSX" / "SAMM" / "041")
    release = Samm.read(tmp_path, "raw")
    assert len(release.clips) == 11
    assert release.layout == f"{folder}/ (raw)"


def test_the_owners_name_goes_first(tmp_path):
    write_samm(tmp_path, subjects=1)
    shutil.copytree(tmp_path / "SAMM" / "041", tmp_path / "A copy" / "041")
    assert Samm.read(tmp_path, "raw").layout == "SAMM/ (raw)"


def test_camera_frames_and_crops_are_not_mixed_up(tmp_path):
    home = tmp_path / "samm_cropped_and_raw"
    write_samm(home, tree="cropped", subjects=1)
    with pytest.raises(DatasetError, match=r"expected a folder SAMM/ .*\(samm/raw"):
        Samm.read(home, "raw")
    assert Samm.read(home / "..", "cropped").layout.endswith("SAMM_CROP/ (cropped)")
    write_samm(home, tree="raw", subjects=1)
    for config, folder in (("raw", "SAMM"), ("cropped", "SAMM_CROP")):
        assert Samm.read(home, config).layout == f"{folder}/ ({config})"
    shutil.move(home / TABLE, home / "SAMM_CROP")
    assert Samm.read(home / "SAMM_CROP", "cropped").layout == "./ (cropped)"
    with pytest.raises(DatasetError, match="expected a folder SAMM/"):
        Samm.read(home / "SAMM_CROP", "raw")


def test_a_full_table_counts_as_published(tmp_path):
    write_samm_table(tmp_path / TABLE, full_rows())
    rows, findings = listed(builder.TABLE, tmp_path / TABLE)
    assert len(rows) == 159 and len({row.subject for row in rows}) == 29
    assert [finding.kind for finding in findings] == ["repaired"]
    facts = [
        (row.split, f"samm/{row.subject}", f"samm/{row.clip}", row.emotion)
        for row in rows
    ]
    tasks = tasks_of("samm")
    assert list(tasks) == ["samm_5class", "samm_3class", "samm_3class_released"]
    for name, task in tasks.items():
        assert differences(task, tally(task, facts)) == [], name


def test_a_full_table_must_add_up_and_has_its_folders(tmp_path):
    rows = full_rows()
    for subject, name, *_ in rows:
        (tmp_path / "SAMM" / subject / name).mkdir(parents=True)
    write_samm_table(tmp_path / TABLE, rows)
    found = kinds(Samm.read(tmp_path, "raw"))
    assert found["empty"] == 159
    assert not found.keys() & {"counts", "folder", "unlisted", "twice"}
    write_samm_table(tmp_path / TABLE, [*rows[:-1], (*rows[-1][:-1], "Anger")])
    (wrong,) = of_kind(Samm.read(tmp_path, "raw"), "counts")
    assert wrong.stops and TABLE in wrong.where and "'anger': 58" in wrong.text


def test_wrong_cells_are_collected(tmp_path):
    write_samm(tmp_path, subjects=2)
    path = tmp_path / TABLE
    wrong = [
        (15, "Subject", "S6", "expected a number such as 006, found 'S6'"),
        (16, "Filename", None, "expected a name, found None"),
        (18, "Filename", "033_3_1", "clip of subject 032, such as 032_1_2, found"),
        (19, "Onset Frame", "x", "expected a whole number, found 'x'"),
        (20, "Offset Frame", 3, "expected a frame number from"),
        (21, "Action Units", "4+x", "AU cell '4+x', character 3"),
        (22, "Estimated Emotion", "Joy", "one of anger, contempt, disgust"),
        (23, "Offset Frame", None, "expected a whole number, found None"),
        (24, "Subject", None, "expected a number such as 006, found None"),
    ]
    for row, column, value, _ in wrong:
        edit_table(path, row, column, value)
    edit_table(path, 25, "Apex Frame", "/")
    release = Samm.read(tmp_path, "raw")
    found = of_kind(release, "table")
    for (row, column, _, words), finding in zip(wrong, found, strict=True):
        assert f"{TABLE}, row {row}, clip " in finding.where
        assert f"column {column!r}" in finding.where and words in finding.text
    assert len(release.clips) == 17 - len(wrong)
    row = next(row for row in release.rows if row.where == f"{TABLE}, row 25")
    assert row.apex is None
    assert row.clip in {finding.clip for finding in of_kind(release, "apex_missing")}
    # A folder whose row is there but cannot be read is not called unlisted.
    names = ("041/041_1_2", "041/041_1_3")
    assert not [f for f in of_kind(release, "unlisted") if f.clip in names]


def test_a_renamed_column_is_named(mini, tmp_path):
    shutil.copy(mini[0] / TABLE, tmp_path / TABLE)
    edit_table(tmp_path / TABLE, 14, "Apex Frame", "Peak")
    with pytest.raises(DatasetError, match=f"{TABLE}: .*missing Apex Frame"):
        listed(builder.TABLE, tmp_path / TABLE)


def test_no_table_or_half_of_one(mini, tmp_path):
    (tmp_path / "SAMM").mkdir()
    (tmp_path / f"._{TABLE}").write_bytes(b"left by macOS")
    (tmp_path / TABLE.replace(".xlsx", ".pdf")).write_bytes(b"")
    with pytest.raises(DatasetError, match=f"expected the coding table {TABLE}"):
        Samm.read(tmp_path, "raw")
    whole = (mini[0] / TABLE).read_bytes()
    (tmp_path / TABLE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=f"{TABLE}: expected an xlsx workbook"):
        Samm.read(tmp_path, "raw")
    (tmp_path / TABLE).unlink()
    (tmp_path / "deep" / TABLE).mkdir(parents=True)
    with pytest.raises(DatasetError, match="expected the coding table"):
        Samm.read(tmp_path, "raw")


def test_the_table_may_lie_deeper_or_be_saved_under_another_name(mini, tmp_path):
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables" / "samm_micro_facs_codes_v2 (1).xlsx"
    shutil.copy(mini[0] / TABLE, path)
    assert locate_table(builder.TABLE, tmp_path)[0] == path
    assert len(listed(builder.TABLE, path)[0]) == 23


def test_no_tree(mini, tmp_path):
    shutil.copy(mini[0] / TABLE, tmp_path / TABLE)
    for name in ("SAMM", "SAMM/006", "SAMM_longvideos/006_1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "007").write_bytes(b"a file, not a folder")
    for number in range(300):  # a long recording is no tree, whatever it holds
        (tmp_path / "SAMM_longvideos" / "006_1" / f"006_{number}.jpg").touch()
    with pytest.raises(DatasetError, match=r"expected a folder SAMM/ with 006/006_1"):
        Samm.read(tmp_path, "raw")


def test_what_is_wrong_in_the_tree_is_named(tmp_path):
    root = tmp_path / "samm"
    clips = {clip.clip: clip for clip in write_samm(root, subjects=1)}
    top = root / "SAMM"
    shutil.rmtree(top / "006" / "006_1_2")
    (top / "006" / "006_1_2").write_bytes(b"a file, not a folder")
    for path in (top / "006" / "006_1_3").iterdir():
        path.unlink()
    (top / "028" / "028_4_1").rename(tmp_path / "elsewhere")
    (top / "028" / "028_4_1").symlink_to(tmp_path / "elsewhere")
    clip = clips["041/041_1_1"]
    (top / clip.clip / clip.file(clip.apex)).unlink()
    (top / "041" / "041_9_9").mkdir()
    shutil.copy(
        top / clip.clip / clip.file(clip.onset), top / clip.clip / "041_0007.jpg"
    )
    clip = clips["041/041_1_2"]
    first = top / clip.clip / clip.file(clip.onset)
    shutil.copy(first, first.with_name(f"041_0{clip.onset:05d}.jpg"))
    edit_table(root / TABLE, 19, "Filename", "032_3_1")
    release = Samm.read(root, "raw")
    found = {f.kind: f for f in release.findings}
    assert found["folder"].clip == "006/006_1_2"
    assert found["empty"].clip == "006/006_1_3" and "0 of them" in found["empty"].text
    assert found["outside"].clip == "028/028_4_1"
    assert "leads out of the dataset's folder" in found["outside"].text
    assert found["missing"].clip == "041/041_1_1"
    assert (
        found["extra"].clip == "041/041_1_1"
        and "1 frame outside" in found["extra"].text
    )
    assert found["twice"].clip == "032/032_3_1"
    assert found["twice"].where.startswith(f"{TABLE}, row 19")
    assert f"{TABLE}, row 18" in found["twice"].text
    assert found["image"].clip == "041/041_1_2" and " is also " in found["image"].text
    unlisted = {f.clip: f for f in of_kind(release, "unlisted")}
    assert set(unlisted) == {"041/041_9_9", "032/032_3_2"}
    assert unlisted["041/041_9_9"].where == str(top / "041" / "041_9_9")
    stopped = {f.clip for f in release.findings if f.stops} - {"032/032_3_1"}
    built = {clip.row.clip for clip in release.clips}
    assert built == {clip for clip in clips if clip not in stopped} - {"032/032_3_2"}


def test_a_picture_that_is_a_link_out_of_the_folder(tmp_path):
    clip = write_samm(tmp_path / "samm", subjects=0)[0]
    path = tmp_path / "samm" / "SAMM" / clip.clip / clip.file(clip.onset)
    path.rename(tmp_path / "away.jpg")
    path.symlink_to(tmp_path / "away.jpg")
    (found,) = of_kind(Samm.read(tmp_path / "samm", "raw"), "outside")
    assert found.clip == clip.clip and path.name in found.text
