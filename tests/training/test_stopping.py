"""Runs as processes: stopped by signals, started twice, moved, starved of disk."""

import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from tests import mini

# On one worker: they share a run that nobody stopped.
pytestmark = pytest.mark.xdist_group("stopping")
LONG = (
    "--config.train.epochs=20",
    "--config.protocol.name=holdout",
    "--config.protocol.test_subjects=('synthetic/s00',)",
)


def start(mini_data, path, cache, *flags, **options):
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return mini.start(mini_data, path, cache, *LONG, *flags, **options)


def finish(*args, **options):
    process = start(*args, **options)
    said, _ = process.communicate(timeout=240)
    return process.returncode, said


def wait_for(process, happened, seconds=120):
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < end, "nothing happened for too long"
        time.sleep(0.005)


def epochs(path):
    return sum(len(p.read_text().splitlines()) for p in path.glob("scalars/*.jsonl"))


def arrays(path):
    (file,) = (path / "members").glob("*.npz")
    with np.load(file) as data:
        return {name: data[name] for name in data.files if name != "seal"}


def assert_same(path, other):
    ours, theirs = arrays(path), arrays(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.fixture(scope="module")
def whole(mini_data, cache, tmp_path_factory):
    """A run that nobody stopped."""
    path = tmp_path_factory.mktemp("whole") / "run"
    status, said = finish(mini_data, path, cache)
    assert status == 0, said[-3000:]
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    mini_data, cache, whole, tmp_path, number
):
    """By no checkpoint but its own, the run goes on to the same bits."""
    path = tmp_path / "run"
    process = start(mini_data, path, cache, "--config.train.checkpoint_every=100000")
    wait_for(process, lambda: epochs(path) >= 2)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said[-3000:]
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert f"{number.name}: round1of1 stopped at step" in last
    assert "the same command goes on" in last
    assert not list(path.glob("members/*"))

    status, said = finish(mini_data, path, cache)
    assert status == 0, said[-3000:]
    assert "going on from step" in said
    assert_same(path, whole)


def test_sigterm_before_training_ends_in_a_word(mini_data, cache, tmp_path):
    path = tmp_path / "run"
    process = start(mini_data, path, cache)
    wait_for(process, lambda: (path / "run.json").exists())
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said[-3000:]
    assert "Traceback" not in said
    assert "the same command goes on" in said.strip().splitlines()[-1]


def test_a_second_run_in_the_workdir_is_refused(mini_data, cache, whole, tmp_path):
    path = tmp_path / "run"
    first = start(mini_data, path, cache)
    wait_for(first, lambda: (path / "run.json").exists())
    status, said = finish(mini_data, path, cache)
    assert status == 1
    assert f"process {first.pid} on " in said and "Traceback" not in said
    first.communicate(timeout=240)
    assert first.returncode == 0
    assert_same(path, whole)


def test_another_number_of_devices_is_refused_or_told(mini_data, cache, tmp_path):
    path = tmp_path / "run"
    process = start(mini_data, path, cache)
    wait_for(process, lambda: epochs(path) >= 2)
    process.kill()
    process.communicate()
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", flags)
        status, said = finish(mini_data, path, cache)
        assert status == 1 and "Traceback" not in said
        assert "this run began on 1 x cpu" in said and "here is 4 x cpu" in said
        status, said = finish(mini_data, path, cache, "--continue_elsewhere")
    assert status == 0, said[-3000:]
    assert "going on from step" in said
    card = json.loads((path / "card.json").read_text())
    (machine,) = card["machines"]
    assert machine.startswith("1 x cpu") and ", then 4 x cpu" in machine
    assert card["machines"][machine] == ["holdout-seed0"]
    assert "then 4 x cpu" in " ".join(said.split())
    # A finished run is shown again wherever it is looked at.
    assert finish(mini_data, path, cache)[0] == 0


def test_records_that_were_replaced_are_not_trained_on(mini_data, cache, tmp_path):
    data, path = tmp_path / "data", tmp_path / "run"
    shutil.copytree(mini_data, data)
    process = start(data, path, cache)
    wait_for(process, lambda: epochs(path) >= 2)
    process.kill()
    process.communicate()
    # Another dataset's sound records under this one's metadata.
    (records,) = data.rglob("*.array_record-00000")
    content = bytearray(records.read_bytes())
    at = content.index(b"fear")
    content[at : at + 4] = b"raef"
    records.write_bytes(content)
    status, said = finish(data, path, cache)
    assert status == 1 and "Traceback" not in said
    assert "build it again" in said.strip().splitlines()[-1]


@pytest.mark.parametrize("room", [20, pytest.param(150, marks=pytest.mark.long), 400])
def test_a_full_disk_is_the_last_thing_said(mini_data, cache, whole, tmp_path, room):
    """Files of at most so many KiB: a disk that refuses what a run writes."""
    path = tmp_path / "run"
    starved = ("bash", "-c", f'ulimit -f {room}; exec "$@"', "bash")
    status, said = finish(mini_data, path, cache, before=starved)
    assert status == 1, said[-3000:]
    message = said[said.rindex("error: ") :]
    assert str(path) in message
    assert "Traceback" not in message and len(message) < 1000, message
    status, said = finish(mini_data, path, cache)
    assert status == 0, said[-3000:]
    assert_same(path, whole)
