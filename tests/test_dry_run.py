"""What a run will need, said before anything is spent."""

import re

import jax
import pytest

from merclip_jax import dry_run as dry
from merclip_jax.training import memory
from tests import mini

pytestmark = [pytest.mark.usefixtures("cache"), pytest.mark.whole]


@pytest.fixture(scope="module")
def said(mini_data, tmp_path_factory):
    return dry.dry_run(mini.config(mini_data))


def test_it_says_members_steps_memory_arithmetic_and_time(said):
    assert re.search(r"members: 2 at a time, 2 groups of 8 dispatches of 2 steps", said)
    assert re.search(r"memory: \d+\.\d\d GB a device .* of \d+\.\d GB that may", said)
    assert re.search(r"arithmetic: \d+\.\d GFLOP a step and member", said)
    assert re.search(r"20 steps tried: .* clips/s, .*% of a matmul measured here", said)
    assert re.search(r"expected: [\d.]+ (s|min|h) for the whole run", said)


def test_idle_devices_are_said(mini_data, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 5)
    monkeypatch.setattr(memory, "device_memory", lambda: 1e12)
    assert "4 stay idle" in dry.dry_run(mini.config(mini_data))


def test_a_dry_run_writes_nothing(mini_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dry.dry_run(mini.config(mini_data))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (119.0, "119 s"), (600.0, "10 min"), (25200.0, "7.0 h")],
)
def test_durations(seconds, text):
    assert dry.duration(seconds) == text


@pytest.mark.parametrize(
    ("flops", "text"),
    [(5.4e18, "5.4 EFLOP"), (2.19e9, "2.19 GFLOP"), (1.5e15, "1.5 PFLOP")],
)
def test_amounts_of_arithmetic(flops, text):
    assert dry.arithmetic(flops) == text
