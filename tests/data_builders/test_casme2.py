import shutil

import numpy as np
import openpyxl
import pytest
import tensorflow_datasets as tfds

from data_builders import tasks
from data_builders.build import build
from data_builders.casme2.builder import TABLE, Casme2
from data_builders.readers.findings import DatasetError
from data_builders.records import counts
from data_builders.records.contents import read_back
from merclip_jax.data.encoded import Encoded, fingerprint
from tests.fixtures.casme2 import FOLDERS, edit_table, write_casme2
from tests.fixtures.workbook import listed

TABLE_2019 = "CASME2-coding-20190701.xlsx"
EMOTIONS = {edition.version: edition.emotions for edition in TABLE.editions}


def rows_of(folder):
    return {row["clip"].decode(): row for row in read_back(folder)}


def built(manual, data, config="cropped"):
    done = build(f"casme2/{config}", manual_dir=manual, data_dir=data)
    return tfds.builder_from_directory(done.folder), rows_of(done.folder)


def read(root, config="cropped"):
    return Casme2.read(root, config)


def kinds(release):
    return [(finding.kind, finding.clip) for finding in release.findings]


def texts(release):
    return "\n".join(map(str, release.findings))


@pytest.mark.parametrize("config", list(FOLDERS))
def test_features_of_every_clip(tmp_path, config):
    manual = tmp_path / "manual"
    expected = write_casme2(manual, tree=config, doubled=config == "selected")
    builder, rows = built(manual, tmp_path / "data", config)
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
        assert row["landmarks"].shape == (0, 2)
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


def test_tfds_gives_the_same_records(tmp_path):
    """The command's writer and TFDS's own `download_and_prepare`."""
    write_casme2(tmp_path / "manual", subjects=1)
    _, rows = built(tmp_path / "manual", tmp_path / "a")
    builder = Casme2(data_dir=tmp_path / "b", file_format="array_record")
    download = tfds.download.DownloadConfig(manual_dir=tmp_path / "manual")
    builder.download_and_prepare(download_config=download)
    source = builder.as_data_source("clips", decoders={"frames": Encoded()})
    assert [row["clip"].decode() for row in source] == list(rows)
    for row in source:
        other = rows[row["clip"].decode()]
        assert row["source_hash"] == other["source_hash"]
        assert list(row["frames"]) == list(other["frames"])
        assert row["aus"]["number"] == other["aus"]["number"]


def test_frames_decode_to_rgb(tmp_path):
    write_casme2(tmp_path / "manual", subjects=1, clips_per_subject=1)
    builder, _ = built(tmp_path / "manual", tmp_path / "data")
    row = builder.as_data_source("clips")[0]
    assert row["frames"][0].shape == (34, 28, 3)
    assert row["frames"][0].dtype == np.uint8


def test_the_2019_table_is_preferred_and_named(tmp_path):
    both, old = tmp_path / "both", tmp_path / "old"
    write_casme2(both, table="both", subjects=1)
    write_casme2(old, table="2014", subjects=1)
    new = read(both)
    assert (new.table, new.version) == (TABLE_2019, "20190701")
    release = read(old)
    assert release.table == "CASME2-coding-20140508.xlsx"
    assert release.version == "20140508"
    assert [row.au_cell for row in release.rows].count("?") == 1
    emotions = [row.emotion for row in release.rows]
    assert emotions.count("sadness") == 2 and emotions.count("surprise") == 1


def test_missing_frames_are_kept_count_of(tmp_path):
    clip = write_casme2(tmp_path, subjects=1, clips_per_subject=1)[0]
    folder = tmp_path / "Cropped" / "sub01" / clip.name
    gone = [clip.onset, clip.apex, clip.offset]
    for number in gone:
        (folder / f"reg_img{number}.jpg").unlink()
    builder, rows = built(tmp_path, tmp_path / "data")
    row = rows[f"casme2/sub01/{clip.name}"]
    numbers = [n for n in range(clip.onset, clip.offset + 1) if n not in gone]
    assert list(row["frame_numbers"]) == numbers
    assert row["offset"] == len(numbers) - 1
    assert abs(numbers[row["apex"]] - clip.apex) == 1 and row["apex_valid"]
    note = f"{len(numbers)} of {len(numbers) + 3} frames"
    assert builder.info.metadata["findings"]["missing"][0]["text"] == note
    assert ("missing", f"sub01/{clip.name}") in kinds(read(tmp_path))


def test_frames_outside_the_clip_are_odd_only_where_clips_were_cut(tmp_path):
    clip = write_casme2(tmp_path, subjects=1, clips_per_subject=1)[0]
    folder = tmp_path / "Cropped" / "sub01" / clip.name
    stray = folder / f"reg_img{clip.offset + 9}.jpg"
    shutil.copy(folder / f"reg_img{clip.onset}.jpg", stray)
    release = read(tmp_path)
    assert ("extra", f"sub01/{clip.name}") in kinds(release)
    assert stray not in release.clips[0].files.values()
    write_casme2(tmp_path, tree="raw", subjects=1, clips_per_subject=1)
    assert "extra" not in dict(kinds(read(tmp_path, "raw")))


def test_spreadsheets_that_were_saved_again(tmp_path):
    clips = write_casme2(tmp_path, subjects=1)
    for row, clip in enumerate(clips, start=2):
        edit_table(tmp_path / TABLE_2019, row, "Subject", int(clip.subject))
        edit_table(tmp_path / TABLE_2019, row, "OnsetFrame", f" {clip.onset} ")
        edit_table(tmp_path / TABLE_2019, row, "OffsetFrame", float(clip.offset))
        label = clip.emotion.title() + " "
        edit_table(tmp_path / TABLE_2019, row, "Estimated Emotion", label)
    edit_table(tmp_path / TABLE_2019, 2, "Action Units", 12.0)
    rows = {row.clip: row for row in read(tmp_path).rows}
    for clip in clips:
        row = rows[f"sub01/{clip.name}"]
        found = (row.onset, row.offset, row.emotion)
        assert found == (clip.onset, clip.offset, clip.emotion)
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
    assert len(read(tmp_path).clips[0].files) == clip.offset - clip.onset + 1


def test_all_problems_are_listed_before_anything_is_written(tmp_path):
    manual = tmp_path / "manual"
    clips = write_casme2(manual, subjects=1)
    path = manual / TABLE_2019
    top = manual / "Cropped" / "sub01"
    edit_table(path, 2, "Estimated Emotion", "joy")
    edit_table(path, 3, "Action Units", "4+x")
    edit_table(path, 4, "OnsetFrame", 99)
    edit_table(path, 5, "Subject", "S?")
    edit_table(path, 6, "OffsetFrame", None)
    shutil.rmtree(top / clips[5].name)
    for frame in (top / clips[7].name).glob("*.jpg"):
        frame.unlink()
    data = tmp_path / "data"
    with pytest.raises(DatasetError) as error:
        build("casme2", manual_dir=manual, data_dir=data)
    text = str(error.value)
    assert "casme2: 7 problems" in text
    where = f"{TABLE_2019}, row 2, clip 'sub01/{clips[0].name}'"
    assert f"{where}, column 'Estimated Emotion': expected one of disgust" in text
    assert "found 'joy'" in text
    assert "row 3" in text and "AU cell '4+x', character 3" in text
    assert "column 'OffsetFrame': expected a frame number from 99 on" in text
    assert "column 'Subject': expected a number such as 01, found 'S?'" in text
    assert "row 6" in text and "found None" in text
    missing = f"row 7, clip sub01/{clips[5].name}: expected a folder of its frames"
    assert missing in text
    assert f"clip sub01/{clips[7].name}" in text and "found 0 of them" in text
    assert not list(data.rglob("*.array_record*")) and not list(data.rglob("features*"))


def test_only_ten_problems_are_shown(tmp_path):
    write_casme2(tmp_path, subjects=2)
    for row in range(2, 14):
        edit_table(tmp_path / TABLE_2019, row, "Estimated Emotion", "")
    with pytest.raises(DatasetError) as error:
        build("casme2", manual_dir=tmp_path, data_dir=tmp_path / "data")
    text = str(error.value)
    assert "12 problems" in text and "and 2 more" in text
    assert text.count("expected one of") == 10


def test_a_clip_twice_and_a_column_missing(tmp_path):
    clips = write_casme2(tmp_path, subjects=1)
    edit_table(tmp_path / TABLE_2019, 3, "Filename", clips[0].name)
    assert "expected each clip once; it is in CASME2" in texts(read(tmp_path))
    edit_table(tmp_path / TABLE_2019, 1, "ApexFrame", "Apex")
    with pytest.raises(DatasetError, match="header row .*; missing ApexFrame"):
        read(tmp_path)


def test_no_table_no_tree_no_workbook(tmp_path):
    with pytest.raises(DatasetError, match="expected the coding table CASME2-coding"):
        read(tmp_path)
    write_casme2(tmp_path / "a", subjects=1)
    (tmp_path / "a" / "Cropped").rename(tmp_path / "a" / "Pictures")
    with pytest.raises(DatasetError, match="expected a folder Cropped/"):
        read(tmp_path / "a")
    (tmp_path / "a" / "Cropped").write_bytes(b"a file")
    with pytest.raises(DatasetError, match="expected a folder Cropped/"):
        read(tmp_path / "a")
    path = tmp_path / "a" / TABLE_2019
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DatasetError, match=f"{TABLE_2019}: expected an xlsx workbook"):
        read(tmp_path / "a")


def full_table(path, version, labels):
    """A whole table, made up: `labels` [(subject, emotion), ...] and the real names."""
    workbook = openpyxl.Workbook()
    workbook.active.title = "Sheet1"
    columns = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame"]
    workbook.active.append([*columns, None, "Action Units", "Estimated Emotion"])
    for index, (subject, name, emotion) in enumerate(labels):
        name = name or f"EP{index:03d}"
        row = [f"{subject:02d}", name, None, 1, 2, 3, None, 4, emotion]
        workbook.active.append(row)
    workbook.save(path)
    return listed(TABLE, path)


def published(version):
    """255 made-up rows: the published counts, and the clips that tasks name."""
    counted = dict(EMOTIONS[version])
    rows = [(18, "", "others")] * 3  # sub18 has no other label
    counted["others"] -= 3
    for name in ("EP07_01", "EP07_04f", "EP10_03"):
        emotion = "surprise" if version == "20190701" else "sadness"
        rows.append((24, name, emotion))
        counted[emotion] -= 1
    rows += [(4, "EP12_01f", "disgust"), (5, "EP09_05f", "disgust")]
    counted["disgust"] -= 2
    # One subject beside sub18 has negative clips of fear and sadness alone.
    rest = [subject for subject in range(1, 27) if subject not in (18, 26)]
    rows += [(26, "", "fear")] + [(26, "", "sadness")] + [(26, "", "others")]
    for emotion in ("fear", "sadness", "others"):
        counted[emotion] -= 1
    index = 0
    for emotion, count in counted.items():
        for _ in range(count):
            rows.append((rest[index % len(rest)], "", emotion))
            index += 1
    return rows


@pytest.mark.parametrize("version", list(EMOTIONS))
def test_a_whole_table_gives_the_published_counts(tmp_path, version):
    rows, findings = full_table(tmp_path / "t.xlsx", version, published(version))
    assert len(rows) == 255 and not findings
    facts = [("clips", r.subject, f"casme2/{r.clip}", r.emotion) for r in rows]
    for name, task in tasks.tasks_of("casme2").items():
        found = counts.tally(task, facts)
        different = counts.differences(task, found)
        if version == "20190701" or name.endswith("megc2019"):
            assert different == [], name
        elif name == "casme2_5class":
            line = "clips: clips 246 instead of 249, surprise 25 instead of 28"
            assert different == [line]


def test_labels_of_a_whole_table_must_add_up(tmp_path):
    write_casme2(tmp_path, subjects=1, clips_per_subject=1)
    rows = published("20190701")
    full_table(tmp_path / TABLE_2019, "20190701", rows)
    assert "counts" not in dict(kinds(read(tmp_path)))
    rows[-1] = (rows[-1][0], "", "fear")
    full_table(tmp_path / TABLE_2019, "20190701", rows)
    release = read(tmp_path)
    assert ("counts", "") in kinds(release) and "'fear': 3" in texts(release)


def test_clips_without_an_au_that_has_words_are_told(tmp_path):
    made = write_casme2(tmp_path, subjects=1, clips_per_subject=5)
    clips = [f"sub01/{clip.name}" for clip in made]
    cells = ("?", "45", "4+74", "L45 or 46", None)
    for row, cell in enumerate(cells, start=2):
        edit_table(tmp_path / TABLE_2019, row, "Action Units", cell)
    release = Casme2.read(tmp_path, "cropped")
    told = {f.clip: f.text for f in release.findings if f.kind == "no_aus"}
    wordless = [clips[index] for index in (0, 1, 3, 4)]
    assert sorted(told) == sorted(wordless) and len(release.clips) == 5
    assert told[clips[0]] == "AU cell '?': no AU that has words"
    (unscorable,) = [f for f in release.findings if f.kind == "unscorable"]
    assert unscorable.clip == clips[2]
    assert unscorable.text == "AU cell '4+74': 74 says that nothing can be scored; kept"
