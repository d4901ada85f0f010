import shutil

import pytest

from data_builders import tasks
from data_builders.dfme.builder import Dfme
from data_builders.dfme.ccac import EMOTIONS, SPLITS
from data_builders.readers.findings import DatasetError, refuse
from data_builders.records import counts
from tests.fixtures.dfme import (
    PUBLISHED,
    TABLES,
    TREES,
    edit_table,
    full_size_rows,
    write_dfme,
    write_dfme_table,
)
from tests.fixtures.findings import found, one
from tests.fixtures.workbook import listed

NOTES = "full_release_annotation"
TRAIN = f"{NOTES}/{TABLES['train']}"
TEST_A = f"{NOTES}/{TABLES['test_a']}"


def read_ccac(root):
    return Dfme.read(root, "ccac")


def train_folder(root, clip):
    return root / "train_data" / "train_data" / clip.name


def test_features_of_every_clip_of_the_public_part(tmp_path):
    expected = write_dfme(tmp_path)
    release = read_ccac(tmp_path)
    assert release.findings == ()
    assert release.dataset == "dfme" and release.version == "CCAC2024"
    assert release.splits == ("test_a", "test_b", "train")
    assert all(f"{tree}/{tree}/" in release.layout for tree in TREES.values())
    assert all(table in release.table for table in TABLES.values())
    clips = {clip.row.clip: clip for clip in release.clips}
    assert len(clips) == len(release.rows) == len(expected) == 13
    for mini in expected:
        clip = clips[mini.clip]
        row = clip.row
        assert (row.subject, row.split, row.emotion) == (
            *(mini.subject, mini.split, mini.emotion),
        )
        assert (row.onset, row.apex, row.offset) == (mini.onset, mini.apex, mini.offset)
        assert (row.fps, row.au_cell) == (mini.fps, str(mini.au_cell))
        tree = tmp_path / TREES[mini.split] / TREES[mini.split] / mini.name
        assert clip.files == {
            n: tree / f"{n:05d}.png" for n in range(mini.onset, mini.offset + 1)
        }


def test_numbers_are_those_of_the_table_and_count_from_0(tmp_path):
    expected = write_dfme(tmp_path)
    clips = {clip.row.clip: clip for clip in read_ccac(tmp_path).clips}
    zero = [mini for mini in expected if mini.onset == 0]
    assert 2 * len(zero) >= len(expected) - 1
    for mini in zero:
        assert next(iter(clips[mini.clip].files.values())).name == "00000.png"
    assert all(len(clip.files) >= 19 for clip in clips.values())


def test_frames_outside_onset_to_offset_are_nothing_odd(tmp_path):
    mini = next(m for m in write_dfme(tmp_path) if m.onset > 0)
    assert (train_folder(tmp_path, mini) / f"{mini.first:05d}.png").exists()
    release = read_ccac(tmp_path)
    assert not found(release, "extra")
    clip = next(c for c in release.clips if c.row.clip == mini.clip)
    assert list(clip.files)[0] == mini.onset and list(clip.files)[-1] == mini.offset


def test_every_row_has_its_frame_rate(tmp_path):
    write_dfme(tmp_path)
    assert {row.fps for row in read_ccac(tmp_path).rows} == {200.0, 300.0, 500.0}
    edit_table(tmp_path / TRAIN, 4, "Fps", 250)
    release = read_ccac(tmp_path)
    finding = one(release, "table")
    assert "row 4" in finding.where and "'Fps'" in finding.where
    assert "200, 300, 500, found 250" in finding.text
    assert len(release.rows) == 12


def test_folders_need_not_be_doubled(tmp_path):
    write_dfme(tmp_path, doubled=False)
    release = read_ccac(tmp_path)
    assert len(release.clips) == 13 and not release.findings
    assert "train_data/train_data" not in release.layout


def test_emotion_ids_are_alphabetical_and_must_agree(tmp_path):
    assert list(EMOTIONS) == sorted(EMOTIONS) and len(EMOTIONS) == 7
    mini = write_dfme(tmp_path)[2]
    edit_table(tmp_path / TRAIN, 4, "EmotionId", 3)
    release = read_ccac(tmp_path)
    finding = one(release, "table")
    assert "row 4" in finding.where and "'EmotionId'" in finding.where
    assert finding.clip == mini.clip
    assert finding.text == "expected 2 for disgust, found 3"
    assert mini.clip not in {row.clip for row in release.rows}


@pytest.mark.parametrize("cell", [-1, "x", 7, 2.5])
def test_an_emotion_id_that_is_none(tmp_path, cell):
    write_dfme(tmp_path)
    edit_table(tmp_path / TEST_A, 2, "EmotionId", cell)
    assert "EmotionId" in one(read_ccac(tmp_path), "table").where


def test_an_id_without_an_emotion_is_no_label(tmp_path):
    write_dfme(tmp_path)
    edit_table(tmp_path / TEST_A, 2, "Emotion", None)
    assert "without an Emotion" in one(read_ccac(tmp_path), "table").text
    edit_table(tmp_path / TEST_A, 2, "EmotionId", -1)
    release = read_ccac(tmp_path)
    assert one(release, "no_label") and len(release.clips) == 13


def test_the_first_hand_out_has_neither_labels_of_the_tests_nor_aus(tmp_path):
    expected = write_dfme(tmp_path, first_hand_out=True)
    release = read_ccac(tmp_path)
    assert len(release.clips) == 13
    assert {row.au_cell for row in release.rows} == {""}
    for row in release.rows:
        mini = next(m for m in expected if m.clip == row.clip)
        assert row.emotion == (mini.emotion if mini.split == "train" else "")
    assert len(found(release, "no_label")) == 6
    assert [f.text.split()[-1] for f in found(release, "uncoded")] == [
        *("'test_a'", "'test_b'", "'train'"),
    ]
    refuse("dfme", release.findings)


def test_tables_with_aus_are_preferred(tmp_path):
    write_dfme(tmp_path, first_hand_out=True)
    write_dfme(tmp_path, seed=1)
    release = read_ccac(tmp_path)
    assert release.table == ", ".join(TABLES[split] for split in sorted(TABLES))


@pytest.mark.parametrize("names", ["train test_A", "Training TESTA", "train test-a"])
def test_names_of_tables_may_differ(tmp_path, names):
    write_dfme(tmp_path, splits=("train", "test_a"))
    for old, new in zip(("train", "test_a"), names.split(), strict=True):
        path = tmp_path / NOTES / TABLES[old]
        path.rename(tmp_path / f"{new}_full_with_AU.xlsx")
    assert len(read_ccac(tmp_path).clips) == 10


def test_a_row_to_train_on_needs_an_emotion(tmp_path):
    write_dfme(tmp_path)
    edit_table(tmp_path / TRAIN, 2, "Emotion", None)
    edit_table(tmp_path / TRAIN, 2, "EmotionId", None)
    finding = one(read_ccac(tmp_path), "table")
    assert "'Emotion'" in finding.where and "expected one of anger" in finding.text


@pytest.mark.parametrize("lacking", ["table", "tree"])
def test_a_test_that_is_lacking_is_not_in_the_release(tmp_path, lacking):
    write_dfme(tmp_path)
    if lacking == "table":
        (tmp_path / TEST_A).unlink()
    else:
        shutil.rmtree(tmp_path / "test_data_A")
    release = read_ccac(tmp_path)
    assert release.splits == ("test_b", "train") and len(release.rows) == 10
    name = TABLES["test_a"] if lacking == "table" else "test_data_A"
    finding = one(release, "absent")
    assert name in finding.text and "test_a is not in the release" in finding.text
    assert not finding.stops


def test_what_is_not_there_to_train_on_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="training_full.* and a folder train_data/"):
        read_ccac(tmp_path)
    write_dfme(tmp_path)
    shutil.rmtree(tmp_path / "train_data")
    with pytest.raises(DatasetError, match="expected a folder train_data/ with"):
        read_ccac(tmp_path)
    (tmp_path / "train_data").write_bytes(b"no folder")
    with pytest.raises(DatasetError, match="expected a folder train_data/ with"):
        read_ccac(tmp_path)


def test_a_column_with_another_name(tmp_path):
    write_dfme(tmp_path)
    edit_table(tmp_path / TRAIN, 1, "OnsetFrame", "Onset")
    with pytest.raises(DatasetError, match="training_full.*missing OnsetFrame;"):
        read_ccac(tmp_path)
    edit_table(tmp_path / TRAIN, 1, "Onset", " onsetframe ")
    assert len(read_ccac(tmp_path).clips) == 13


def test_a_truncated_table(tmp_path):
    write_dfme(tmp_path)
    data = (tmp_path / TEST_A).read_bytes()
    (tmp_path / TEST_A).write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match="testA_full.*expected an xlsx workbook"):
        read_ccac(tmp_path)


def test_wrong_rows_are_collected_and_named(tmp_path):
    write_dfme(tmp_path)
    for row, column, cell in (
        *((2, "OnsetFrame", "x"), (3, "OffsetFrame", 1), (4, "Emotion", "joy")),
        *((5, "AU", "4++7"), (6, "Subject", "9001"), (7, "Subject", "sub9009")),
        *((8, "Filename", None),),
    ):
        edit_table(tmp_path / TRAIN, row, column, cell)
    release = read_ccac(tmp_path)
    assert not [row for row in release.rows if row.split == "train"]
    told = [str(f) for f in found(release, "table")]
    for row, column in enumerate(
        "OnsetFrame OffsetFrame Emotion AU Subject Filename Filename".split(), start=2
    ):
        named = (f"row {row},", f"column '{column}'", TABLES["train"])
        assert any(all(n in text for n in named) for text in told), (row, told)
    with pytest.raises(DatasetError, match="dfme: [0-9]+ problems"):
        refuse("dfme", release.findings)


def test_spreadsheets_that_were_saved_again(tmp_path):
    mini = write_dfme(tmp_path)[1]
    for column, cell in (
        *(("OnsetFrame", f" {mini.onset} "), ("OffsetFrame", float(mini.offset))),
        *(("Fps", str(mini.fps)), ("Emotion", "Contempt "), ("AU", 14.0)),
        *(("EmotionId", "1"), ("ApexFrame", "/")),
    ):
        edit_table(tmp_path / TRAIN, 3, column, cell)
    release = read_ccac(tmp_path)
    row = next(row for row in release.rows if row.clip == mini.clip)
    assert (row.onset, row.apex, row.offset) == (mini.onset, None, mini.offset)
    assert (row.emotion, row.au_cell, row.fps) == ("contempt", "14", mini.fps)
    assert [f.kind for f in release.findings] == ["apex_missing"]


def test_a_subject_in_other_letters_is_the_same_and_said(tmp_path):
    mini = write_dfme(tmp_path)[0]
    edit_table(tmp_path / TRAIN, 2, "Subject", mini.subject.upper())
    release = read_ccac(tmp_path)
    finding = one(release, "repaired")
    assert finding.text == f"{mini.subject.upper()!r} read as {mini.subject!r}"
    assert len(release.clips) == 13


def test_a_subject_of_two_splits_would_leak(tmp_path):
    train = write_dfme(tmp_path)[0]
    name = f"{train.subject}_77"
    edit_table(tmp_path / TEST_A, 2, "Subject", train.subject)
    edit_table(tmp_path / TEST_A, 2, "Filename", name)
    shutil.copytree(
        train_folder(tmp_path, train), tmp_path / "test_data_A/test_data_A" / name
    )
    finding = next(f for f in found(read_ccac(tmp_path), "table"))
    assert train.subject in finding.text and "test_a" in finding.text
    assert TABLES["test_a"] in str(finding) and TABLES["train"] in str(finding)


def test_a_clip_twice(tmp_path):
    first, second = write_dfme(tmp_path)[:2]
    edit_table(tmp_path / TRAIN, 3, "Filename", first.name)
    release = read_ccac(tmp_path)
    finding = one(release, "twice")
    assert "row 3" in finding.where and "row 2" in finding.text
    assert finding.clip == first.clip
    assert second.name in one(release, "unlisted").where


def test_a_clip_of_two_splits_has_the_frames_of_its_first(tmp_path):
    clips = write_dfme(tmp_path)
    train, test = clips[0], next(clip for clip in clips if clip.split == "test_a")
    edit_table(tmp_path / TEST_A, 2, "Subject", train.subject)
    edit_table(tmp_path / TEST_A, 2, "Filename", train.name)
    tree = tmp_path / "test_data_A/test_data_A"
    (tree / test.name).rename(tree / train.name)
    release = read_ccac(tmp_path)
    assert TABLES["train"] in one(release, "twice").where
    (clip,) = (c for c in release.clips if c.row.clip == train.clip)
    assert clip.row.split == "test_a"
    assert all(path.parent == tree / train.name for path in clip.files.values())


def test_a_clip_is_not_taken_from_another_splits_folder(tmp_path):
    train = write_dfme(tmp_path)[0]
    train_folder(tmp_path, train).rename(
        tmp_path / "test_data_A/test_data_A" / train.name
    )
    release = read_ccac(tmp_path)
    assert one(release, "folder").clip == train.clip
    assert train.name in one(release, "unlisted").where


def test_folders_files_and_links_that_are_none(tmp_path):
    outside = tmp_path / "elsewhere"
    root = tmp_path / "DFME"
    clips = write_dfme(root)
    folders = [train_folder(root, clip) for clip in clips[:5]]
    shutil.rmtree(folders[0])
    shutil.rmtree(folders[1])
    folders[1].write_bytes(b"a file where a folder is expected")
    folders[2].rename(outside)
    folders[2].symlink_to(outside)
    frames = sorted(folders[3].glob("*.png"))
    for path in frames:
        path.unlink()
    frame = sorted(folders[4].glob("*.png"))[5]
    frame.unlink()
    frame.symlink_to(outside / "00000.png")
    release = read_ccac(root)
    said = {f.clip: f.kind for f in release.findings}
    assert [said[clip.clip] for clip in clips[:5]] == [
        *("folder", "folder", "outside", "empty", "outside"),
    ]
    assert len(release.clips) == 8 and len(release.rows) == 13


def test_missing_frames_are_told(tmp_path):
    mini = write_dfme(tmp_path)[0]
    (train_folder(tmp_path, mini) / f"{mini.apex:05d}.png").unlink()
    release = read_ccac(tmp_path)
    count = mini.offset - mini.onset + 1
    assert one(release, "missing").text == f"{count - 1} of {count} frames"
    assert len(release.clips) == 13


def test_full_size_tables_give_the_published_counts(tmp_path):
    rows = []
    for split in TABLES:
        path = tmp_path / TABLES[split]
        write_dfme_table(path, full_size_rows(split))
        found, findings = listed(SPLITS[split][0], path)
        assert findings == [] and len(found) == PUBLISHED[split][0]
        rows += found
    subjects = [{r.subject for r in rows if r.split == split} for split in TABLES]
    assert [len(s) for s in subjects] == [176, 42, 41]
    assert len(set.union(*subjects)) == 176 + 42 + 41
    facts = [(row.split, row.subject, row.clip, row.emotion) for row in rows]
    assert list(tasks.tasks_of("dfme")) == ["dfme_7class"]
    for task in tasks.tasks_of("dfme").values():
        assert counts.differences(task, counts.tally(task, facts)) == []
        assert counts.differences(task, counts.tally(task, facts[1:])) == [
            "train: clips 1855 instead of 1856"
        ]


def test_what_the_licence_asks_is_said():
    for text in (Dfme.LICENSE, " ".join(Dfme.MANUAL_DOWNLOAD_INSTRUCTIONS.split())):
        assert "academic use only" in text and "third part" in text
        assert "faces may not be shown" in text


def test_others_are_no_emotion_of_the_public_part(tmp_path):
    write_dfme(tmp_path)
    edit_table(tmp_path / TEST_A, 3, "Emotion", "others")
    assert "found 'others'" in one(read_ccac(tmp_path), "table").text
