import shutil

import pytest

from data_builders import build, doctor
from data_builders.dfme.builder import Dfme
from data_builders.readers.findings import DatasetError
from tests.fixtures.dfme import (
    FULL_TREES,
    KINDS,
    PARTS,
    REPORTS,
    TABLES,
    write_dfme,
    write_dfme_full,
    write_full_table,
)
from tests.fixtures.findings import found, one


def read_full(root, config="full"):
    return Dfme.read(root, config)


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("config", ["full", "full_cropped"])
def test_features_of_every_clip_of_the_full_release(tmp_path, config, doubled):
    expected = write_dfme_full(tmp_path, doubled=doubled)
    release = read_full(tmp_path, config)
    tree = dict(zip(["full", "full_cropped"], FULL_TREES, strict=True))[config]
    assert Dfme.TREES[config].cropped == (config == "full_cropped")
    clips = {clip.row.clip: clip for clip in release.clips}
    assert len(clips) == len(release.rows) == len(expected) == 10
    assert release.splits == ("clips",) and release.version == "USTC_MEv4"
    assert release.table == "folder names"
    for mini in expected:
        clip = clips[mini.clip]
        row = clip.row
        assert (row.subject, row.emotion, row.fps) == (
            *(mini.subject, mini.emotion, mini.fps),
        )
        assert (row.onset, row.apex, row.offset) == (mini.first, None, mini.last)
        assert row.au_cell == ""
        part = tmp_path / mini.part / (mini.part if doubled else "")
        folder = part / tree / mini.emotion / mini.name
        assert clip.files == {
            n: folder / f"{n:05d}.png" for n in range(mini.first, mini.last + 1)
        }
        assert row.where == folder.relative_to(tmp_path).as_posix()
    kinds = {f.kind for f in release.findings}
    assert kinds == {"apex_missing", "assumed", "absent", "uncoded"}
    assert "without apex" in one(release, "absent").text


def test_parts_are_named_in_the_layout(tmp_path):
    write_dfme_full(tmp_path)
    layout = read_full(tmp_path).layout
    assert all(f"{part}/micro/" in layout for part, _ in PARTS)
    assert "croped" not in layout


def test_self_reports_of_every_form(tmp_path):
    names = [mini.name for mini in write_dfme_full(tmp_path)]
    rows = [row.clip.partition("/")[2] for row in read_full(tmp_path).rows]
    assert rows == names
    for report in REPORTS:
        assert any(f"-{report}-01-" in name for name in names)


def test_a_frame_rate_that_no_name_states_is_assumed_and_said(tmp_path):
    write_dfme_full(tmp_path)
    release = read_full(tmp_path)
    rates = {row.clip: row.fps for row in release.rows}
    assert list(rates.values())[-4:] == [500, 500, 200, 200]
    said = found(release, "assumed")
    assert [f.where.split("_")[2] for f in said] == ["partA", "partB", "partC"]
    assert all("500 assumed" in f.text and not f.stops for f in said)


@pytest.mark.parametrize(
    "part, text",
    [(PARTS[1], "part B with micro/"), (PARTS[4], "part D of 200 fps with micro/")],
)
def test_parts_that_are_not_there(tmp_path, part, text):
    write_dfme_full(tmp_path, parts=[p for p in PARTS if p != part])
    release = read_full(tmp_path)
    assert len(release.clips) == 8
    assert text in found(release, "absent")[0].text


def test_a_part_without_the_cropped_tree(tmp_path):
    write_dfme_full(tmp_path, parts=PARTS[:2])
    shutil.rmtree(tmp_path / PARTS[0][0] / FULL_TREES[1])
    assert len(read_full(tmp_path).clips) == 4
    release = read_full(tmp_path, "full_cropped")
    assert len(release.clips) == 2
    assert "part A with micro_static" in found(release, "absent")[0].text


def test_no_part_no_clip(tmp_path):
    with pytest.raises(DatasetError, match="expected folders such as USTC_MEv4_partA"):
        read_full(tmp_path)
    write_dfme_full(tmp_path, trees=("micro",))
    with pytest.raises(DatasetError, match="with micro_static_aligned_croped/anger/"):
        read_full(tmp_path, "full_cropped")
    for part, _ in PARTS:
        shutil.rmtree(tmp_path / part / "micro")
        (tmp_path / part / "micro").mkdir()
    with pytest.raises(DatasetError, match="expected clips such as .*micro/anger/sub"):
        read_full(tmp_path)


def folder_of(root, mini):
    return root / mini.part / "micro" / mini.emotion / mini.name


def test_folder_and_label_must_agree(tmp_path):
    mini = write_dfme_full(tmp_path)[0]
    folder = folder_of(tmp_path, mini)
    other = folder.parents[1] / "fear" / mini.name
    other.parent.mkdir()
    folder.rename(other)
    release = read_full(tmp_path)
    finding = one(release, "table")
    assert "name says anger, its folder fear" in finding.text
    assert finding.clip == mini.clip and str(other.relative_to(tmp_path)) in str(
        finding
    )
    assert mini.clip not in {row.clip for row in release.rows}


def test_names_that_are_no_clips(tmp_path):
    first, second = write_dfme_full(tmp_path)[:2]
    folder = folder_of(tmp_path, first)
    folder.rename(folder.with_name("sub9000_01"))
    top = folder_of(tmp_path, second).parents[1]
    (top / second.emotion).rename(top / "joy")
    (top / "fear").write_bytes(b"a file where a folder is expected")
    release = read_full(tmp_path)
    emotion, name = map(str, found(release, "table"))
    assert "sub9000_01: expected a name such as sub0003-03a-01-anger-01-anger" in name
    assert "joy: expected a folder named one of anger" in emotion
    assert one(release, "folder").where.endswith("micro/fear")


def test_full_folders_files_and_links_that_are_none(tmp_path):
    outside = tmp_path / "elsewhere"
    root = tmp_path / "DFME"
    clips = write_dfme_full(root)
    folders = [folder_of(root, clip) for clip in clips[:4]]
    shutil.rmtree(folders[0])
    folders[0].write_bytes(b"a file where a folder is expected")
    folders[1].rename(outside)
    folders[1].symlink_to(outside)
    for path in folders[2].glob("*.png"):
        path.unlink()
    (folders[3] / "frame.png").write_bytes(b"")
    release = read_full(root)
    stopped = {f.where.split(",")[0].split("/")[-1]: f for f in release.findings}
    kinds = [stopped[clip.name].kind for clip in clips[:4]]
    assert kinds == ["folder", "outside", "empty", "image"]
    assert "expected a frame number" in stopped[clips[3].name].text
    assert len(release.clips) == 6


def test_a_clip_of_two_parts(tmp_path):
    mini = write_dfme_full(tmp_path)[0]
    again = tmp_path / PARTS[1][0] / "micro" / mini.emotion / mini.name
    shutil.copytree(folder_of(tmp_path, mini), again)
    finding = one(read_full(tmp_path), "twice")
    assert finding.clip == mini.clip
    assert PARTS[1][0] in finding.where and PARTS[0][0] in finding.text


@pytest.mark.parametrize("config", ["full", "full_cropped"])
def test_a_table_of_the_clips_is_read(tmp_path, config):
    expected = write_dfme_full(tmp_path, table=True)
    release = read_full(tmp_path, config)
    assert release.table == "annotation.xlsx"
    assert {f.kind for f in release.findings} == {"assumed"}
    clips = {clip.row.clip: clip for clip in release.clips}
    for mini in expected:
        row = clips[mini.clip].row
        assert (row.onset, row.apex, row.offset) == (mini.onset, mini.apex, mini.offset)
        assert (row.fps, row.au_cell) == (mini.fps, str(mini.au_cell))
        assert row.emotion == mini.emotion and "annotation.xlsx, row" in row.where
        numbers = list(range(mini.onset, mini.offset + 1))
        assert list(clips[mini.clip].files) == numbers


def test_what_can_be_wrong_in_that_table(tmp_path):
    clips = write_dfme_full(tmp_path)
    rows = [
        [c.name, c.onset, c.apex, c.offset, c.emotion, 300, c.au_cell]
        for c in clips[:8]
    ]
    rows[0][1] = "x"
    rows[1][3] = rows[1][1] - 1
    rows[2][4] = "happiness"
    rows[3][5] = "fast"
    rows[4][6] = "4++7"
    rows[6][0] = rows[5][0]
    rows[7][0] = "sub9099-03a-01-anger-01-anger"
    write_full_table(tmp_path / "notes.xlsx", rows)
    release = read_full(tmp_path)
    columns = ("OnsetFrame", "OffsetFrame", "Emotion", "Fps", "AU")
    told = found(release, "table")
    for at, (finding, column) in enumerate(zip(told, columns, strict=True)):
        assert finding.where.startswith(f"notes.xlsx, row {at + 2}, clip")
        assert f"column {column!r}" in finding.where and finding.clip == clips[at].clip
    assert one(release, "twice").where.startswith("notes.xlsx, row 8")
    assert "sub9099" in one(release, "folder").where
    unlisted = [f for f in found(release, "assumed") if "not in the table" in f.text]
    assert {f.clip for f in unlisted} == {clip.clip for clip in clips[6:]}
    assert len(release.rows) == 5
    row = next(row for row in release.rows if row.clip == clips[5].clip)
    assert row.fps == 300


def test_tables_of_other_clips_are_passed_over_and_said(tmp_path):
    write_dfme(tmp_path)
    write_dfme_full(tmp_path)
    (tmp_path / "sheet.xlsx").write_bytes(b"no workbook")
    release = read_full(tmp_path)
    assert release.table == "folder names" and len(release.clips) == 10
    text = one(release, "absent").text
    assert all(f"{name}: no clip of the folders" in text for name in TABLES.values())
    broken = one(release, "table")
    assert broken.where == "sheet.xlsx" and "expected an xlsx workbook" in broken.text


def test_the_miniature_has_every_emotion(tmp_path):
    emotions = {mini.emotion for mini in write_dfme_full(tmp_path, trees=("micro",))}
    assert emotions == {name for name, _, _ in KINDS} | {"others"}
    assert {row.emotion for row in read_full(tmp_path).rows} == emotions


def test_a_clip_whose_name_is_no_text_is_named_and_can_be_left_out(tmp_path, capsys):
    root = tmp_path / "DFME"
    mini = write_dfme_full(root, trees=("micro",))[0]
    folder = folder_of(root, mini)
    parts = mini.name.split("-")
    parts[3] = "x\udcff"  # the byte FF, as Python says it
    folder.rename(folder.with_name("-".join(parts)))
    flags = ["--dataset=dfme/full", f"--manual_dir={root}", "--faces=none"]
    data = f"--data_dir={tmp_path / 'data'}"
    assert doctor.main(flags) == build.main([*flags, data]) == 1
    said = capsys.readouterr()
    assert "expected a name in UTF-8" in said.out and "x\\udcff" in said.out
    assert "expected a name in UTF-8" in said.err
    assert build.main([*flags, data, "--skip_bad"]) == 0
    assert build.main([*flags, data]) == 0  # it can be read back
    assert "clips        9\n" in capsys.readouterr().out
