"""Clips are changed one by one, only the chosen ones, where they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from merclip_jax.augment.each_clip import each_clip
from tests import mini


def brighten(planes, choice):
    return planes + choice.astype(jnp.uint8)


def some(*lead):
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 128, (*lead, 2, 5, 4, 3), np.uint8)
    return clips, rng.random(lead) < 0.5, rng.integers(1, 100, lead)


def expected(clips, chosen, choices):
    added = (chosen * choices).astype(np.uint8)
    return clips + added.reshape(*added.shape, 1, 1, 1, 1)


@pytest.mark.parametrize("lead", [(1,), (6,), (3, 4), (2, 3, 2)])
def test_chosen_clips_alone(lead):
    clips, chosen, choices = some(*lead)
    run = lambda *args: each_clip(brighten, *args)  # noqa: E731
    for _ in lead[1:]:
        run = jax.vmap(run)
    for mask in (chosen, np.zeros_like(chosen), np.ones_like(chosen)):
        out = jax.jit(run)(clips, mask, choices)
        np.testing.assert_array_equal(out, expected(clips, mask, choices))


def test_what_members_share_is_spread():
    clips, chosen, choices = map(jnp.asarray, some(4))
    run = jax.vmap(lambda x: each_clip(brighten, clips, chosen, x))
    many = jnp.stack([choices, choices + 1])
    out = run(many)
    for i in range(2):
        np.testing.assert_array_equal(
            out[i], expected(*map(np.asarray, (clips, chosen, many[i])))
        )


def test_no_branch_and_no_select():
    """Under `vmap` either would compute what was not drawn."""
    run = jax.vmap(lambda *args: each_clip(brighten, *args))
    loop = [
        e
        for e in equations(jax.make_jaxpr(run)(*some(3, 4)))
        if e.primitive.name == "while"
    ]
    assert len(loop) == 1
    inside = list(equations(loop[0].params["body_jaxpr"]))
    assert not any(e.primitive.name == "cond" for e in inside)
    for e in inside:
        if e.primitive.name == "select_n":
            assert e.outvars[0].aval.size == 1  # an index


def equations(jaxpr):
    """All of a program, and of the programs in it."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for value in jax.tree.leaves(equation.params):
            if hasattr(getattr(value, "jaxpr", value), "eqns"):
                yield from equations(value)


def mesh(member, data):
    return AbstractMesh((member, data), ("member", "data"), (AxisType.Auto,) * 2)


@pytest.mark.parametrize(
    "shape, spec",
    [
        ((2, 2), P("member", "data")),
        ((1, 4), P("member", "data")),
        ((4, 1), P("member", "data")),
        ((1, 1), None),  # nothing to share
        ((2, 3), None),  # four clips on three devices
    ],
)
def test_each_device_takes_its_own_clips(shape, spec):
    clips, chosen, choices = some(4, 4)

    def run(*args):
        return jax.vmap(
            lambda *args: each_clip(brighten, *args), spmd_axis_name="member"
        )(*args)

    with jax.sharding.use_abstract_mesh(mesh(*shape)):
        traced = jax.make_jaxpr(run)(clips, chosen, choices)
    shared = [e for e in equations(traced) if e.primitive.name == "shard_map"]
    assert len(shared) == (spec is not None)
    for equation in shared:
        assert set(equation.params["in_specs"]) == {spec}
        assert equation.params["out_specs"] == (spec,)


SHARDED = """
import re
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from merclip_jax.augment.each_clip import each_clip
from tests.augment.test_each_clip import brighten, expected, some

args = some(4, 4)
run = jax.vmap(lambda *a: each_clip(brighten, *a), spmd_axis_name="member")
for shape in ((4, 2), (2, 4), (1, 4)):
    mesh = jax.make_mesh(
        shape, ("member", "data"), axis_types=(AxisType.Auto,) * 2,
        devices=jax.devices()[: shape[0] * shape[1]],
    )
    where = NamedSharding(mesh, P("member", "data"))
    with jax.set_mesh(mesh):
        compiled = jax.jit(run, in_shardings=where, out_shardings=where).lower(
            *args
        ).compile()
        out = compiled(*(jax.device_put(x, where) for x in args))
    np.testing.assert_array_equal(out, expected(*args))
    kinds = "all-[a-z]+|collective-permute|reduce-scatter"
    moved = re.findall(kinds, compiled.as_text())
    assert not moved, moved
"""


def test_eight_devices_exchange_nothing():
    mini.on_devices(8, SHARDED)
