"""What a member is made of, and how many train at once."""

import jax
import numpy as np
import pytest

from merclip_jax import build, experiment
from merclip_jax.errors import UserError
from merclip_jax.training import memory
from merclip_jax.training.stack import Stack
from tests import mini

# Runs of one shape share their compiled programs.
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def clips(mini_data):
    return build.clips(mini.config(mini_data))


def plan_with(mini_data, clips, **changes):
    config = mini.config(
        mini_data, {k.replace("__", "."): v for k, v in changes.items()}
    )

    return experiment.plan_of(build.job(config, clips)), mini.members(config, clips)


def table_of(plan):
    return memory.parameter_table(plan.system, plan.optimiser, plan.columns)


def test_the_table_counts_every_parameter_once(mini_data, clips):
    plan, _ = plan_with(mini_data, clips)
    rows = table_of(plan)
    parts = [row["part"] for row in rows]
    assert len(set(parts)) == len(parts)
    assert {"encoder/block_*", "encoder/patch_embed", "head/classifier"} <= set(parts)
    batch = {"frames": np.zeros((1, *plan.system.view.shape), np.float32)}
    variables = jax.eval_shape(plan.system.init, jax.random.key(0), batch)
    leaves = jax.tree.leaves(variables["params"])
    assert sum(row["arrays"] for row in rows) == len(leaves)
    assert sum(row["trained"] for row in rows) == sum(leaf.size for leaf in leaves)
    assert not any(row["frozen"] for row in rows)


def test_frozen_parts_are_told(mini_data, clips):
    plan, _ = plan_with(mini_data, clips, optim__frozen=("encoder/block_.*", "head/.*"))
    for row in table_of(plan):
        still = row["part"].startswith(("encoder/block_", "head/"))
        assert bool(row["frozen"]) == still and bool(row["trained"]) != still, row


def test_a_run_that_trains_nothing_is_refused(mini_data, clips):
    plan, _ = plan_with(mini_data, clips, optim__frozen=(".*",))
    with pytest.raises(UserError, match="nothing is left to train"):
        table_of(plan)


def test_a_pattern_that_matches_nothing_is_told_by_its_key(mini_data, clips):
    plan, _ = plan_with(mini_data, clips, optim__frozen=("encoder/blok_.*",))
    with pytest.raises(UserError, match=r"config\.optim\.frozen: .*blok_"):
        table_of(plan)


@pytest.mark.parametrize(("asked", "size"), [(2, 2), (100, 3), (0, 3)])
def test_a_stack_is_what_is_asked_for_or_what_fits(mini_data, clips, asked, size):
    plan, members = plan_with(mini_data, clips, train__stack=asked)
    assert memory.stack_size(plan, members) == size


def test_what_fits_is_shared_out_evenly(mini_data, clips, monkeypatch):
    """Two fit of three members: groups of two, not of two and one of three."""
    plan, members = plan_with(mini_data, clips, train__stack=0)
    monkeypatch.setattr(memory, "CPU_STACK", 2)
    assert memory.stack_size(plan, members) == 2
    monkeypatch.setattr(memory, "CPU_STACK", 4)
    assert memory.stack_size(plan, [*members, *members][:5]) == 3


@pytest.mark.parametrize("devices", [1, 4])
def test_memory_is_filled_to_its_share(mini_data, clips, monkeypatch, devices):
    """Of 100 bytes a device 80; a stack takes 20 and 15 for each member of a device."""
    plan, members = plan_with(mini_data, clips, train__stack=0)
    measured = []

    class Fake:
        def __init__(self, plan, members, size):
            measured.append(size)
            self.size = size

        def memory(self, members):
            return 20 + 15 * self.size // devices

    monkeypatch.setattr(memory, "Stack", Fake)
    monkeypatch.setattr(memory, "_limit", lambda: 100)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert memory.members_that_fit(plan, members) == 4 * devices
    assert measured == [devices, 2 * devices]
    monkeypatch.setattr(memory, "_limit", lambda: 30)
    assert memory.members_that_fit(plan, members) == devices


def test_a_training_call_tells_its_memory(mini_data, clips):
    """Held clips included, and more of it for more members."""
    plan, members = plan_with(mini_data, clips)
    one, two = (Stack(plan, members, n).memory(members) for n in (1, 2))
    held = len(clips) * int(np.prod(plan.system.view.shape))
    assert two > one > held
