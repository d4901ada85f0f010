"""Pictures that bear other numbers than the table's stop a build until it is told."""

import json
import re

import cv2
import pytest

from data_builders import build, doctor
from data_builders.readers.frame_numbers import by_position, renumbered
from data_builders.records import contents
from tests.fixtures.casme2 import write_casme2


def stops(onset, offset, numbers, *others):
    """Whether the clip is stopped, among others whose numbers fit."""
    return bool(renumbered([((onset, offset), tuple(numbers)), *others])[0])


FIT = ((46, 86), tuple(range(46, 87)))


@pytest.mark.parametrize("others", [(), (FIT,)])
@pytest.mark.parametrize(
    "numbers",
    [
        range(1, 21),  # of 10..29, numbered anew from 1
        range(20),  # .. from 0
        range(1, 20),  # .. one frame lost
        range(1, 22),  # .. one frame more
        range(5, 25),  # as many beside as are missing at its end
        range(20, 40),  # .. at its beginning
        [*range(10), *range(20, 30)],  # nothing near the onset, as much outside
    ],
)
def test_numbers_that_slid(numbers, others):
    assert stops(10, 29, numbers, *others)


@pytest.mark.parametrize(
    "onset, offset, numbers",
    [
        (10, 29, range(10, 30)),
        (1, 20, range(1, 21)),
        (10, 29, [10, 11, 15, 20, 29]),  # a camera dropped frames
        (10, 29, range(14, 30)),  # the first ones are lost, none lies outside
        (10, 29, range(8, 28)),  # loose ends
        (10, 29, range(1, 60)),  # a recording around the clip
        (10, 29, [1, 2, *range(10, 29), 35]),
        (10, 29, ()),
    ],
)
def test_numbers_that_are_the_tables(onset, offset, numbers):
    assert not stops(onset, offset, numbers)


def test_a_frame_or_two_are_loose_ends_where_others_fit():
    """One tool wrote all; a single clip that is one frame off is asked about."""
    assert stops(2, 21, range(1, 21))
    assert not stops(2, 21, range(1, 21), FIT)
    assert stops(9, 28, range(1, 21), FIT)


def test_whole_recordings_begin_anywhere():
    """But one that is as long as the clip and ends before it is no recording."""
    clips = [
        ((10, 29), range(1, 25)),
        ((10, 29), range(5, 60)),
        ((10, 29), range(1, 21)),
    ]
    numbers = [(span, tuple(numbers)) for span, numbers in clips]
    assert list(map(bool, renumbered(numbers, whole=True))) == [False, False, True]


def test_positions_begin_at_the_onset(tmp_path):
    files = {3: tmp_path / "a3", 7: tmp_path / "a7"}
    assert by_position(files, (10, 29)) == {10: files[3], 11: files[7]}


@pytest.fixture
def crops(tmp_path):
    """Face crops numbered 1..n by the tool that cut them."""
    write_casme2(tmp_path / "set", subjects=2, clips_per_subject=2, size=(60, 50))
    for clip in (tmp_path / "set" / "Cropped").glob("sub*/EP*"):
        for i, path in enumerate(in_order(clip), start=1):
            path.rename(clip / f"face_{i:06d}.jpg")
    return tmp_path / "set"


def in_order(clip):
    return sorted(clip.glob("*.jpg"), key=lambda p: int(re.findall(r"\d+", p.stem)[-1]))


def both(manual, *flags):
    """Exit status of doctor and build, what the doctor found, and the records."""
    shared = [f"--manual_dir={manual}", *flags]
    report, data = manual.parent / "r.json", manual.parent / "data"
    told = doctor.main(["--dataset=casme2", f"--json={report}", *shared])
    made = build.main(["--dataset=casme2", f"--data_dir={data}", *shared])
    folder = next(data.glob("casme2/cropped/*"), None)
    records = list(contents.read_back(folder)) if folder else []
    return (told, made), json.loads(report.read_text())["findings"], records


def test_crops_that_were_numbered_anew_stop(crops, capsys):
    status, findings, records = both(crops)
    assert status == (1, 1) and not records
    assert len(findings["renumbered"]) == 4
    assert "pictures numbered 1..20" in findings["renumbered"][0]["text"]
    assert "--frame_numbers=positions" in capsys.readouterr().err


def test_positions_take_them_in_order(crops):
    status, findings, records = both(crops, "--frame_numbers=positions")
    assert status == (0, 0) and not {"renumbered", "missing", "extra"} & set(findings)
    (first,) = [r for r in records if r["clip"] == b"casme2/sub01/EP02_01f"]
    assert list(first["frame_numbers"]) == list(range(10, 30))
    files = in_order(crops / "Cropped" / "sub01" / "EP02_01f")
    assert list(first["frames"]) == [path.read_bytes() for path in files]


def test_a_dataset_of_another_reading_is_not_taken_for_built(crops, capsys):
    both(crops, "--frame_numbers=positions")
    status, _, _ = both(crops, "--frame_numbers=names")
    assert status == (0, 1)
    assert "built with --frame_numbers=positions, asked" in capsys.readouterr().err


def test_a_lost_picture_has_no_place(crops):
    clip = crops / "Cropped" / "sub01" / "EP02_01f"
    in_order(clip)[4].unlink()
    status, findings, _ = both(crops, "--frame_numbers=positions")
    assert status == (0, 0)
    (told,) = findings["missing"]
    assert told["text"].startswith("19 of 20 frames, taken in order: which")


def test_formats_that_are_not_read_are_named(crops):
    clip = crops / "Cropped" / "sub01" / "EP02_01f"
    for path in clip.glob("*.jpg"):
        path.rename(path.with_suffix(".TIF"))
    status, findings, _ = both(crops, "--frame_numbers=positions")
    assert status == (1, 1)
    assert "found face_000001.TIF and 19 more" in findings["image"][0]["text"]


def test_names_believe_the_numbers(crops):
    status, findings, records = both(crops, "--frame_numbers=names")
    assert status == (0, 0) and len(findings["extra"]) == 4
    assert sum(len(record["frames"]) for record in records) == 51


def test_more_pictures_than_frames_have_no_positions(crops):
    clip = crops / "Cropped" / "sub01" / "EP02_01f"
    cv2.imwrite(str(clip / "face_000021.jpg"), cv2.imread(str(in_order(clip)[0])))
    status, findings, _ = both(crops, "--frame_numbers=positions")
    assert status == (1, 1)
    (told,) = findings["renumbered"]
    assert "expected at most 20 pictures" in told["text"]


def test_recordings_have_no_positions(tmp_path, capsys):
    write_casme2(tmp_path / "set", tree="raw", subjects=1, clips_per_subject=1)
    flags = [f"--manual_dir={tmp_path / 'set'}", "--frame_numbers=positions"]
    assert doctor.main(["--dataset=casme2/raw", "--faces=none", *flags]) == 1
    assert "which of them are 10..29 is not known" in capsys.readouterr().out
