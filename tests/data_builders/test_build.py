import errno
import fcntl
import json
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import build, doctor
from data_builders.readers.findings import STOP
from data_builders.records import contents, shards
from merclip_jax.faces import detectors
from tests.fixtures.casme2 import edit_table, write_casme2

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def manual(tmp_path):
    write_casme2(tmp_path / "manual", subjects=2, clips_per_subject=3)
    return tmp_path / "manual"


def run(manual, data, *more):
    flags = ["--dataset=casme2/cropped", f"--manual_dir={manual}", *more]
    return build.main([*flags, f"--data_dir={data}"])


def visible(data):
    return sorted(path.name for path in data.iterdir() if not path.name.startswith("."))


def test_a_build_ends_with_its_summary(manual, tmp_path, capsys):
    data = tmp_path / "data"
    assert run(manual, data) == 0
    shown = capsys.readouterr().out
    folder = data / "casme2" / "cropped" / "1.1.0"
    assert "clips        6\nsubjects     2\n" in shown
    assert f"folder       {folder}\n" in shown and folder.is_dir()
    assert "disgust 1" in shown and "table        CASME2-coding-2019" in shown
    first = shown.split("fingerprint  ")[1].split()[0]
    assert len(first) == 64 and visible(data) == ["casme2"]
    assert not list(data.glob(".incomplete*"))

    assert run(tmp_path / "not there", data) == 0
    shown = capsys.readouterr().out
    assert "is built already" in shown and first in shown

    edit_table(manual / "CASME2-coding-20190701.xlsx", 2, "Action Units", "4")
    assert run(manual, data) == 0
    assert first in capsys.readouterr().out
    assert run(manual, data, "--overwrite") == 0
    assert first not in capsys.readouterr().out


def test_the_same_files_have_the_same_fingerprint(manual, tmp_path, capsys):
    for name in "ab":
        assert run(manual, tmp_path / name) == 0
    prints = capsys.readouterr().out.split("fingerprint  ")
    assert prints[1].split()[0] == prints[2].split()[0]


def test_unknown_datasets_are_answered_with_the_known(tmp_path, capsys):
    for name in ("casme9", "casme2/small"):
        assert build.main([f"--dataset={name}", f"--data_dir={tmp_path}"]) == 1
        shown = capsys.readouterr().err
        assert repr(name) in shown and "casme2/cropped\n" in shown
        assert "synthetic/tiny" in shown


def test_a_missing_folder_is_answered_with_how_to_get_the_data(tmp_path, capsys):
    data = f"--data_dir={tmp_path / 'data'}"
    for flags in ([], [f"--manual_dir={tmp_path / 'gone'}"]):
        assert build.main(["--dataset=casme2", data, *flags]) == 1
        shown = capsys.readouterr().err
        assert "--manual_dir" in shown and "casme.psych.ac.cn" in shown
        assert "python -m data_builders.build --dataset=casme2/cropped" in shown
    assert not (tmp_path / "data").exists()
    assert build.main(["--dataset=casme2", data, f"--manual_dir={tmp_path}"]) == 1
    shown = capsys.readouterr().err
    assert "expected the coding table" in shown and "casme.psych.ac.cn" in shown


def test_a_failed_overwrite_keeps_what_was_there(manual, tmp_path, capsys, monkeypatch):
    data = tmp_path / "data"
    assert run(manual, data) == 0
    before = capsys.readouterr().out.split("clips   ")[1]

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(build, "make", full)
        assert run(manual, data, "--overwrite") == 1
    assert "the disk is full" in capsys.readouterr().err
    assert visible(data) == ["casme2"]
    assert run(manual, data) == 0
    assert capsys.readouterr().out.split("clips   ")[1] == before


KILLED = """
import os, signal, sys
from data_builders import build
from data_builders.records import shards
shards.SHARD = 2
make, left = build.make, [4]
def make_then_die(*args):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(*args)
build.make = make_then_die
build.main([*sys.argv[1:], "--workers=1"])
"""
LIMITED = """
import resource, sys
from data_builders import build
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(build.main(sys.argv[1:]))
"""


def start(program, *flags):
    return subprocess.run(
        [sys.executable, "-c", program, *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(("program", "code"), [(KILLED, -9), (LIMITED, 1)])
def test_after_a_kill_or_a_full_disk_nothing_looks_whole(
    manual, tmp_path, program, code, capsys
):
    data = tmp_path / "data"
    flags = ["--dataset=casme2", f"--manual_dir={manual}", f"--data_dir={data}"]
    done = start(program, *flags)
    assert done.returncode == code, done.stderr
    if code == 1:
        assert "the disk is full" in done.stderr
    assert visible(data) == []
    assert run(manual, data) == 0
    assert visible(data) == ["casme2"] and not list(data.glob(".incomplete*"))
    assert run(manual, tmp_path / "at once") == 0
    prints = capsys.readouterr().out.split("fingerprint  ")
    assert prints[1].split()[:3] == prints[2].split()[:3]  # and the records' hash


def landmarks_csv(manual):
    """Five points for every clip, in a table of their own."""
    columns = [f"{name}_{axis}" for name in FIVE for axis in "xy"]
    lines = [",".join(["clip", *columns])]
    for folder in sorted((manual / "Cropped").glob("*/EP*")):
        points = ",".join(f"{x},{y}" for x, y in FIVE.values())
        lines.append(f"{folder.parent.name}/{folder.name},{points}")
    path = manual.parent / "landmarks.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


FIVE = {
    "left_eye": (9, 13),
    "right_eye": (19, 13),
    "nose": (14, 20),
    "mouth_left": (10, 26),
    "mouth_right": (18, 26),
}


def test_a_killed_build_goes_on_where_it_was(manual, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    first = sorted((manual / "Cropped" / "sub01").glob("EP*"))[0]
    image = next(first.glob("*.jpg"))  # in the first shard: a frame of another size
    cv2.imwrite(str(image), cv2.resize(cv2.imread(str(image)), (40, 40)))
    faces_of = ["--faces=csv", f"--landmarks={landmarks_csv(manual)}", "--size=32"]
    flags = [f"--manual_dir={manual}", f"--data_dir={data}", *faces_of]
    assert start(KILLED, "--dataset=casme2", *flags).returncode == -9
    made = []
    make = build.make

    def counted(dataset, clip, crop):
        made.append(clip.row.clip)
        return make(dataset, clip, crop)

    monkeypatch.setattr(build, "make", counted)
    assert run(manual, data, *faces_of) == 0
    assert "2 of 6 clips are there already" in capsys.readouterr().out
    assert len(made) == 4
    folder = data / "casme2" / "cropped" / "1.1.0"
    names = [record["clip"] for record in contents.read_back(folder)]
    assert names == sorted(names) and len(names) == 6
    at_once = tmp_path / "at once"
    assert run(manual, at_once, *faces_of) == 0
    metadata = folder / "metadata.json"
    whole = json.loads((at_once / metadata.relative_to(data)).read_text())
    assert json.loads(metadata.read_text()) == whole
    assert [found["clip"] for found in whole["findings"]["size"]] == ["sub01/EP01_2"]

    # What was kept belongs to other files: begun anew.
    (data / "casme2").rename(tmp_path / "elsewhere")
    assert start(KILLED, "--dataset=casme2", *flags).returncode == -9
    image.write_bytes(image.read_bytes())
    made.clear()
    assert run(manual, data, *faces_of) == 0
    assert len(made) == 6


def test_workers_change_nothing(manual, tmp_path, capsys):
    for workers in (1, 4):
        assert run(manual, tmp_path / str(workers), f"--workers={workers}") == 0
    prints = capsys.readouterr().out.split("fingerprint  ")
    assert prints[1].split()[:3] == prints[2].split()[:3]


def test_an_interrupted_build_says_so(manual, tmp_path, monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "in_order", stop)
    assert run(manual, tmp_path / "data") == 130
    assert "the same command goes on" in capsys.readouterr().err


def damage(manual, name):
    """Make the second clip bad in a way; returns what the report must name."""
    clips = sorted((manual / "Cropped").glob("*/EP*"))
    frames = sorted(clips[1].glob("*.jpg"))
    if name == "corrupt":  # begins and ends as it must, holds rubbish
        frames[2].write_bytes(b"\xff\xd8\xff" + b"x" * 99 + b"\xff\xd9")
        return f"{frames[2]}: expected a whole jpg"
    if name == "truncated":
        frames[2].write_bytes(frames[2].read_bytes()[:200])
        return f"{frames[2]}: expected a"
    if name == "outside":
        away = manual.parent / "away.jpg"
        frames[2].rename(away)
        frames[2].symlink_to(away)
        return f"{frames[2]}: leads out of the dataset's folder"
    if name == "twice":
        table = manual / "CASME2-coding-20190701.xlsx"
        edit_table(table, 3, "Filename", clips[0].name)
        return "expected each clip once"
    for frame in frames:
        frame.unlink()
    return "found 0 of them"


def aligned(monkeypatch):
    """A landmark source that finds a face everywhere, so that pictures are decoded."""

    class Everywhere:
        name = "everywhere"

        def find(self, image, onset):
            h, w = image.shape[:2]
            points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
            return np.asarray(points) * (w, h)

    monkeypatch.setattr(detectors, "DlibLandmarks", Everywhere)


@pytest.mark.parametrize("name", ["corrupt", "truncated", "outside", "empty", "twice"])
def test_a_bad_clip_stops_the_build_or_is_left_out(
    manual, tmp_path, capsys, monkeypatch, name
):
    aligned(monkeypatch)
    text = damage(manual, name)
    data, flags = tmp_path / "data", ["--faces=dlib", "--size=32"]
    assert run(manual, data, *flags) == 1
    assert text in capsys.readouterr().err
    assert visible(data) == [] and not list(data.glob(".incomplete*"))
    assert doctor.main(["--dataset=casme2", f"--manual_dir={manual}", *flags]) == 1
    assert text in capsys.readouterr().out
    assert run(manual, data, *flags, "--skip_bad") == 0
    shown = capsys.readouterr().out
    assert "clips        5\n" in shown and text in shown
    metadata = tfds.builder_from_directory(
        data / "casme2" / "cropped" / "1.1.0"
    ).info.metadata
    stopping = [f for kind, f in metadata["findings"].items() if kind in STOP]
    assert len(stopping) == len(stopping[0]) == 1
    assert text in f"{stopping[0][0]['where']}: {stopping[0][0]['text']}"
    # The same command with other faces must not pass for the same dataset.
    assert run(manual, data) == 1
    assert "built with faces 'everywhere, 32 px, margin 2.5'" in capsys.readouterr().err


def test_a_stopped_build_with_bad_clips_goes_on(manual, tmp_path, capsys):
    text = damage(manual, "truncated")
    data = tmp_path / "data"
    flags = ["--dataset=casme2", f"--manual_dir={manual}", f"--data_dir={data}"]
    assert start(KILLED, *flags, "--skip_bad").returncode == -9
    assert run(manual, data, "--skip_bad") == 0
    shown = capsys.readouterr().out
    assert "are there already" in shown and text in shown and "clips        5" in shown


def test_clips_cut_out_of_the_frames(manual, tmp_path, monkeypatch):
    """Records hold one crop per frame, and the landmarks in its pixels."""
    aligned(monkeypatch)
    assert run(manual, tmp_path / "data", "--faces=dlib", "--size=48") == 0
    folder = tmp_path / "data" / "casme2" / "cropped" / "1.1.0"
    for record in contents.read_back(folder):
        image = cv2.imdecode(np.frombuffer(record["frames"][0], np.uint8), 1)
        assert image.shape == (48, 48, 3)
        eyes = record["landmarks"][:2]
        assert eyes[0, 1] == pytest.approx(eyes[1, 1]) and (eyes > 0).all()
        assert (eyes < 48).all()


def test_no_face_stops_or_is_centred(manual, tmp_path, monkeypatch, capsys):
    class Nowhere:
        name = "nowhere"

        def find(self, image, onset):
            return None

    monkeypatch.setattr(detectors, "DlibLandmarks", Nowhere)
    assert run(manual, tmp_path / "data", "--faces=dlib") == 1
    shown = capsys.readouterr().err
    assert "6 problems" in shown and "no face in the onset frame" in shown
    assert run(manual, tmp_path / "data", "--faces=dlib", "--centre_crop") == 0
    shown = capsys.readouterr().out
    assert "6 clips without a face, kept with a centre crop" in shown
    assert shown.count("no face in the onset frame") == 3 and "and 3 more" in shown


def test_flags_that_do_not_go_together(manual, tmp_path, capsys):
    for flags in (["--faces=csv"], ["--landmarks=x"], ["--faces=yunet"]):
        assert run(manual, tmp_path, *flags) == 1
        assert "goes with --faces=" in capsys.readouterr().err
    assert run(manual, tmp_path, "--faces=yunet", "--yunet_model=gone.onnx") == 1
    assert "gone.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["casme2-clips.array_record*", "*info.json", "meta*"])
def test_a_damaged_dataset_is_not_taken_for_a_whole_one(manual, tmp_path, capsys, name):
    data = tmp_path / "data"
    assert run(manual, data) == 0
    (path,) = data.rglob(name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(manual, data) == 1
    shown = capsys.readouterr().err
    assert "damaged" in shown and "--overwrite" in shown
    assert run(manual, data, "--overwrite") == 0


def test_two_builds_of_one_dataset_do_not_meet(manual, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    with open(data / ".casme2-cropped.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(manual, data) == 1
    assert (
        "a build of casme2-cropped is going on by another process"
        in capsys.readouterr().err
    )
    assert run(manual, data) == 0


def test_help_names_the_datasets(capsys):
    with pytest.raises(SystemExit) as stop:
        build.main(["--help"])
    assert stop.value.code == 0
    assert "casme2/raw" in capsys.readouterr().out
