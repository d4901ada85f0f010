import shutil
import time
from collections import Counter

import openpyxl
import pytest

from data_builders.casme3 import builder
from data_builders.casme3.builder import Casme3
from data_builders.readers.findings import DatasetError
from data_builders.readers.reader import locate_table
from data_builders.records import counts
from data_builders.records.counts import differences, tally
from data_builders.records.encode import inspect, key_indices
from data_builders.tasks import TASKS, tasks_of
from merclip_jax.facs import parse_cell
from tests.fixtures.casme3 import (
    BROKEN,
    HEADER,
    NO_EMOTIONS,
    OLD_TABLE,
    TABLE,
    edit_table,
    full_rows,
    write_casme3,
    write_casme3_table,
)
from tests.fixtures.workbook import listed

FRAMES = {"clips": "Part_A_ME_clip/frame", "videos": "part_A"}


def of_kind(release, kind):
    return [finding for finding in release.findings if finding.kind == kind]


def built(release):
    return {clip.row.clip: clip for clip in release.clips}


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """config -> (folder, expected clips, release); tests leave them as they are."""
    found = {}
    for config in FRAMES:
        folder = tmp_path_factory.mktemp(config)
        clips = write_casme3(folder, tree=config)
        found[config] = (folder, clips, Casme3.read(folder, config))
    return found


def test_the_miniature_is_written_fast(tmp_path):
    begin = time.process_time()
    write_casme3(tmp_path)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("config", list(FRAMES))
def test_features_of_every_clip(mini, config):
    folder, expected, release = mini[config]
    assert release.dataset == "casme3" and release.splits == ("clips",)
    assert release.layout == f"{FRAMES[config]}/ ({config})"
    assert release.table == TABLE and release.version == "2"
    found = built(release)
    assert [row.clip for row in release.rows] == list(found)
    assert list(found) == sorted(clip.clip for clip in expected)
    for number, clip in enumerate(expected, start=2):
        row = found[clip.clip].row
        assert row.where == f"{TABLE}, row {number}"
        assert (row.subject, row.split, row.fps) == (clip.subject, "clips", 30)
        frames = (clip.onset, clip.apex, clip.offset)
        assert (row.onset, row.apex, row.offset) == frames
        assert (row.emotion, row.au_cell) == (clip.emotion, clip.cells[5])
        subject, video, onset = clip.cells[:3]
        top = folder / FRAMES[config] / f"{subject}_{video}_{onset}"
        if config == "videos":
            top = folder / FRAMES[config] / subject / video / "color"
        files = {number: top / f"{number}.jpg" for number in clip.numbers}
        assert found[clip.clip].files == files
    assert not any(finding.stops for finding in release.findings)


def test_configs_and_what_a_build_is_told():
    assert list(Casme3.builder_configs) == ["clips", "videos"]
    assert not any(t.cropped for t in Casme3.TREES.values()) and Casme3.SIZE == 224
    assert str(Casme3.VERSION) == "1.1.0"
    words = Casme3.MANUAL_DOWNLOAD_INSTRUCTIONS
    assert TABLE in words and Casme3.HOMEPAGE in words
    assert "--dataset=casme3/clips --manual_dir=" in words


def test_pictures_are_not_opened_and_can_be_read(mini, tmp_path):
    _, expected, release = mini["clips"]
    for name in (expected[0].clip, "spNO.14/J_52", "spNO.216/e_0"):
        assert not inspect("casme3", built(release)[name])[1]
    write_casme3(tmp_path, subjects=1, broken=False)
    for path in (tmp_path / "Part_A_ME_clip").rglob("*.jpg"):
        path.write_bytes(b"")
    assert len(Casme3.read(tmp_path, "clips").clips) == 8


def test_an_unreadable_picture_is_found_when_it_is_decoded(tmp_path):
    clip = write_casme3(tmp_path, subjects=1, broken=False)[7]
    damaged = built(Casme3.read(tmp_path, "clips"))[clip.clip]
    path = damaged.files[clip.apex]
    path.write_bytes(path.read_bytes()[:60])
    (found,) = inspect("casme3", damaged)[1]
    assert found.kind == "image" and str(path) in found.where


def test_cells_are_text_and_columns_go_by_name(mini, tmp_path):
    folder, clips, release = mini["clips"]
    sheet = openpyxl.load_workbook(folder / TABLE)["label"]
    assert all(isinstance(cell, str) for row in sheet.values for cell in row)
    # Saved again: numbers, a blank column, other order, blanks around names and cells.
    workbook = openpyxl.Workbook()
    order = [7, None, *range(7)]
    for line in sheet.values:
        cells = [None if at is None else line[at] for at in order]
        workbook.active.append(
            [float(c) if c and c.isdecimal() else c and f" {c} " for c in cells]
        )
    workbook.save(tmp_path / TABLE)
    rows, _ = listed(builder.TABLE, tmp_path / TABLE)
    facts = [(r.clip, r.onset, r.apex, r.offset, r.emotion) for r in rows]
    assert facts == [(c.clip, c.onset, c.apex, c.offset, c.emotion) for c in clips]


def test_the_superseded_table_is_never_taken(tmp_path):
    write_casme3(tmp_path, subjects=1, broken=False)
    assert (tmp_path / OLD_TABLE).exists() and (tmp_path / NO_EMOTIONS).exists()
    shutil.copy(tmp_path / TABLE, tmp_path / OLD_TABLE.replace(".xls", ".xlsx"))
    shutil.copy(tmp_path / TABLE, tmp_path / "v1.xlsx")
    shutil.copy(tmp_path / TABLE, tmp_path / NO_EMOTIONS.replace(".xls", ".xlsx"))
    assert Casme3.read(tmp_path, "clips").table == TABLE
    (tmp_path / TABLE).unlink()
    with pytest.raises(DatasetError, match="v2.xlsx .v1.xls beside it is superseded"):
        Casme3.read(tmp_path, "clips")


def test_the_table_may_lie_in_the_owners_repository(tmp_path):
    write_casme3(tmp_path, subjects=1, broken=False)
    place = tmp_path / "CAS-ME-3" / "annotation" / "partA"
    place.mkdir(parents=True)
    shutil.move(tmp_path / TABLE, place)
    assert locate_table(builder.TABLE, tmp_path)[0] == place / TABLE


def test_clip_ids_are_the_tables_values(mini):
    for _, _, release in mini.values():
        found = built(release)
        names = {"spNO.216/d_3647", "spNO.216/e_0", "spNO.40/e_1812", "spNO.14/J_52"}
        assert names <= set(found)
        assert found["spNO.216/d_3647"].row.onset == 2647
    excluded = {
        n.removeprefix("casme3/") for n in TASKS["casme3_7class_released"].excluded
    }
    assert len(excluded & set(found)) == 3  # the fourth is a corrected copy's name


def test_labels_fold_into_seven(mini):
    _, clips, release = mini["clips"]
    assert {"Others", "others", "sad", "happy"} <= {clip.cells[6] for clip in clips}
    assert {row.emotion for row in release.rows} == set(
        builder.TABLE.editions[0].emotions
    )


REPAIRED = {
    "spNO.149/d_112": ["column 'Apex': 83 in the table, read as 160"],
    "spNO.216/d_3647": ["column 'Onset': 3647 in the table, read as 2647"],
    "spNO.216/e_0": [
        "column 'Onset': 0 in the table, read as 1",
        "column 'Apex': 0 in the table, read as 1",
    ],
    "spNO.40/e_1812": ["column 'Offset': 0 in the table, read as 1845"],
    "spNO.40/e_2327": ["column 'Offset': 0 in the table, read as 2403"],
    "spNO.214/c_5": ["column 'Offset': 3460 in the table, read as 34"],
}


@pytest.mark.parametrize("config", list(FRAMES))
@pytest.mark.parametrize("clip", list(REPAIRED))
def test_a_broken_row_is_repaired_and_told(mini, config, clip):
    _, expected, release = mini[config]
    found = [
        finding for finding in of_kind(release, "repaired") if finding.clip == clip
    ]
    number = next(i for i, c in enumerate(expected, start=2) if c.clip == clip)
    where = f"{TABLE}, row {number}, clip {clip!r}, "
    assert [str(f) for f in found] == [where + words for words in REPAIRED[clip]]
    right = next(
        frames
        for cells, frames in BROKEN
        if clip.startswith(cells[0]) and (clip.endswith(f"{cells[1]}_{cells[2]}"))
    )
    row = built(release)[clip].row
    assert (row.onset, row.apex, row.offset) == right


def test_nothing_else_is_repaired(mini, tmp_path):
    for _, _, release in mini.values():
        assert {f.clip for f in of_kind(release, "repaired")} == set(REPAIRED)
    # The same numbers in another row, or other numbers in these rows, stay.
    write_casme3_table(
        tmp_path / TABLE,
        [
            ("spNO.301", "d", "112", "83", "358", "4", "disgust"),
            ("spNO.149", "d", "112", "167", "358", "4", "disgust"),
            ("spNO.40", "e", "1812", "1824", "1840", "24", "others"),
            ("spNO.40", "e", "1900", "1910", "0", "24", "others"),
        ],
    )
    rows, findings = listed(builder.TABLE, tmp_path / TABLE)
    frames = [(row.onset, row.apex, row.offset) for row in rows]
    assert frames == [(112, 83, 358), (112, 167, 358), (1812, 1824, 1840)]
    (wrong,) = findings
    assert wrong.kind == "table" and wrong.clip == "spNO.40/e_1900"
    assert "column 'Offset'" in wrong.where
    assert wrong.text == "expected a frame number from 1900 on, found '0'"


def test_an_apex_on_the_onset_means_missing(mini):
    _, clips, release = mini["clips"]
    first, short = clips[0], clips[2]
    assert first.apex == first.onset
    missing = {finding.clip for finding in of_kind(release, "apex_missing")}
    assert missing == {first.clip, "spNO.216/e_0", "spNO.214/c_5"}
    clip = built(release)[first.clip]
    index, valid = key_indices(
        list(clip.files), first.onset, clip.row.apex, first.offset
    )
    assert not valid and index == (first.offset - first.onset) // 2
    assert {f.clip for f in of_kind(release, "short")} == {short.clip}


def test_frames_that_dropped_out_are_told(mini):
    for _, clips, release in mini.values():
        clip = clips[1]
        (found,) = of_kind(release, "missing")
        total = clip.offset - clip.onset + 1
        assert (
            found.clip == clip.clip and found.text == f"{total - 3} of {total} frames"
        )
        assert list(built(release)[clip.clip].files) == clip.numbers


def test_frames_outside_are_odd_in_a_clip_and_not_in_a_video(mini):
    (found,) = of_kind(mini["clips"][2], "extra")
    assert found.clip == "spNO.214/c_5" and found.text == "26 frames outside 5..34"
    assert not of_kind(mini["videos"][2], "extra")
    assert not of_kind(mini["videos"][2], "unlisted")


def test_long_clips_are_told(mini):
    _, _, release = mini["clips"]
    long = {f.clip: f.text for f in of_kind(release, "long")}
    assert long["spNO.149/d_112"] == "112..358 are 8.23 s at 30 per s"


def test_several_clips_share_a_video(mini):
    clips = built(mini["videos"][2])
    one, other = clips["spNO.40/e_1812"], clips["spNO.40/e_2327"]
    assert one.files[1812].parent == other.files[2327].parent
    assert not set(one.files) & set(other.files)


def test_au_cells_keep_their_order(mini):
    cells = {row.au_cell for row in mini["clips"][2].rows}
    assert {"2+1", "1+2", "T18", "14+B25", "38"} <= cells
    assert [a.number for a in parse_cell("2+1").aus] == [2, 1]
    assert not of_kind(mini["clips"][2], "unknown_au")


@pytest.mark.parametrize("spelling", ["spNo.", "SPNO."])
@pytest.mark.parametrize("config", list(FRAMES))
@pytest.mark.parametrize("doubled", [False, True])
def test_letter_case_and_doubled_folders(tmp_path, spelling, config, doubled):
    expected = write_casme3(
        tmp_path, tree=config, spelling=spelling, doubled=doubled, subjects=1
    )
    release = Casme3.read(tmp_path, config)
    assert set(built(release)) == {clip.clip for clip in expected}
    assert {row.subject[:5] for row in release.rows} == {"spNO."}
    layout = FRAMES[config]
    if doubled:
        layout = {
            "clips": "Part_A_ME_clip/Part_A_ME_clip/frame",
            "videos": "part_A/data/part_A",
        }[config]
    assert release.layout == f"{layout}/ ({config})"


def test_a_repaired_onset_has_its_folder_under_either(tmp_path):
    write_casme3(tmp_path, subjects=0, right_onset=True)
    top = tmp_path / "Part_A_ME_clip" / "frame"
    assert (top / "spNO.216_d_2647").is_dir() and (top / "spNO.216_e_1").is_dir()
    release = Casme3.read(tmp_path, "clips")
    assert len(release.clips) == 7 and not of_kind(release, "unlisted")
    files = built(release)["spNO.216/d_3647"].files
    assert files[2647].parent.name == "spNO.216_d_2647"
    # The table's goes first; the other is then a folder that no row lists.
    shutil.copytree(top / "spNO.216_d_2647", top / "spNO.216_d_3647")
    release = Casme3.read(tmp_path, "clips")
    files = built(release)["spNO.216/d_3647"].files
    assert files[2647].parent.name == "spNO.216_d_3647"
    (found,) = of_kind(release, "unlisted")
    assert found.clip == "spno.216/d_2647"


def test_a_video_in_capitals(tmp_path):
    write_casme3(tmp_path, tree="videos", subjects=0, broken=False)
    capital = tmp_path / "part_A" / "spNO.14" / "J"
    small = capital.with_name("j")

    def folder():
        (clip,) = Casme3.read(tmp_path, "videos").clips
        return clip.files[52].parent.parent.name

    assert folder() == "J"
    shutil.copytree(capital, small)
    assert folder() == "J"
    edit_table(tmp_path / TABLE, 2, "Filename", "j")
    assert folder() == "j"
    shutil.rmtree(small)
    assert folder() == "J"
    capital.rename(small)
    edit_table(tmp_path / TABLE, 2, "Filename", "J")
    assert folder() == "j"
    (small / "color").rename(small / "Color")
    assert folder() == "j"


def test_clips_that_differ_in_letter_case_alone_are_one_twice(tmp_path):
    row = ("spNO.14", "J", "52", "60", "71", "R12", "others")
    write_casme3(tmp_path, subjects=0, broken=False)
    write_casme3_table(tmp_path / TABLE, [row, ("spNO.14", "j", *row[2:])])
    (found,) = of_kind(Casme3.read(tmp_path, "clips"), "twice")
    assert f"{TABLE}, row 3, clip spNO.14/j_52" in found.where
    assert f"{TABLE}, row 2" in found.text


def test_depth_is_not_taken_for_colour(tmp_path):
    write_casme3(tmp_path, subjects=1, broken=False)
    release = Casme3.read(tmp_path, "clips")
    assert {p.suffix for c in release.clips for p in c.files.values()} == {".jpg"}
    shutil.rmtree(tmp_path / "Part_A_ME_clip" / "frame")
    with pytest.raises(DatasetError, match="expected a folder Part_A_ME_clip/frame/"):
        Casme3.read(tmp_path, "clips")


@pytest.mark.parametrize("config", list(FRAMES))
def test_trees_under_other_names_and_other_parts(tmp_path, config):
    write_casme3(tmp_path / "x", tree=config, subjects=1, broken=False)
    found = Casme3.read(tmp_path / "x", config)
    top = tmp_path / "x" / FRAMES[config].split("/")[0]
    shutil.copytree(top, top.with_name("A part_B"))  # sorts first
    assert Casme3.read(tmp_path / "x", config).layout == found.layout
    shutil.rmtree(top)
    layout = f"A part_B{FRAMES[config].removeprefix(top.name)}/ ({config})"
    assert Casme3.read(tmp_path / "x", config).layout == layout


def test_a_full_table_counts_as_published(tmp_path):
    write_casme3_table(tmp_path / TABLE, full_rows())
    rows, findings = listed(builder.TABLE, tmp_path / TABLE)
    assert len(rows) == 860 and len({row.subject for row in rows}) == 94
    assert len({row.clip for row in rows}) == 860
    assert Counter(finding.kind for finding in findings) == {"repaired": 7}
    assert sum(row.apex == row.onset for row in rows) == 55
    facts = [
        (row.split, f"casme3/{row.subject}", f"casme3/{row.clip}", row.emotion)
        for row in rows
    ]
    tasks = tasks_of("casme3")
    assert list(tasks) == [
        *("casme3_7class", "casme3_7class_released", "casme3_4class"),
        *("casme3_4class_released", "casme3_3class"),
    ]
    for name, task in tasks.items():
        assert differences(task, tally(task, facts)) == [], name
        assert sum(sum(c) for c in task.counts.values()) == (
            699 if name == "casme3_3class" else 857 if "released" in name else 860
        )


def test_a_full_table_must_add_up_and_has_its_folders(tmp_path):
    rows = full_rows()
    for subject, video, onset, *_ in rows:
        name = f"{subject.replace('NO', 'No')}_{video}_{onset}"
        (tmp_path / "Part_A_ME_clip" / "frame" / name).mkdir(parents=True)
    write_casme3_table(tmp_path / TABLE, rows)
    found = Counter(f.kind for f in Casme3.read(tmp_path, "clips").findings)
    assert found["empty"] == 860
    assert not found.keys() & {"counts", "folder", "unlisted", "twice"}
    write_casme3_table(tmp_path / TABLE, [*rows[:-1], (*rows[-1][:-1], "fear")])
    (wrong,) = of_kind(Casme3.read(tmp_path, "clips"), "counts")
    assert wrong.stops and TABLE in wrong.where and "'fear': 87" in wrong.text


def test_wrong_cells_are_collected(tmp_path):
    write_casme3(tmp_path, subjects=2)
    wrong = [
        (2, "Subject", "spNo.301", "expected a name such as spNO.1, found 'spNo.301'"),
        (3, "Filename", "../a", "expected the letter of a video, found '../a'"),
        (4, "Onset", "x", "expected a whole number, found 'x'"),
        (5, "Offset", "3", "expected a frame number from"),
        (6, "AU", "4+x", "AU cell '4+x', character 3"),
        (7, "emotion", "joy", "one of anger, disgust, fear"),
        (8, "Offset", None, "expected a whole number, found None"),
        (9, "emotion", None, "found None"),
    ]
    for row, column, value, _ in wrong:
        edit_table(tmp_path / TABLE, row, column, value)
    edit_table(tmp_path / TABLE, 10, "Apex", "?")
    release = Casme3.read(tmp_path, "clips")
    found = of_kind(release, "table")
    for (row, column, _, words), finding in zip(wrong, found, strict=True):
        assert f"{TABLE}, row {row}, clip " in finding.where
        assert f"column {column!r}" in finding.where and words in finding.text
    assert len(release.clips) == 21 - len(wrong)
    row = next(row for row in release.rows if row.where == f"{TABLE}, row 10")
    assert row.apex is None
    assert row.clip in {finding.clip for finding in of_kind(release, "apex_missing")}


@pytest.mark.parametrize("column", [name for name in HEADER if "class" not in name])
def test_a_renamed_column_is_named(mini, tmp_path, column):
    shutil.copy(mini["clips"][0] / TABLE, tmp_path / TABLE)
    edit_table(tmp_path / TABLE, 1, column, "Renamed")
    with pytest.raises(DatasetError, match=rf"v2.xlsx: .*missing {column};"):
        listed(builder.TABLE, tmp_path / TABLE)


def test_half_a_table(mini, tmp_path):
    whole = (mini["clips"][0] / TABLE).read_bytes()
    (tmp_path / TABLE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="v2.xlsx: expected an xlsx workbook"):
        Casme3.read(tmp_path, "clips")


def test_no_tree(mini, tmp_path):
    shutil.copy(mini["clips"][0] / TABLE, tmp_path / TABLE)
    (tmp_path / "Part_A_ME_clip").mkdir()
    (tmp_path / "Part_A_ME_clip" / "frame").write_bytes(b"a file, not a folder")
    with pytest.raises(DatasetError, match=r"with spNO.1_a_355/ and .*casme3/clips"):
        Casme3.read(tmp_path, "clips")
    with pytest.raises(DatasetError, match=r"with spNO.1/a/color/ and .*casme3/videos"):
        Casme3.read(tmp_path, "videos")


@pytest.mark.parametrize("config", list(FRAMES))
def test_what_is_wrong_in_the_tree_is_named(tmp_path, config):
    root = tmp_path / "casme3"
    clips = write_casme3(root, tree=config, subjects=1)
    tops = {
        c.clip: next(iter(built(Casme3.read(root, config))[c.clip].files.values()))
        for c in clips
    }
    tops = {clip: path.parent for clip, path in tops.items()}
    a_file, empty, away = "spNO.14/J_52", "spNO.149/d_112", "spNO.214/c_5"
    shutil.rmtree(tops[a_file])
    tops[a_file].write_bytes(b"a file, not a folder")
    for path in tops[empty].iterdir():
        path.unlink()
    tops[away].rename(tmp_path / "elsewhere")
    tops[away].symlink_to(tmp_path / "elsewhere")
    edit_table(root / TABLE, 3, "Onset", clips[0].cells[2])
    edit_table(root / TABLE, 3, "Filename", clips[0].cells[1])
    release = Casme3.read(root, config)
    found = {finding.kind: finding for finding in release.findings}
    assert found["folder"].clip == a_file
    assert found["empty"].clip == empty and "0 of them" in found["empty"].text
    assert found["outside"].clip == away
    assert "leads out of the dataset's folder" in found["outside"].text
    assert found["twice"].where == f"{TABLE}, row 3, clip {clips[0].clip}"
    assert f"{TABLE}, row 2" in found["twice"].text
    unlisted = {finding.clip for finding in of_kind(release, "unlisted")}
    assert unlisted == ({clips[1].clip.lower()} if config == "clips" else set())
    gone = {a_file, empty, away, clips[1].clip}
    assert set(built(release)) == {clip.clip for clip in clips} - gone


@pytest.mark.parametrize("step", [2, 3])
def test_two_clips_with_a_third_of_their_frames_are_built(tmp_path, step):
    clips = write_casme3(tmp_path, subjects=2, broken=False)
    for clip in clips[3:5]:
        folder = tmp_path / "Part_A_ME_clip" / "frame"
        folder /= f"{clip.subject}_{clip.cells[1]}_{clip.onset}"
        for number in clip.numbers[1:-1]:
            if number % step:
                (folder / f"{number}.jpg").unlink()
    release = Casme3.read(tmp_path, "clips")
    assert len(release.clips) == len(clips)
    told = {finding.clip: finding.text for finding in of_kind(release, "missing")}
    assert set(told) == {clip.clip for clip in (clips[1], *clips[3:5])}
    total = clips[3].offset - clips[3].onset + 1
    left = len(built(release)[clips[3].clip].files)
    assert told[clips[3].clip] == f"{left} of {total} frames"


def test_all_clips_are_counted_though_two_have_few_frames(tmp_path):
    """The whole table and its tree, as the owners ship it: two cameras stuttered."""
    write_casme3_table(tmp_path / TABLE, full_rows())
    rows, _ = listed(builder.TABLE, tmp_path / TABLE)
    usual = [row for row in rows if row.clip not in REPAIRED]
    few = {usual[100].clip: 3, usual[200].clip: 2.5}
    for row in rows:
        name = row.clip.replace("/", "_")
        folder = tmp_path / "Part_A_ME_clip" / "frame" / name
        folder.mkdir(parents=True)
        count = (row.offset - row.onset) / few.get(row.clip, 1)
        for index in range(int(count) + 1):
            number = row.onset + round(index * few.get(row.clip, 1))
            (folder / f"{number}.jpg").touch()
    release = Casme3.read(tmp_path, "clips")
    assert len(release.clips) == 860
    assert {f.clip for f in of_kind(release, "missing")} == set(few)
    found = counts.report(release, "clips")
    assert all(task["equal"] for task in found.values())
    assert found["casme3_3class"]["counts"]["clips"] == {
        "negative": 457,
        "positive": 55,
        "surprise": 187,
    }
