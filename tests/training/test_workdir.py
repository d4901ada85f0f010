"""Nothing lost, nothing silently reused: workdirs, member files, full disks."""

import dataclasses
import errno
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from merclip_jax import atomic, processes
from merclip_jax.data.folds import Fold, Member
from merclip_jax.errors import UserError
from merclip_jax.systems.system import Context
from merclip_jax.training.members import MemberResult
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.systems.tiny import Tiny

IDENTITY = {"train.epochs": 3, "protocol.seeds": (0, 1), "data.classes": [["a", ["b"]]]}


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_a_workdir_is_claimed_once_and_stays_its_runs(tmp_path):
    run = tmp_path / "deep" / "run"
    Workdir(run).open(IDENTITY)
    before = contents(run)
    assert list(before) == [".lock", "run.json"]
    Workdir(run).open(IDENTITY | {"protocol.seeds": [0, 1]})  # as JSON has it
    assert contents(run) == before


def test_another_runs_workdir_is_refused_and_not_touched(tmp_path):
    Workdir(tmp_path).open(IDENTITY | {"old": True})
    (tmp_path / "card.json").write_text("{}")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="nothing in it was touched") as caught:
        Workdir(tmp_path).open(IDENTITY | {"train.epochs": 4, "new": None})
    lines = str(caught.value).splitlines()
    assert [line.strip() for line in lines[1:-1]] == [
        "new: there '(absent)', now None",
        "old: there True, now '(absent)'",
        "train.epochs: there 3, now 4",
    ]
    assert str(tmp_path) in lines[0]
    assert contents(tmp_path) == before


def test_a_folder_of_other_things_is_refused_and_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and was not made by"):
        Workdir(tmp_path).open(IDENTITY)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


def test_hidden_files_do_not_make_a_folder_another_ones(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    Workdir(tmp_path).open(IDENTITY)
    assert (tmp_path / "run.json").exists()


def test_a_workdir_of_an_earlier_version_is_refused_by_name(tmp_path):
    """run.json without a schema: version 0.1.0's, whose members lack columns."""
    (tmp_path / "run.json").write_text(json.dumps(IDENTITY | {"version": "0.1.0"}))
    (tmp_path / "members").mkdir()
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"made by version 0\.1\.0") as caught:
        Workdir(tmp_path).open(IDENTITY | {"version": "0.2.0"})
    assert "nothing in it was touched" in str(caught.value)
    assert contents(tmp_path) == before


def test_only_process_0_writes(tmp_path, monkeypatch):
    """Every other one leaves no file, whatever it is asked to write."""
    Workdir(tmp_path / "run").open(IDENTITY)
    before = files_below(tmp_path)
    monkeypatch.setattr(processes, "first", lambda: False)
    monkeypatch.setattr(processes, "agreed", lambda make: {"machines": []})
    run = Workdir(tmp_path / "run")
    run.open(IDENTITY)
    run.write("card.json", b"{}")
    run.save_member(MEMBER, result())
    run.save_weights(MEMBER, Tiny(), {}, Context(), lineage=[])
    assert run.stack(lambda: 3) == 3
    writer = run.scalars("round1of1", resume_at=0)
    writer.write(0, {"loss": 1.0})
    writer.close()
    run.forget("round1of1")
    assert files_below(tmp_path) == before


def files_below(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("content", ["", '{"train.epochs": 3', "\x00" * 20])
def test_a_damaged_run_json_is_named(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"run\.json: not readable"):
        Workdir(tmp_path).open(IDENTITY)
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["[1]", "3", "null"])
def test_a_foreign_run_json_is_named(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"run\.json"):
        Workdir(tmp_path).open(IDENTITY)
    assert path.read_text() == content


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory"):
        Workdir(tmp_path / "file" / "run").open(IDENTITY)


CLIPS = np.asarray(["s/1", "s/2", "s/3"])


def result(fill=1.0):
    return MemberResult(
        clip=CLIPS,
        outputs={
            "logits": np.full((3, 2), fill, np.float32),
            "video": np.full((3, 4), 2.0, np.float32),
        },
        best={"logits": np.full((3, 2), 3.0, np.float32)},
        history={"loss/contrastive": np.arange(5.0), "lr": np.ones(5)},
    )


MEMBER = Member(Fold("s", np.arange(5), np.arange(3), np.arange(0)), 0, 0)


def opened(path, manifest=IDENTITY):
    run = Workdir(path)
    run.open(manifest)
    return run


def save(path, result, member=MEMBER, manifest=IDENTITY):
    with opened(path.parents[1], manifest) as run:
        run.save_member(member, result)


def load(path, clips, member=MEMBER):
    with opened(path.parents[1]) as run:
        return run.load_member(member, clips)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "members" / "s-seed0.npz"
    save(path, result())
    return path


def test_a_member_comes_back_as_it_was(saved):
    loaded = load(saved, CLIPS)
    np.testing.assert_array_equal(loaded.clip, CLIPS)
    for field in ("outputs", "best"):
        mine, theirs = getattr(loaded, field), getattr(result(), field)
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert mine[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(mine[name], theirs[name])
    assert loaded.history.keys() == result().history.keys()
    np.testing.assert_array_equal(loaded.history["loss/contrastive"], np.arange(5.0))
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def refused(path, match, clips=CLIPS):
    """Loading is refused, says what to do, and leaves the file as it is."""
    before = path.read_bytes()
    with pytest.raises(UserError, match=match) as caught:
        load(path, clips)
    assert str(path) in str(caught.value)
    assert "delete it to train this member again" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_member_file_is_refused(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    refused(saved, "damaged")


def test_a_member_file_with_flipped_bits_is_refused(saved):
    data = bytearray(saved.read_bytes())
    at = data.index(np.full((3, 2), 1.0, np.float32).tobytes())
    data[at] ^= 0xFF
    saved.write_bytes(data)
    refused(saved, "damaged")


@pytest.mark.parametrize("bit", range(0, 8, 3))
def test_no_flipped_bit_is_accepted(saved, bit):
    """Wherever it is: refused, or of no consequence (a date in the archive's list)."""
    data = saved.read_bytes()
    whole = load(saved, CLIPS)
    refusals = 0
    for at in range(0, len(data), 7):
        saved.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        try:
            found = load(saved, CLIPS)
        except UserError as error:
            assert str(saved) in str(error)
            refusals += 1
        else:
            for name, values in whole.outputs.items():
                np.testing.assert_array_equal(found.outputs[name], values)
            assert found.machines == whole.machines
    assert refusals > len(data) // 7 / 2


def test_a_member_of_another_run_fold_or_seed_is_refused(saved, tmp_path):
    other = tmp_path / "other" / "members" / "s-seed0.npz"
    save(other, result(fill=7.0), manifest=IDENTITY | {"optim.peak_lr": 1.0})
    saved.write_bytes(other.read_bytes())
    refused(saved, "of another run")
    for member in (
        Member(dataclasses.replace(MEMBER.fold, name="t"), 0, 0),
        Member(MEMBER.fold, 1, 0),
    ):
        path = saved.with_name(f"{member.name}.npz")
        save(path, result(), member)
        saved.write_bytes(path.read_bytes())
        refused(saved, "of another (fold|seed)")


@pytest.mark.parametrize("name", ["logits", "video", "best/logits", "history/lr"])
def test_altered_arrays_are_refused(saved, name):
    """An archive as NumPy writes it, with sound sums of its own."""
    with np.load(saved) as data:
        arrays = dict(data)
    for change in (-arrays[name], arrays[name][:1], arrays[name].astype(np.float16)):
        with open(saved, "wb") as file:
            np.savez(file, **arrays | {name: change})
        refused(saved, "not what was written")
    for rest in ({k: v for k, v in arrays.items() if k != name}, arrays | {"x": CLIPS}):
        with open(saved, "wb") as file:
            np.savez(file, **rest)
        refused(saved, "not what was written|damaged")


def test_a_packed_archive_is_not_unpacked(saved):
    with open(saved, "wb") as file:
        np.savez_compressed(file, clip=np.zeros(10**7))
    refused(saved, "packed")


@pytest.mark.parametrize("name", ["clip", "seal", "best/logits"])
def test_outputs_may_not_hide_other_arrays(tmp_path, name):
    bad = dataclasses.replace(result(), outputs={name: np.ones((3, 2))})
    with opened(tmp_path) as run, pytest.raises(ValueError, match=name):
        run.save_member(MEMBER, bad)


def test_a_second_run_in_a_workdir_is_refused(tmp_path):
    """Also from another process; and not any more when the first has ended."""
    with opened(tmp_path):
        with pytest.raises(
            UserError, match=f"a run is going on by process {os.getpid()}"
        ):
            Workdir(tmp_path).open(IDENTITY)
        code = (
            "import sys; from pathlib import Path;"
            "from merclip_jax.training.workdir import Workdir;"
            f"Workdir(Path(sys.argv[1])).open({IDENTITY!r})"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=mini.ROOT)
        assert done.returncode == 1
        assert f"process {os.getpid()} on {platform.node()}" in done.stderr
    opened(tmp_path)


def test_halves_of_a_killed_run_are_swept(tmp_path):
    opened(tmp_path)
    (tmp_path / "members").mkdir()
    for half in (tmp_path / ".card.json.x.tmp", tmp_path / "members" / ".s.npz.y.tmp"):
        half.write_bytes(b"half")
    opened(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_machine_is_refused_or_told(tmp_path, monkeypatch):
    with opened(tmp_path) as run:
        assert run.stack(lambda: 4) == 4
    with opened(tmp_path) as run:  # known by now: not measured again
        assert run.stack(pytest.fail) == 4
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with opened(tmp_path) as run:
        before = contents(tmp_path)
        with pytest.raises(UserError, match=r"began on 1 x .*8 x .*continue_elsewhere"):
            run.stack(pytest.fail)
        assert contents(tmp_path) == before
    with Workdir(tmp_path, elsewhere=True) as run:
        run.open(IDENTITY)
        assert run.stack(lambda: 32) == 32
    with opened(tmp_path) as run:  # said once
        assert run.stack(pytest.fail) == 32


@pytest.mark.parametrize("machines", ["x", [3], [{}], [], [{"devices": "1"}]])
def test_an_altered_list_of_machines_is_refused(tmp_path, machines):
    """An empty one would let the run go on anywhere."""
    with opened(tmp_path) as run:
        run.stack(lambda: 4)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machines": machines}))
    with pytest.raises(UserError, match=r"run\.json: was changed"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "card.json", "members/s-seed0.npz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused_before_anything_is_read(tmp_path, name, kind):
    opened(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UserError, match="expected a regular file") as caught:
        opened(tmp_path).has_member(MEMBER)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling"])
def test_a_lock_that_cannot_be_taken_is_told(tmp_path, kind):
    opened(tmp_path)
    path = tmp_path / ".lock"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"\.lock: "):
        opened(tmp_path)


def test_a_damaged_log_of_scalars_stops_nothing(tmp_path):
    path = tmp_path / "scalars" / "g.jsonl"
    path.parent.mkdir()
    path.write_bytes(b'{"epoch": 0}\n[1]\n\xff\n{"epoch": "x"}\n')
    opened(tmp_path / "run")
    writer = Workdir(tmp_path).scalars("g", resume_at=1)
    writer.close()
    assert lines(path) == [{"epoch": 0}]


def test_a_foreign_member_file_is_refused(saved):
    with open(saved, "wb") as file:
        np.savez(file, something=np.ones(3))
    refused(saved, "damaged")


@pytest.mark.parametrize("content", [b"not a zip", b"PK", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive_is_refused(saved, content):
    saved.write_bytes(content)
    refused(saved, "damaged")


def test_a_plain_array_is_refused(saved):
    with open(saved, "wb") as file:
        np.save(file, np.ones(3))
    refused(saved, "damaged")


def test_pickles_are_not_opened(saved):
    with open(saved, "wb") as file:
        np.savez(file, clip=np.asarray([{}], object))
    refused(saved, "damaged")


@pytest.mark.parametrize("clips", [CLIPS[:2], CLIPS[::-1], np.append(CLIPS, "s/4")])
def test_a_member_file_of_other_clips_is_refused(saved, clips):
    refused(saved, "holds other clips", clips)


def test_logits_that_are_not_finite_are_refused(saved):
    save(saved, result(fill=np.nan))
    refused(saved, "not finite")


@pytest.fixture
def full(monkeypatch):
    """A disk that fills up while a file is written: at its end the data is synced."""

    def fsync(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", fsync)


def test_a_full_disk_keeps_the_old_file(saved, full):
    before = saved.read_bytes()
    with pytest.raises(OSError, match="the disk is full") as caught:
        save(saved, result(fill=5.0))
    assert str(saved) in str(caught.value)
    assert "the old file is unchanged" in str(caught.value)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_leaves_no_half_file(tmp_path, full):
    with pytest.raises(OSError, match="nothing was written") as caught:
        Workdir(tmp_path).open(IDENTITY)
    assert str(tmp_path / "run.json") in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_a_write_that_fails_half_way_leaves_no_half_file(tmp_path, monkeypatch):
    path = tmp_path / "card.json"
    path.write_text("old")

    class Half:
        def __init__(self, *args):
            self.file = open(*args)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "open", Half, raising=False)
    with pytest.raises(OSError, match="the disk is full"):
        atomic.write_atomically(path, b"new and longer")
    assert contents(tmp_path) == {"card.json": b"old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_dev_full():
    """The kernel's own full disk."""
    with pytest.raises(OSError, match="the disk is full"):
        atomic.write_atomically("/dev/full", b"x" * 100_000)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_scalars_go_on_at_the_checkpoints_epoch(tmp_path):
    """What a killed run wrote past its checkpoint is written again, not twice."""
    path = tmp_path / "scalars" / "round1.jsonl"
    writer = Workdir(tmp_path).scalars("round1", resume_at=0)
    for epoch in range(4):
        writer.write(epoch, {"loss": 1.0})
    writer.close()
    with path.open("a") as file:
        file.write('{"epoch": 4, "lo')  # killed within a line
    writer = Workdir(tmp_path).scalars("round1", resume_at=2)
    for epoch in range(2, 5):
        writer.write(epoch, {"loss": 2.0})
    writer.close()
    assert lines(path) == [
        {"epoch": e, "loss": 1.0 if e < 2 else 2.0} for e in range(5)
    ]
