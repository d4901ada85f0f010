"""Runs that are killed, again and again, end with the bits of one that was not."""

import json
import random
import signal
import time

import pytest

from merclip_jax import build, experiment
from tests import mini
from tests.training.test_loop import (
    SEEDS,
    STACK,
    assert_same_files,
    files_of,
    logged_epochs,
)


@pytest.fixture(scope="module")
def base(mini_data, cache, tmp_path_factory):
    """The uninterrupted run that the others are compared with, and its card."""
    path = tmp_path_factory.mktemp("base")
    config = mini.config(mini_data, SEEDS)
    card = experiment.run_on(build.clips(config), config, path)
    return path, files_of(path), card


class Watch:
    """What a run has left on disk so far."""

    def __init__(self, path):
        self.path = path

    def member(self):
        """Finished members' files."""
        return {p.name for p in (self.path / "members").glob("*.npz")}

    def checkpoint(self):
        """(round, step) of whole checkpoints."""
        found = (self.path / "rounds").glob("*/*")
        return {(p.parent.name, p.name) for p in found if p.name.isdecimal()}


def wait_for(process, happened, seconds=120):
    """True once it has happened, False when the process ended before."""
    end = time.monotonic() + seconds
    while process.poll() is None:
        if happened():
            return True
        assert time.monotonic() < end, "nothing happened for too long"
        time.sleep(0.002)
    return False


@pytest.mark.parametrize("chain", [20, pytest.param(21, marks=pytest.mark.long)])
def test_kill_9_at_random_moments_changes_no_bit(
    base, mini_data, cache, tmp_path, chain
):
    """Twenty kills in two chains of runs: inside of rounds and between rounds.

    Eight of a chain fall at a random moment after a new checkpoint, two at a random
    moment after a new prediction file, when a round ends and the next begins.
    """
    rng = random.Random(chain)
    path = tmp_path / "run"
    watch = Watch(path)
    log = tmp_path / "log"
    moments = []

    def start():
        with log.open("a") as out:
            seeds = "--config.protocol.seeds=(0,1)"
            return mini.start(mini_data, path, cache, seeds, stdout=out, stderr=out)

    for kind in (*["checkpoint"] * 3, "member") * 2 + ("checkpoint",) * 2:
        process = start()
        before = getattr(watch, kind)()
        going = wait_for(process, lambda: getattr(watch, kind)() - before)  # noqa: B023
        time.sleep(rng.uniform(0, 0.2))
        assert going and process.poll() is None, log.read_text()[-3000:]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        moments.append((len(watch.member()), sorted(watch.checkpoint())))
    assert not (path / "card.json").exists()
    inside = [found for done, found in moments if done % STACK == 0 and found]
    assert len(inside) >= 5, moments
    assert any(done % STACK or not found for done, found in moments), moments
    assert len(moments) == 10

    assert start().wait(timeout=240) == 0, log.read_text()[-3000:]
    assert log.read_text().count("going on from step") >= 5
    assert_same_files(files_of(path), base[1])
    card = json.loads((path / "card.json").read_text())
    assert card["predictions_sha256"] == base[2]["predictions_sha256"]
    assert not list((path / "rounds").glob("*/*"))
    for i in range(3):
        path_of_round = path / "scalars" / f"round{i + 1}of3.jsonl"
        assert logged_epochs(path_of_round) == [0, 1, 2, 3, 4]
