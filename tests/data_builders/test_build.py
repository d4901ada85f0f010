import errno
import fcntl
import os
import pathlib
import subprocess
import sys

import pytest
from tensorflow_datasets.core import shuffle

from data_builders import build
from data_builders.casme2 import builder as casme2
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
    folder = data / "casme2" / "cropped" / "1.0.0"
    assert "clips        6\nsubjects     2\n" in shown
    assert f"folder       {folder}\n" in shown and folder.is_dir()
    assert "disgust 1" in shown and "coding table CASME2-coding-2019" in shown
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
    for name in ("casme3", "casme2/small"):
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
    before = capsys.readouterr().out

    def full(clip):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(casme2, "read_clip", full)
    assert run(manual, data, "--overwrite") == 1
    assert "the disk is full" in capsys.readouterr().err
    assert visible(data) == ["casme2"] and not list(data.glob(".incomplete*"))
    assert run(manual, data) == 0
    assert capsys.readouterr().out.endswith(before)


KILLED = """
import os, signal, sys
from data_builders import build
from data_builders.casme2 import builder
read, left = builder.read_clip, [4]
def read_then_die(clip):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(clip)
builder.read_clip = read_then_die
build.main(sys.argv[1:])
"""
LIMITED = """
import resource, sys
from data_builders import build
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(build.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("program", "code"), [(KILLED, -9), (LIMITED, 1)])
def test_a_killed_build_or_a_full_disk_leaves_nothing(manual, tmp_path, program, code):
    data = tmp_path / "data"
    flags = ["--dataset=casme2", f"--manual_dir={manual}", f"--data_dir={data}"]
    done = subprocess.run(
        [sys.executable, "-c", program, *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    if code == 1:
        assert "the disk is full" in done.stderr
    assert visible(data) == []
    assert run(manual, data) == 0
    assert visible(data) == ["casme2"] and not list(data.glob(".incomplete*"))


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
    assert "another build of casme2-cropped is running" in capsys.readouterr().err
    assert run(manual, data) == 0


def test_datasets_beyond_the_memory_buffer_need_no_tensorflow(
    manual, tmp_path, monkeypatch
):
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1)
    assert run(manual, tmp_path / "data") == 0
    assert shuffle.MAX_MEM_BUFFER_SIZE == 1


def test_help_names_the_datasets(capsys):
    with pytest.raises(SystemExit) as stop:
        build.main(["--help"])
    assert stop.value.code == 0
    assert "casme2/raw" in capsys.readouterr().out
