import shutil

import numpy as np
import openpyxl
import pytest
import tensorflow_datasets as tfds

from data_builders.annotations import DatasetError, fingerprint
from data_builders.casme2.builder import Casme2, find_clips, find_tree
from data_builders.casme2.table import EMOTION_COUNTS, find_table, read_table
from tests.fixtures.casme2 import FOLDERS, edit_table, write_casme2

TABLE_2019 = "CASME2-coding-20190701.xlsx"


class Encoded(tfds.decode.SkipDecoding):
    def decode_batch_example_np(self, batch):
        return batch


def build(manual_dir, data_dir, config="cropped"):
    builder = Casme2(data_dir=data_dir, config=config, file_format="array_record")
    download = tfds.download.DownloadConfig(manual_dir=manual_dir)
    builder.download_and_prepare(download_config=download)
    return tfds.builder_from_directory(builder.data_path)


def rows_of(builder, decoders=None):
    source = builder.as_data_source("clips", decoders=decoders)
    return {row["clip"].decode(): row for row in source}


def clips_of(root):
    return find_clips(read_table(*find_table(root)), find_tree(root, "cropped"))


def problems_of(root):
    with pytest.raises(DatasetError) as error:
        clips_of(root)
    return str(error.value)


@pytest.mark.parametrize("config", list(FOLDERS))
def test_features_of_every_clip(tmp_path, config):
    manual = tmp_path / "manual"
    expected = write_casme2(manual, tree=config, doubled=config == "selected")
    builder = build(manual, tmp_path / "data", config)
    rows = rows_of(builder, {"frames": Encoded()})
    assert list(rows) == sorted(rows) and len(rows) == len(expected) == 24
    folder, prefix = FOLDERS[config]
    top = manual / folder / (folder if config == "selected" else "")
    for clip in expected:
        row = rows[f"casme2/sub{clip.subject}/{clip.name}"]
        numbers = list(range(clip.onset, clip.offset + 1))
        assert list(row["frame_numbers"]) == numbers
        files = top / f"sub{clip.subject}" / clip.name
        assert list(row["frames"]) == [
            (files / f"{prefix}{number}.jpg").read_bytes() for number in numbers
        ]
        assert row["subject"].decode() == f"casme2/sub{clip.subject}"
        assert row["emotion"].decode() == clip.emotion
        assert row["au_cell"].decode() == str(clip.au_cell)
        assert row["fps"] == 200 and row["onset"] == 0
        assert row["offset"] == len(numbers) - 1
        given = isinstance(clip.apex, int) and clip.apex != clip.onset
        assert bool(row["apex_valid"]) == given
        middle = (clip.offset - clip.onset) // 2
        assert row["apex"] == (clip.apex - clip.onset if given else middle)
    assert sum(not row["apex_valid"] for row in rows.values()) == 2
    aus = next(row["aus"] for row in rows.values() if row["au_cell"] == b"4+7+L10")
    assert aus["number"] == [4, 7, 10] and aus["side"] == [b"", b"", b"L"]
    one = next(row["aus"] for row in rows.values() if row["au_cell"] == b"R12")
    assert one["number"] == [12] and one["side"] == [b"R"]
    hashes = [(name, row["source_hash"].decode()) for name, row in rows.items()]
    assert builder.info.metadata["fingerprint"] == fingerprint(hashes)


def test_frames_decode_to_rgb(tmp_path):
    write_casme2(tmp_path / "manual", subjects=1, clips_per_subject=1)
    row = next(iter(rows_of(build(tmp_path / "manual", tmp_path / "data")).values()))
    assert row["frames"][0].shape == (34, 28, 3)
    assert row["frames"][0].dtype == np.uint8


def test_the_2019_table_is_preferred_and_named(tmp_path):
    both, old = tmp_path / "both", tmp_path / "old"
    write_casme2(both, table="both", subjects=1)
    write_casme2(old, table="2014", subjects=1)
    new = build(both, tmp_path / "a")
    assert new.info.metadata["table"] == TABLE_2019
    assert new.info.metadata["notes"] == [f"coding table {TABLE_2019}, 8 of 255 rows"]
    builder = build(old, tmp_path / "b")
    assert builder.info.metadata["table"] == "CASME2-coding-20140508.xlsx"
    rows = rows_of(builder)
    question = [row for row in rows.values() if row["au_cell"] == b"?"]
    assert len(question) == 1 and len(question[0]["aus"]["number"]) == 0
    emotions = [row["emotion"] for row in rows.values()]
    assert emotions.count(b"sadness") == 2 and emotions.count(b"surprise") == 1
    assert builder.info.metadata["fingerprint"] != new.info.metadata["fingerprint"]


def test_missing_frames_are_kept_count_of(tmp_path):
    clip = write_casme2(tmp_path, subjects=1, clips_per_subject=1)[0]
    folder = tmp_path / "Cropped" / "sub01" / clip.name
    gone = [clip.onset, clip.apex, clip.offset]
    for number in gone:
        (folder / f"reg_img{number}.jpg").unlink()
    builder = build(tmp_path, tmp_path / "data")
    row = rows_of(builder)[f"casme2/sub01/{clip.name}"]
    numbers = [n for n in range(clip.onset, clip.offset + 1) if n not in gone]
    assert list(row["frame_numbers"]) == numbers
    assert row["offset"] == len(numbers) - 1
    assert abs(numbers[row["apex"]] - clip.apex) == 1 and row["apex_valid"]
    note = f"sub01/{clip.name}: {len(numbers)} of {len(numbers) + 3} frames"
    assert note in builder.info.metadata["notes"]


def test_spreadsheets_that_were_saved_again(tmp_path):
    clips = write_casme2(tmp_path, subjects=1)
    for row, clip in enumerate(clips, start=2):
        edit_table(tmp_path / TABLE_2019, row, "Subject", int(clip.subject))
        edit_table(tmp_path / TABLE_2019, row, "OnsetFrame", f" {clip.onset} ")
        edit_table(tmp_path / TABLE_2019, row, "OffsetFrame", float(clip.offset))
        edit_table(
            tmp_path / TABLE_2019, row, "Estimated Emotion", clip.emotion.title() + " "
        )
    edit_table(tmp_path / TABLE_2019, 2, "Action Units", 12.0)
    rows = {clip.row.name: clip.row for clip in clips_of(tmp_path)}
    for clip in clips:
        row = rows[f"sub01/{clip.name}"]
        assert (row.onset, row.offset, row.emotion) == (
            *(clip.onset, clip.offset, clip.emotion),
        )
    assert rows[f"sub01/{clips[0].name}"].au_cell == "12"


def test_other_letter_case_and_folder_names(tmp_path):
    clip = write_casme2(tmp_path / "CASME2", subjects=1, clips_per_subject=1)[0]
    tree = tmp_path / "CASME2" / "cropped"
    (tmp_path / "CASME2" / "Cropped").rename(tmp_path / "CASME2" / "away")
    (tmp_path / "CASME2" / "away").rename(tree)
    folder = tree / "sub01" / clip.name
    for path in folder.glob("*.jpg"):
        path.rename(path.with_suffix(".JPG"))
    (folder / f"._reg_img{clip.onset}.JPG").write_bytes(b"left by macOS")
    folder.rename(folder.with_name(clip.name.lower()))
    (tree / "sub01").rename(tree / "Sub1")
    assert len(clips_of(tmp_path)[0].files) == clip.offset - clip.onset + 1


def test_all_problems_are_listed_before_anything_is_written(tmp_path):
    manual = tmp_path / "manual"
    clips = write_casme2(manual, subjects=1)
    table = manual / TABLE_2019
    top = manual / "Cropped" / "sub01"
    edit_table(table, 2, "Estimated Emotion", "joy")
    edit_table(table, 3, "Action Units", "4+x")
    edit_table(table, 4, "OnsetFrame", 99)
    edit_table(table, 5, "Subject", "S?")
    edit_table(table, 6, "OffsetFrame", None)
    shutil.rmtree(top / clips[5].name)
    frame = top / clips[6].name / f"reg_img{clips[6].onset}.jpg"
    frame.write_bytes(frame.read_bytes()[:200])
    for path in sorted((top / clips[7].name).glob("*.jpg"))[3:]:
        path.unlink()
    data = tmp_path / "data"
    with pytest.raises(DatasetError) as error:
        build(manual, data)
    text = str(error.value)
    assert "CASME II: 8 problems" in text
    where = f"{TABLE_2019}, row 2, subject '01', clip '{clips[0].name}'"
    assert f"{where}, column 'Estimated Emotion': expected one of disgust" in text
    assert "found 'joy'" in text
    assert "row 3" in text and "AU cell '4+x', character 3" in text
    assert "column 'OffsetFrame': expected a frame number from 99 on" in text
    assert "row 5, subject 'S?'" in text and "expected a subject number" in text
    assert "row 6" in text and "found None" in text
    assert f"expected the folder {top / clips[5].name}" in text
    assert f"{frame}: expected a whole jpg or png" in text
    assert f"clip sub01/{clips[7].name}" in text and "found 3 of them" in text
    assert not list(data.rglob("*.array_record*")) and not list(data.rglob("features*"))


def test_only_ten_problems_are_shown(tmp_path):
    write_casme2(tmp_path, subjects=2)
    for row in range(2, 14):
        edit_table(tmp_path / TABLE_2019, row, "Estimated Emotion", "")
    text = problems_of(tmp_path)
    assert "12 problems" in text and text.endswith("and 2 more")
    assert text.count("expected one of") == 10


def test_a_clip_twice_and_a_column_missing(tmp_path):
    clips = write_casme2(tmp_path, subjects=1)
    edit_table(tmp_path / TABLE_2019, 3, "Filename", clips[0].name)
    assert f"row 3, clip sub01/{clips[0].name}: expected each clip once" in (
        problems_of(tmp_path)
    )
    edit_table(tmp_path / TABLE_2019, 1, "ApexFrame", "Apex")
    with pytest.raises(DatasetError, match="row 1: .*missing ApexFrame"):
        clips_of(tmp_path)


def test_no_table_no_tree_no_workbook(tmp_path):
    with pytest.raises(DatasetError, match="expected the coding table CASME2-coding"):
        find_table(tmp_path)
    with pytest.raises(DatasetError, match="expected a folder Cropped/"):
        find_tree(tmp_path, "cropped")
    (tmp_path / TABLE_2019).write_bytes(b"no workbook")
    with pytest.raises(DatasetError, match="expected an xlsx workbook"):
        read_table(*find_table(tmp_path))


def full_table(path, version, counts):
    workbook = openpyxl.Workbook()
    columns = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame"]
    workbook.active.append([*columns, "Action Units", "Estimated Emotion"])
    emotions = [name for name, count in counts.items() for _ in range(count)]
    for index, emotion in enumerate(emotions):
        row = [f"{index % 26 + 1:02d}", f"EP{index:03d}", 1, 2, 3, 4, emotion]
        workbook.active.append(row)
    workbook.save(path)
    return read_table(path, version)


@pytest.mark.parametrize("version", list(EMOTION_COUNTS))
def test_a_complete_table_must_add_up(tmp_path, version):
    counts = EMOTION_COUNTS[version]
    assert sum(counts.values()) == 255
    assert not full_table(tmp_path / "good.xlsx", version, counts).problems
    wrong = {**counts, "fear": 3, "others": 98}
    problems = full_table(tmp_path / "wrong.xlsx", version, wrong).problems
    assert len(problems) == 1 and "'fear': 3" in problems[0]
