"""One run by several processes: it learns what one process learns, and ends as one."""

import os
import shutil
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from tests import mini

# Everything that draws is on; a step is an epoch, so that curves are of steps.
DRAWING = (
    "--config.model.drop_path=0.2",
    "--config.model.global_drop_path=0.4",
    "--config.model.global_mlp_dropout=0.5",
    "--config.model.head_dropout=0.1",
    "--config.augment.augmix=0.5",
    "--config.augment.colour_jitter=0.5",
    "--config.data.frames=4",
    "--config.data.image_size=16",
    "--config.train.epochs=20",
    "--config.train.scan_steps=4",
)
HOLDOUT = (
    "--config.protocol.name=holdout",
    "--config.protocol.test_subjects=('synthetic/s00','synthetic/s01')",
)
# Members x devices that share a batch, and what makes it so.
SHAPES = {
    "1x8": ("--config.train.stack=1",),
    "1x8, fsdp, streamed": (
        "--config.train.stack=1",
        "--config.train.fsdp=True",
        "--config.data.residency=host",
    ),
    "2x4, streamed": (
        "--config.train.stack=2",
        "--config.protocol.seeds=(0,1)",
        "--config.data.residency=host",
    ),
    "8x1": (
        "--config.train.stack=8",
        "--config.protocol.seeds=(0,1,2,3,4,5,6,7)",
    ),
    "4x2, fsdp": (
        "--config.train.stack=4",
        "--config.train.fsdp=True",
        "--config.train.keep_weights=True",
        "--config.protocol.seeds=(0,1,2,3)",
    ),
}
GONE = 60  # seconds within which the others end


class Run:
    """`count` processes of one run, each with so many simulated devices."""

    def __init__(
        self, data, path, cache, *flags, count=2, devices=2, env=None, last=()
    ):
        """`env` says who is who in place of flags; `last`: flags of the last one."""
        simulated = f"--xla_force_host_platform_device_count={devices}"
        many = f"{os.environ['XLA_FLAGS']} {simulated}"
        self.path, port = path, free_port()
        self.logs = [path.parent / f"{path.name}-{k}.log" for k in range(count)]
        self.processes = []
        for k, log in enumerate(self.logs):
            more = (
                "--distributed",
                f"--coordinator_address=127.0.0.1:{port}",
                f"--num_processes={count}",
                f"--process_id={k}",
            )
            with pytest.MonkeyPatch.context() as patch, log.open("w") as out:
                patch.setenv("XLA_FLAGS", many)
                patch.setenv("MINI_SMALL", "64")
                for name, value in (env or {}).items():
                    patch.setenv(name, value.format(k=k))
                self.processes.append(
                    mini.start(
                        data,
                        path,
                        cache,
                        *flags,
                        *(more if count > 1 and not env else ()),
                        *(("--distributed",) if env else ()),
                        *(last if k == count - 1 else ()),
                        stdout=out,
                        stderr=subprocess.STDOUT,
                    )
                )

    def end(self, seconds=400):
        """Exit statuses, and what each process said."""
        end = time.monotonic() + seconds
        try:
            for process in self.processes:
                process.wait(max(end - time.monotonic(), 0.1))
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
        return [p.returncode for p in self.processes], self.said()

    def said(self):
        return [log.read_text(errors="replace") for log in self.logs]

    def wait_for(self, happened, seconds=300):
        end = time.monotonic() + seconds
        while not happened():
            running = all(p.poll() is None for p in self.processes)
            assert running and time.monotonic() < end, self.said()
            time.sleep(0.01)

    def epochs(self):
        logs = self.path.glob("scalars/*.jsonl")
        return sum(len(p.read_text().splitlines()) for p in logs)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def last_lines(said):
    return [text.strip().splitlines()[-1] for text in said]


def whole(*args, **options):
    """A run that ends well; its files, and what its processes said."""
    run = Run(*args, **options)
    statuses, said = run.end()
    assert not any(statuses), (statuses, [text[-3000:] for text in said])
    return arrays(run.path), said


def arrays(path):
    found = {}
    for file in sorted((path / "members").glob("*.npz")):
        with np.load(file) as data:
            for name in data.files:
                if name != "seal":
                    found[f"{file.stem}/{name}"] = data[name]
    return found


def largest_difference(ours, theirs, name):
    """Largest relative difference of the arrays of that name."""
    keys = [key for key in ours if key.partition("/")[2].startswith(name)]
    assert keys and ours.keys() == theirs.keys()
    return max(
        float(np.max(np.abs(ours[key] - theirs[key]) / np.abs(ours[key]).max()))
        for key in keys
    )


# What the others try too, each alone.
LONGER = ("1x8", "2x4, streamed", "4x2, fsdp")


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, marks=pytest.mark.long if shape in LONGER else ())
        for shape in SHAPES
    ],
)
def test_two_processes_learn_what_one_learns(mini_data, cache, tmp_path, shape):
    """Loss curves of 20 steps, all draws on, to 1e-5 relative."""
    flags = (*HOLDOUT, *DRAWING, *SHAPES[shape])
    one, _ = whole(mini_data, tmp_path / "one", cache, *flags, count=1, devices=8)
    two, _ = whole(mini_data, tmp_path / "two", cache, *flags, devices=4)
    found = {
        name: largest_difference(one, two, name)
        for name in ("history/loss", "logits", "history/grad_norm")
    }
    print(shape, found)
    assert found["history/loss"] <= 1e-5


# Tests that share the run below are on one worker, so that it is made once.
LONG = (
    *HOLDOUT,
    "--config.data.frames=4",
    "--config.data.image_size=16",
    "--config.train.epochs=30",
    "--config.train.scan_steps=1",
    "--config.train.stack=1",
)


@pytest.fixture(scope="module")
def unbroken(mini_data, cache, tmp_path_factory):
    """A run of two processes that nobody stopped."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return whole(mini_data, path, cache, *LONG)[0]


def assert_same_bits(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.xdist_group("unbroken")
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_killed_process_ends_the_other_which_says_so(
    mini_data, cache, unbroken, tmp_path, victim
):
    """Within a minute; and the same command goes on to the same bits."""
    path = tmp_path / "run"
    run = Run(mini_data, path, cache, *LONG)
    run.wait_for(lambda: run.epochs() >= 3)
    run.processes[victim].kill()
    began = time.monotonic()
    statuses, said = run.end(GONE)
    print(f"process {victim} killed: ended after {time.monotonic() - began:.1f} s")
    other = 1 - victim
    assert statuses[other] == 1, said[other][-3000:]
    last = last_lines(said)[other]
    assert f"error: process {victim} (" in last and "gone" in last
    assert "the same command goes on" in last
    assert "Traceback" not in said[other]

    found, said = whole(mini_data, path, cache, *LONG)
    assert "going on from step" in said[0]
    assert_same_bits(found, unbroken)


@pytest.mark.xdist_group("unbroken")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, 2), (1, 4)),
        pytest.param((1, 4), (2, 2), marks=pytest.mark.long),
    ],
)
def test_a_run_goes_on_with_another_number_of_processes(
    mini_data, cache, unbroken, tmp_path, before, after
):
    """From two processes to one, and from one to two, where that is asked for."""
    path = tmp_path / "run"
    run = Run(mini_data, path, cache, *LONG, count=before[0], devices=before[1])
    run.wait_for(lambda: run.epochs() >= 3)
    run.processes[0].send_signal(signal.SIGTERM)
    assert set(run.end()[0]) == {143}, run.said()
    now = {"count": after[0], "devices": after[1]}
    statuses, said = Run(mini_data, path, cache, *LONG, **now).end()
    assert set(statuses) == {1}
    assert all("this run began on 4 x cpu" in text for text in said)
    flags = (*LONG, "--continue_elsewhere")
    found, said = whole(mini_data, path, cache, *flags, **now)
    assert "going on from step" in said[0]
    worst = largest_difference(unbroken, found, "logits")
    print(f"{before} to {after}: logits differ by {worst:.1e}")
    assert worst <= 1e-4


@pytest.mark.xdist_group("unbroken")
@pytest.mark.parametrize("target", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_signal_to_one_stops_all_at_the_same_step(
    mini_data, cache, unbroken, tmp_path, target
):
    """By no checkpoint but their own; the same command goes on to the same bits."""
    path = tmp_path / "run"
    flags = (*LONG, "--config.train.checkpoint_every=100000")
    run = Run(mini_data, path, cache, *flags)
    run.wait_for(lambda: run.epochs() >= 3)
    began = time.monotonic()
    run.processes[target].send_signal(signal.SIGTERM)
    statuses, said = run.end(GONE)
    print(f"SIGTERM: all ended after {time.monotonic() - began:.1f} s")
    assert statuses == [143, 143], said
    last = set(last_lines(said))
    assert len(last) == 1, last
    assert "SIGTERM: round1of1 stopped at step" in last.pop()
    found, said = whole(mini_data, path, cache, *flags)
    assert "going on from step" in said[0]
    assert_same_bits(found, unbroken)


def test_what_process_0_cannot_do_ends_all(mini_data, cache, tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "letters.txt").write_text("not this program's")
    statuses, said = Run(mini_data, path, cache, *LONG).end(120)
    assert statuses == [1, 1], said
    for text, last in zip(said, last_lines(said), strict=True):
        assert f"error: {path} is not empty" in last
        assert "Traceback" not in text
    assert [p.name for p in path.iterdir()] == ["letters.txt"]


def test_other_settings_in_one_process_are_refused_by_all(mini_data, cache, tmp_path):
    path = tmp_path / "run"
    other = ("--config.optim.peak_lr=0.001",)
    statuses, said = Run(mini_data, path, cache, *LONG, last=other).end(120)
    assert statuses == [1, 1], said
    assert all("has another config, dataset" in x for x in last_lines(said))
    assert not path.exists()


def test_a_workdir_that_is_not_shared_is_refused_by_all(mini_data, cache, tmp_path):
    """Each process has its own folder under one name, as on a disk of its host."""
    path, other = tmp_path / "run", tmp_path / "other"
    last = (f"--workdir={other}",)
    statuses, said = Run(mini_data, path, cache, *LONG, last=last).end(120)
    assert statuses == [1, 1], said
    for line in last_lines(said):
        assert "does not see what process 0 writes" in line and "share" in line
    assert not other.exists()


def test_a_clip_that_one_process_cannot_read_ends_all(mini_data, cache, tmp_path):
    """In the middle of the training, where the others wait for that process."""
    path, own = tmp_path / "run", tmp_path / "data"
    shutil.copytree(mini_data, own)
    flags = (*LONG, "--config.data.residency=host", "--config.train.epochs=1000")
    last = (f"--config.data.data_dir={own}",)
    run = Run(mini_data, path, cache, *flags, last=last)
    run.wait_for(lambda: run.epochs() >= 3)
    (records,) = own.rglob("*.array_record-00000")
    content = bytearray(records.read_bytes())
    content[len(content) // 4 : -len(content) // 4] = bytes(len(content) // 2)
    with records.open("r+b") as file:  # the very file that is being read
        file.write(content)
    began = time.monotonic()
    statuses, said = run.end(GONE)
    print(f"unreadable: all ended after {time.monotonic() - began:.1f} s")
    assert statuses == [1, 1], said
    assert all("cannot be read" in line for line in last_lines(said))
    assert "process 1: error: " in last_lines(said)[0]


def test_slurm_says_who_is_who(mini_data, cache, tmp_path):
    """As srun sets it for two tasks on this host; the flag alone finds the rest."""
    job = free_port()  # JAX makes the port of it
    env = {
        "SLURM_JOB_ID": str(job),
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "{k}",
        "SLURM_LOCALID": "{k}",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
    }
    flags = (*LONG, "--config.train.epochs=2")
    _, said = whole(mini_data, tmp_path / "run", cache, *flags, env=env)
    assert "4 x cpu, 2 processes" in " ".join(said[0].split())
    # What is said is said once.
    assert "epoch   2/2" in said[0] and "report: " in said[0]
    assert "epoch" not in said[1] and "report: " not in said[1]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--distributed",), "neither SLURM, Open MPI, GKE nor Cloud TPU"),
        (("--distributed", "--num_processes=2"), "go together"),
        (("--process_id=0",), "are for --distributed"),
        (
            (
                "--distributed",
                "--coordinator_address=here",
                "--num_processes=2",
                "--process_id=0",
            ),
            "expected HOST:PORT",
        ),
        (
            (
                "--distributed",
                "--coordinator_address=127.0.0.1:1",
                "--num_processes=2",
                "--process_id=2",
            ),
            "expected a number from 0",
        ),
    ],
)
def test_a_process_that_cannot_know_its_place_is_told(
    mini_data, cache, tmp_path, flags, expected
):
    statuses, said = Run(mini_data, tmp_path / "run", cache, *flags, count=1).end(60)
    assert statuses == [1]
    assert expected in last_lines(said)[0] and "Traceback" not in said[0]


def test_a_port_that_is_taken_is_told(mini_data, cache, tmp_path):
    with socket.create_server(("", 0)) as taken:
        flags = (
            "--distributed",
            f"--coordinator_address=127.0.0.1:{taken.getsockname()[1]}",
            "--num_processes=2",
            "--process_id=0",
        )
        path = tmp_path / "run"
        statuses, said = Run(mini_data, path, cache, *flags, count=1).end(60)
    assert statuses == [1]
    assert "cannot be had here" in last_lines(said)[0]
