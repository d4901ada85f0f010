"""What a review found that the other tests did not notice."""

import errno
import os

import cv2
import numpy as np
import openpyxl
import pytest

from data_builders import build, doctor
from data_builders.casme2.builder import Casme2
from data_builders.records import crop, encode, shards
from merclip_jax.faces import detectors
from tests.data_builders.test_build import KILLED, aligned, manual, run, start
from tests.fixtures.casme2 import edit_table
from tests.fixtures.dfme import write_dfme

_ = manual
TABLE = "CASME2-coding-20190701.xlsx"


def test_a_killed_build_goes_on_before_the_last_split_has_begun(tmp_path, capsys):
    write_dfme(tmp_path / "owners")
    flags = ["--dataset=dfme", f"--manual_dir={tmp_path / 'owners'}", "--faces=none"]
    flags.append(f"--data_dir={tmp_path / 'data'}")
    assert start(KILLED, *flags).returncode == -9  # in test_b; train has no shard yet
    assert build.main(flags) == 0
    assert "2 of 13 clips are there already" in capsys.readouterr().out


def test_a_split_of_which_nothing_can_be_built_is_left_out(tmp_path, capsys):
    write_dfme(tmp_path / "owners")
    for path in (tmp_path / "owners" / "test_data_B").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:40])
    flags = ["--dataset=dfme", f"--manual_dir={tmp_path / 'owners'}", "--faces=none"]
    flags += [f"--data_dir={tmp_path / 'data'}", "--skip_bad"]
    assert build.main(flags) == 0
    assert build.main(flags) == 0  # and can be read back


@pytest.mark.parametrize("what", ["crop", "row"])
def test_shards_of_another_crop_or_table_are_not_taken(
    manual, tmp_path, capsys, monkeypatch, what
):
    data = tmp_path / "data"
    flags = ["--dataset=casme2", f"--manual_dir={manual}", f"--data_dir={data}"]
    assert start(KILLED, *flags).returncode == -9
    aligned(monkeypatch)
    more = ["--faces=dlib", "--size=32"] if what == "crop" else []
    if what == "row":
        edit_table(manual / TABLE, 2, "Action Units", "4")
    assert run(manual, data, *more) == 0
    assert "there already" not in capsys.readouterr().out


def test_colours_reach_the_landmarks_and_the_crop(manual, tmp_path, monkeypatch):
    seen = []

    class Red:
        name = "red"

        def find(self, image, onset):
            seen.append(image.mean((0, 1)))
            h, w = image.shape[:2]
            points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
            return np.asarray(points) * (w, h)

    for path in manual.rglob("*.jpg"):
        cv2.imwrite(str(path), np.full((34, 28, 3), (20, 60, 220), np.uint8))
    clip = Casme2.read(manual, "cropped").clips[0]
    small, large = (
        encode.make("casme2", clip, crop.Crop(Red(), 32, margin))[0]
        for margin in (0.5, 1.0)
    )
    assert np.abs(np.array(seen) - (220, 60, 20)).max() < 4
    cut = cv2.imdecode(np.frombuffer(small["frames"][0], np.uint8), 1)
    assert np.abs(cut.mean((0, 1)) - (20, 60, 220)).max() < 4
    assert small["source_hash"] == large["source_hash"]  # of the owners' files
    wide = np.ptp(small["landmarks"][:, 0]) / np.ptp(large["landmarks"][:, 0])
    assert wide == pytest.approx(2)
    assert 0 < small["landmarks"].min() or np.ptp(small["landmarks"]) > 31


def test_a_table_without_rows_is_not_sound(manual, capsys):
    workbook = openpyxl.load_workbook(manual / TABLE)
    workbook["Sheet1"].delete_rows(2, 100)
    workbook.save(manual / TABLE)
    assert doctor.main(["--dataset=casme2", f"--manual_dir={manual}"]) == 1
    said = f"NOT sound: see above what stops a build; no clip of {TABLE} can be built"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("what", ["rubbish", "folder", "dangling", "loop"])
def test_what_is_no_picture_is_named_without_faces_too(manual, tmp_path, capsys, what):
    frame = sorted(sorted((manual / "Cropped").glob("*/EP*"))[1].glob("*.jpg"))[2]
    frame.unlink()
    if what == "rubbish":
        frame.write_bytes(b"\xff\xd8\xff" + b"x" * 99 + b"\xff\xd9")
    elif what == "folder":
        frame.mkdir()
    else:
        frame.symlink_to("gone.jpg" if what == "dangling" else frame.name)
    assert run(manual, tmp_path / "data") == 1
    assert str(frame) in capsys.readouterr().err
    assert run(manual, tmp_path / "data", "--skip_bad") == 0
    assert "clips        5\n" in capsys.readouterr().out


def test_the_doctor_tells_of_landmarks_that_cannot_align(manual, capsys, monkeypatch):
    class Point:
        name = "point"

        def find(self, image, onset):
            return np.full((5, 2), 9.0)

    monkeypatch.setattr(detectors, "DlibLandmarks", Point)
    flags = ["--dataset=casme2", f"--manual_dir={manual}", "--faces=dlib"]
    assert doctor.main(flags) == 1
    assert "both eyes are at one place" in capsys.readouterr().out


def test_the_crop_is_part_of_the_fingerprint(manual, tmp_path, capsys, monkeypatch):
    aligned(monkeypatch)
    prints = []
    for name, flag in (("a", "--margin=2.5"), ("b", "--margin=2"), ("c", "--size=40")):
        assert run(manual, tmp_path / name, "--faces=dlib", flag) == 0
        prints.append(capsys.readouterr().out.split("fingerprint  ")[1].split()[:3])
    assert len({fingerprint for fingerprint, _, _ in prints}) == 3
    assert len({records for _, _, records in prints}) == 3


def test_landmarks_of_another_resolution_are_refused(manual, tmp_path, capsys):
    class Far:
        name = "far"

        def find(self, image, onset):
            return np.asarray(
                [(500, 400), (600, 400), (550, 450), (510, 500), (590, 500)]
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "DlibLandmarks", Far)
        assert run(manual, tmp_path / "data", "--faces=dlib") == 1
    assert (
        "landmarks around 550, 450 lie outside the picture" in capsys.readouterr().err
    )


@pytest.mark.parametrize("flag", ["--workers=0", "--workers=-1", "--workers=x"])
def test_wrong_numbers_are_wrong_usage(manual, tmp_path, flag):
    for command in (build.main, doctor.main):
        with pytest.raises(SystemExit) as stop:
            command(["--dataset=casme2", f"--manual_dir={manual}", flag])
        assert stop.value.code == 2


@pytest.mark.parametrize("flag", ["--size=8", "--size=40000", "--margin=nan"])
def test_crops_that_cannot_be_are_refused(manual, tmp_path, capsys, monkeypatch, flag):
    aligned(monkeypatch)
    assert run(manual, tmp_path / "data", "--faces=dlib", flag) == 1
    assert "--size must be" in capsys.readouterr().err


def test_places_where_nothing_can_be_written(manual, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert run(manual, tmp_path / "file") == 1
    assert f"--data_dir={tmp_path / 'file'}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        doctor.main(["--dataset=casme2", f"--manual_dir={manual}", "--json=no/x.json"])
    assert stop.value.code == 2


def test_a_disk_that_fills_while_the_journal_is_written(
    manual, tmp_path, capsys, monkeypatch
):
    def full(path, data):
        raise OSError(errno.ENOSPC, "could not write: the disk is full", str(path))

    monkeypatch.setattr(shards, "write_atomically", full)
    assert run(manual, tmp_path / "data") == 1
    assert "the disk is full (" in capsys.readouterr().err


def test_a_kill_between_the_two_names_of_an_overwrite_loses_nothing(
    manual, tmp_path, capsys
):
    data = tmp_path / "data"
    assert run(manual, data) == 0
    staging = data / ".incomplete-casme2-cropped"
    staging.mkdir()
    (data / "casme2" / "cropped" / "1.1.0").rename(staging / "replaced")
    edit_table(manual / TABLE, 2, "Action Units", "4+x")  # the next build fails
    assert run(manual, data) == 1
    capsys.readouterr()
    assert run(manual, data) == 0
    assert "is built already" in capsys.readouterr().out


def test_folders_whose_names_are_not_utf8(manual, tmp_path):
    named = manual.parent / os.fsdecode(b"gbk-\xd6\xd0")
    manual.rename(named)
    assert run(named, tmp_path / "data") == 0
