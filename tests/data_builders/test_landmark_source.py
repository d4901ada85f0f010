"""Doctor and build on tables of landmarks: what stops, what is told, whose rows."""

import csv
import json
import warnings

import numpy as np
import pytest

from data_builders import build, doctor
from data_builders.records import contents
from tests.fixtures.casme2 import write_casme2

COORDINATES = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
HEADER = ["frame", "face_id", "confidence", "success", *COORDINATES]
FRAMES = 20  # of the clip: img10.jpg to img29.jpg


def face(x=0.0):
    """An upright face of 68 points, float64 [68, 2]."""
    points = np.random.default_rng(0).uniform(60, 140, (68, 2)).round(2)
    points[36:42], points[42:48], points[30] = [80, 80], [120, 80], [100, 100]
    points[48], points[54] = [85, 125], [115, 125]
    return points + [x, 0]


def write(path, rows, header=HEADER):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def rows(points=face, frames=range(1, FRAMES + 1)):
    return [[i, 0, 0.98, 1, *points(4.0 * i).T.ravel()] for i in frames]


@pytest.fixture
def run(tmp_path):
    """Doctor and build with a source: status of both, findings, the one record."""
    write_casme2(
        tmp_path / "set",
        tree="selected",
        subjects=1,
        clips_per_subject=1,
        size=(240, 320),
    )

    def run(source, *flags):
        shared = ["--dataset=casme2/selected", f"--manual_dir={tmp_path / 'set'}"]
        shared += ["--faces=csv", f"--landmarks={source}", *flags]
        report = tmp_path / "report.json"
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            told = doctor.main([*shared, f"--json={report}"])
            made = build.main([*shared, f"--data_dir={tmp_path / 'data'}"])
        assert told == made
        found = json.loads(report.read_text())
        folder = next((tmp_path / "data").glob("casme2/selected/*"), None)
        (record,) = contents.read_back(folder) if folder else (None,)
        return found.get("findings", found.get("error")), record

    return run


def stopped(findings, kind):
    (told,) = findings[kind]
    assert "img10.jpg" in told["text"] and told["clip"] == "sub01/EP02_01f"
    return told["text"]


def test_rows_with_dropped_frames_are_positions(run, tmp_path):
    """The record's landmarks are those of row 1, moved as the picture was."""
    whole = run(write(tmp_path / "a" / "EP02_01f.csv", rows()))[1]
    some = [1, *range(4, FRAMES - 3)]
    few = write(tmp_path / "b" / "EP02_01f.csv", rows(frames=some))
    (tmp_path / "data").rename(tmp_path / "before")
    findings, record = run(few)
    np.testing.assert_array_equal(record["landmarks"], whole["landmarks"])
    assert not {"face", "landmarks", "assumed"} & set(findings)


def test_an_onset_that_was_dropped_is_no_other_frame(run, tmp_path):
    source = write(tmp_path / "EP02_01f.csv", rows(frames=range(2, 20)))
    findings, _ = run(source)
    assert "rows of frames 2..19 but none of 1" in stopped(findings, "landmarks")
    findings, record = run(source, "--centre_crop")
    assert "none of 1" in stopped(findings, "centred") and record is not None


def test_an_open_reading_is_asked_for(run, tmp_path):
    source = write(tmp_path / "EP02_01f.csv", rows(frames=range(10, 20)))
    found, _ = run(source)
    assert "row 10, by its number, or row 1" in found
    assert "--landmark_numbers" in found
    findings, record = run(source, "--landmark_numbers=frames")
    assert record is not None and "landmarks" not in findings


def test_no_face_is_what_a_row_says(run, tmp_path):
    bad = rows()
    bad[0][2:4] = [0.02, 0]
    bad[0][4:] = ["-nan(ind)"] * 136
    findings, _ = run(write(tmp_path / "EP02_01f.csv", bad))
    assert "no face in the onset frame" in stopped(findings, "face")


def test_a_failed_row_of_another_frame_stops_nothing(run, tmp_path):
    bad = rows()
    bad[-1][4:] = ["-nan(ind)"] * 136
    bad[-2][7] = "rubbish"
    findings, record = run(write(tmp_path / "EP02_01f.csv", bad))
    assert record is not None and not {"face", "landmarks"} & set(findings)


def test_tables_of_pictures(run, tmp_path):
    for number in range(10, 30):
        path = tmp_path / "tables" / "sub01" / "EP02_01f" / f"img{number}.csv"
        cells = [0, 0.98, *face(4.0 * number).T.ravel()]
        write(path, [cells], ["face", "confidence", *COORDINATES])
    findings, record = run(tmp_path / "tables")
    assert record["landmarks"].shape == (68, 2)
    assert not {"unused", "landmarks", "face"} & set(findings)


def test_tables_of_nobody_say_what_they_look_like(run, tmp_path):
    for number in range(10, 30):
        write(tmp_path / "flat" / f"img{number}.csv", rows(frames=[1]))
    found, _ = run(tmp_path / "flat", "--centre_crop")
    assert "20 tables, none named as a clip" in found
    assert "look like names of pictures" in found


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda p: [320, 0] + p * [-1, 1], "turned by 180 degrees"),
        (lambda p: [0, 240] + p * [1, -1], "eyes lie below the mouth"),
        (lambda p: np.where(p > 139, 1e308, p), "coordinates up to 1e.308"),
    ],
)
def test_faces_that_cannot_be(run, tmp_path, spoil, message):
    source = write(tmp_path / "EP02_01f.csv", rows(lambda x: spoil(face(x))))
    findings, _ = run(source)
    (told,) = findings["landmarks"]
    assert told["clip"] == "sub01/EP02_01f"
    assert message.replace(".308", "+308") in told["text"]


def test_the_flag_goes_with_tables(run, tmp_path, capsys):
    flags = ["--dataset=casme2/selected", f"--manual_dir={tmp_path / 'set'}"]
    assert doctor.main([*flags, "--faces=none", "--landmark_numbers=frames"]) == 1
    assert "--landmark_numbers goes with --faces=csv" in capsys.readouterr().err
