"""How many members train at once."""

import math

import jax
import numpy as np
import pytest

from merclip_jax import build
from merclip_jax.errors import UserError
from merclip_jax.training import memory
from merclip_jax.training.memory import Stacks
from merclip_jax.training.programs import Memory
from merclip_jax.training.stack import Stack
from tests import mini

# Runs of one shape share their compiled programs.
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def clips(mini_data):
    return build.clips(mini.config(mini_data))


@pytest.fixture(scope="module")
def members(mini_data, clips):
    return mini.members(mini.config(mini_data), clips)


@pytest.mark.parametrize(("asked", "size"), [(2, 2), (100, 3), (0, 3)])
def test_a_stack_is_what_is_asked_for_or_what_fits(
    mini_data, clips, members, asked, size
):
    plan = mini.plan(mini_data, clips, train__stack=asked)
    assert Stacks(plan, members).size() == size


class Fake(Stack):
    """A stack that needs 20 bytes, and 15 for each member of a device."""

    made: list[tuple]

    def __init__(self, plan, members, size):
        Fake.made.append((size, plan.options))
        self.size, self.programs, self.options = size, self, plan.options

    def memory(self):
        each = {"none": 15, "products": 12, "blocks": 9}[self.options.remat]
        each = each * (self.options.microbatch or 8) / 8
        return Memory(20, int(each * -(-self.size // jax.device_count())), 0)


@pytest.fixture
def fake(monkeypatch):
    """(limit, devices, backend) -> (size that fits, sizes that were compiled)."""

    def sizes(plan, members, *, limit, devices=1, backend="gpu"):
        Fake.made = []
        monkeypatch.setattr(memory, "Stack", Fake)
        monkeypatch.setattr(memory, "device_memory", lambda: float(limit))
        monkeypatch.setattr(memory, "_bytes", lambda shape: 20)
        monkeypatch.setattr(jax, "device_count", lambda: devices)
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        size = Stacks(plan, members).size()
        return size, [made for made, _ in Fake.made]

    return sizes


@pytest.mark.parametrize("devices", [1, 4])
def test_memory_is_filled_to_its_share(mini_data, clips, members, fake, devices):
    """Of 80 bytes four members a device; 100 members are 25 groups of four devices'."""
    plan = mini.plan(mini_data, clips, train__stack=0)
    many = (members * 40)[:100]
    assert fake(plan, many, limit=80, devices=devices) == (
        4 * devices,
        [devices, 4 * devices],
    )


def test_what_fits_is_shared_out_evenly(mini_data, clips, members, fake):
    """Four fit of six members: two groups of three, not of four and of two."""
    plan = mini.plan(mini_data, clips, train__stack=0)
    assert fake(plan, members * 2, limit=80) == (3, [1, 3])
    # A third of five on two devices: what is left of a device's place is filled up.
    assert fake(plan, (members * 2)[:5], limit=80, devices=2)[0] == 6


def test_a_cpu_compiles_one_program_when_it_fits(mini_data, clips, members, fake):
    plan = mini.plan(mini_data, clips, train__stack=0)
    many = members * 8
    assert fake(plan, many, limit=10**9, backend="cpu") == (12, [12])
    assert fake(plan, many, limit=80, backend="cpu") == (4, [12, 4])


def test_where_none_fits_it_is_said_what_would(mini_data, clips, members, fake):
    """One member needs 35 bytes; computed again in blocks 29, by half batches 24."""
    plan = mini.plan(mini_data, clips, train__stack=0, model__bn_group_size=4)
    with pytest.raises(
        UserError, match=r"1 member needs .*; with --config\.train\.remat=products"
    ):
        fake(plan, members, limit=33)
    with pytest.raises(UserError, match=r"with --config\.train\.remat=blocks it is"):
        fake(plan, members, limit=30)
    with pytest.raises(
        UserError, match=r"remat=blocks --config\.train\.microbatch=4 it"
    ):
        fake(plan, members, limit=25)
    with pytest.raises(UserError, match="smaller --config.train.batch_size or model"):
        fake(plan, members, limit=20)


@pytest.mark.parametrize(("group", "parts"), [(2, [4, 2]), (4, [4]), (0, [])])
def test_a_cpu_is_offered_parts_of_whole_groups_alone(
    mini_data, clips, members, fake, group, parts
):
    plan = mini.plan(mini_data, clips, train__stack=0, model__bn_group_size=group)
    with pytest.raises(UserError, match=r"bn_group_size"):
        fake(plan, members, limit=1, backend="cpu")
    tried = [options for _, options in Fake.made if options != plan.options]
    assert [options.microbatch for options in tried] == parts
    assert {options.remat for options in tried} <= {"none"}


def test_what_is_asked_for_and_does_not_fit_is_refused(mini_data, clips, members, fake):
    plan = mini.plan(mini_data, clips, train__stack=3)
    with pytest.raises(
        UserError, match=r"3 members need .*--config\.train\.stack=1 it"
    ):
        fake(plan, members, limit=40)


def test_a_compiler_that_refuses_says_the_same(
    mini_data, clips, members, fake, monkeypatch
):
    """A TPU's compiler does not finish what does not fit."""
    plan = mini.plan(mini_data, clips, train__stack=0)

    def refuse(self):
        if self.size > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory")
        return Memory(20, 15, 0)

    monkeypatch.setattr(Fake, "memory", refuse)
    assert fake(plan, members * 4, limit=1000)[0] == 2


def test_a_training_call_tells_its_memory(mini_data, clips, members):
    """Held clips included, and more of it for more members."""
    plan = mini.plan(mini_data, clips)
    one, two = (Stack(plan, members, n).programs.memory() for n in (1, 2))
    held = len(clips) * int(np.prod(plan.system.view.shape))
    assert two.total > one.total > one.arguments > held


def test_the_memory_of_this_machine_is_known():
    assert 10**8 < memory.device_memory() < 10**14
    assert not math.isinf(memory.device_memory())
