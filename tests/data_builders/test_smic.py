import shutil

import pytest

from data_builders import tasks
from data_builders.readers.findings import DatasetError
from data_builders.records import counts
from data_builders.smic.builder import Smic
from tests.fixtures.findings import found, one
from tests.fixtures.smic import (
    CLIPS,
    TREES,
    write_full_size,
    write_smic,
)


def read(root, config="cropped"):
    return Smic.read(root, config)


def folder_of(root, clip, config="cropped"):
    top = root / TREES[config][0] / "HS" / clip.subject / "micro"
    return top / clip.emotion / clip.name


@pytest.mark.parametrize("config", list(TREES))
def test_features_of_every_clip(tmp_path, config):
    expected = write_smic(tmp_path, trees=(config,))
    release = read(tmp_path, config)
    top, prefix, suffix = TREES[config]
    assert Smic.TREES[config].cropped == (config == "cropped")
    assert release.dataset == "smic" and release.table == "folder names"
    assert release.layout == f"{top}/HS/ ({config})"
    assert release.splits == ("clips",)
    clips = {clip.row.clip: clip for clip in release.clips}
    assert len(clips) == len(release.rows) == len(expected) == 10
    for mini in expected:
        clip = clips[f"{mini.subject}/{mini.name}"]
        row = clip.row
        assert (row.subject, row.emotion) == (mini.subject, mini.emotion)
        assert (row.onset, row.apex, row.offset) == (mini.onset, None, mini.offset)
        assert (row.fps, row.au_cell) == (100.0, "")
        folder = folder_of(tmp_path, mini, config)
        numbers = range(mini.onset, mini.offset + 1)
        assert clip.files == {n: folder / f"{prefix}{n}.{suffix}" for n in numbers}
        assert row.where == folder.relative_to(tmp_path).as_posix()


def test_no_clip_has_an_apex(tmp_path):
    write_smic(tmp_path)
    release = read(tmp_path)
    assert {f.kind for f in release.findings} == {"apex_missing", "uncoded"}
    assert len(found(release, "apex_missing")) == 10


def test_the_folder_is_s03_but_the_clip_s3_ne_03(tmp_path):
    write_smic(tmp_path)
    row = next(row for row in read(tmp_path).rows if row.clip == "s03/s3_ne_03")
    assert row.subject == "s03" and row.emotion == "negative"


def test_a_clip_in_the_writing_of_megc2019(tmp_path):
    write_smic(tmp_path)
    folder = folder_of(tmp_path, CLIPS[3])
    shutil.copytree(folder, folder.with_name("s03_ne_03"))
    release = read(tmp_path)
    finding = one(release, "twice")
    assert "s3_ne_03" in str(finding) and "s03_ne_03" in str(finding)
    shutil.rmtree(folder)
    release = read(tmp_path)
    assert not found(release, "twice")
    row = next(row for row in release.rows if row.clip == "s03/s03_ne_03")
    assert row.subject == "s03" and len(release.clips) == 10


def test_folders_in_other_letters_doubled_and_with_others_beside(tmp_path):
    write_smic(tmp_path)
    hs = tmp_path / "SMIC_all_cropped" / "HS"
    (hs / "s01" / "micro" / "negative").rename(hs / "s01" / "micro" / "Negative")
    (hs / "s01" / "non_micro" / "s1_01").mkdir(parents=True)
    (hs / "s11").rename(hs / "S11")
    (hs / "s03").rename(hs / "s3")
    (tmp_path / "SMIC_all_cropped" / "VIS" / "s01").mkdir(parents=True)
    (hs.parent / "hs2").mkdir()
    hs.rename(hs.parent / "hs2" / "HS")
    (hs.parent / "hs2").rename(hs)
    release = read(tmp_path)
    assert release.layout == "SMIC_all_cropped/HS/HS/ (cropped)"
    assert {row.subject for row in release.rows} == {c.subject for c in CLIPS}
    assert {f.kind for f in release.findings} == {"apex_missing", "uncoded"}


def test_emotion_and_subject_of_folder_and_name_must_agree(tmp_path):
    write_smic(tmp_path)
    folder = folder_of(tmp_path, CLIPS[0])
    folder.rename(folder.parents[1] / "positive" / "s1_ne_01")
    other = folder_of(tmp_path, CLIPS[4])
    other.rename(other.with_name("s4_ne_61"))
    release = read(tmp_path)
    first, second = found(release, "table")
    assert first.text == "ne in the folder positive" and first.clip == "s01/s1_ne_01"
    assert "subject 4 in the folder of subject 3" in second.text
    assert len(release.rows) == 8


def test_names_that_are_no_clips(tmp_path):
    write_smic(tmp_path)
    hs = tmp_path / "SMIC_all_cropped" / "HS"
    folder_of(tmp_path, CLIPS[0]).rename(hs / "s01/micro/negative/copy of s1_ne_01")
    (hs / "s11/micro/surprise").rename(hs / "s11/micro/surprised")
    (hs / "notes").mkdir()
    shutil.rmtree(hs / "s04" / "micro")
    release = read(tmp_path)
    first, second = found(release, "table")
    assert "copy of s1_ne_01: expected a name such as s1_ne_01" in str(first)
    assert "surprised: expected a folder named one of negative" in str(second)
    assert one(release, "unlisted").where == "SMIC_all_cropped/HS/notes"
    finding = one(release, "folder")
    assert finding.where == "SMIC_all_cropped/HS/s04" and "micro/" in finding.text
    assert len(release.clips) == 7


def test_folders_files_and_links_that_are_none(tmp_path):
    outside = tmp_path / "elsewhere"
    root = tmp_path / "SMIC"
    write_smic(root)
    folders = [folder_of(root, clip) for clip in CLIPS]
    shutil.rmtree(folders[0])
    folders[0].write_bytes(b"a file where a folder is expected")
    folders[1].rename(outside)
    folders[1].symlink_to(outside)
    for path in folders[2].glob("*.bmp"):
        path.unlink()
    frame = sorted(folders[4].glob("*.bmp"))[5]
    frame.unlink()
    frame.symlink_to(next(outside.glob("*.bmp")))
    shutil.rmtree(folders[9].parent)
    folders[9].parent.write_bytes(b"a file where a folder is expected")
    shutil.rmtree(folders[5])
    folders[5].symlink_to(tmp_path / "nowhere")
    release = read(root)
    kinds = {
        finding.where.split(",")[0].split("/")[-1]: finding.kind
        for finding in found(release, *("folder", "outside", "empty"))
    }
    assert kinds == {
        "s1_ne_01": "folder",
        "s1_po_61": "outside",
        "s1_sur_61": "empty",
        "s3_ne_61": "outside",
        "s4_ne_05": "folder",
        "surprise": "folder",
    }
    assert len(release.clips) == 4


def test_missing_frames_and_frames_without_number(tmp_path):
    write_smic(tmp_path)
    frames = sorted(folder_of(tmp_path, CLIPS[0]).glob("*.bmp"))
    frames[4].unlink()
    other = folder_of(tmp_path, CLIPS[4]) / "image.bmp"
    other.write_bytes(b"")
    release = read(tmp_path)
    assert one(release, "missing").text == "20 of 21 frames"
    assert "expected a frame number" in one(release, "image").text
    assert len(release.clips) == 9


def test_no_tree_no_clip(tmp_path):
    with pytest.raises(DatasetError, match="expected a folder SMIC_all_cropped/HS/"):
        read(tmp_path)
    write_smic(tmp_path)
    with pytest.raises(DatasetError, match="expected a folder SMIC_all_raw/HS/"):
        read(tmp_path, "raw")
    with pytest.raises(DatasetError, match="HS_long/SMIC-HS-E/"):
        read(tmp_path, "long")
    hs = tmp_path / "SMIC_all_cropped" / "HS"
    shutil.rmtree(hs)
    hs.write_bytes(b"no folder")
    with pytest.raises(DatasetError, match="expected a folder SMIC_all_cropped/HS/"):
        read(tmp_path)
    hs.unlink()
    hs.mkdir()
    with pytest.raises(DatasetError, match="expected clips such as s01/micro/"):
        read(tmp_path)


def test_the_whole_tree_gives_the_published_counts(tmp_path):
    write_full_size(tmp_path)
    release = read(tmp_path)
    assert len(release.clips) == 164 and not found(release, "counts")
    facts = [
        (c.row.split, c.row.subject, c.row.clip, c.row.emotion) for c in release.clips
    ]
    assert list(tasks.tasks_of("smic")) == ["smic_3class"]
    for task in tasks.tasks_of("smic").values():
        tally = counts.tally(task, facts)
        assert counts.differences(task, tally) == []
        assert tally.counts["clips"] == {"negative": 70, "positive": 51, "surprise": 43}
        assert tally.subjects == {"clips": 16}


def test_a_whole_tree_must_add_up(tmp_path):
    write_full_size(tmp_path)
    micro = tmp_path / "SMIC_all_cropped" / "HS" / "s01" / "micro"
    old = next((micro / "negative").iterdir())
    old.rename(micro / "positive" / old.name.replace("_ne_", "_po_9"))
    finding = one(read(tmp_path), "counts")
    assert "'negative': 69" in finding.text and finding.stops
    assert finding.where == "SMIC_all_cropped/HS, emotions"
