"""The ways to compute attention agree, alone, stacked and shared out over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.models.attention import attend
from merclip_jax.models.fused_attention import ROWS, fused_attention
from tests import mini


def arrays(b, n, s, d, dtype, seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    shapes = [(b, n, d), (b, s, d), (b, s, d), (b, n, d)]
    return [
        jax.random.normal(key, shape, jnp.float32).astype(dtype)
        for key, shape in zip(keys, shapes, strict=True)
    ]


def both_ways(function, q, k, v, gradient):
    # jax.nn's own attention mixes bfloat16 with float32 where it is differentiated.
    with jax.numpy_dtype_promotion("standard"):
        out, pull = jax.vjp(function, q, k, v)
        return [np.asarray(x, np.float32) for x in (out, *pull(gradient))]


@pytest.mark.parametrize(
    ("b", "n", "s", "d", "heads"),
    [
        (2, 197, 197, 128, 2),  # a frame's tokens, heads that share a register
        (1, ROWS + 44, ROWS + 44, 256, 2),  # more queries than are read at a time
        (3, 5, 9, 64, 2),  # narrower than a register
        (2, 7, 7, 48, 3),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_kernel_is_attention(b, n, s, d, heads, dtype):
    """Forward and backward, against jax.nn's; bfloat16 rounds weights of 0..1 once."""
    given = arrays(b, n, s, d, dtype)
    ours = both_ways(lambda *a: fused_attention(*a, heads, True), *given)
    theirs = both_ways(lambda *a: attend(*a, heads=heads, implementation="xla"), *given)
    tolerance = 2e-6 if dtype == jnp.float32 else 2e-2
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


def test_the_kernel_in_a_stack_and_computed_again():
    """Under vmap over members and under remat it is the same."""
    q, k, v, gradient = arrays(4, 9, 9, 64, jnp.float32)

    def one(q, k, v):
        return fused_attention(q, k, v, 2, True)

    plain = both_ways(one, q, k, v, gradient)
    halves = [x.reshape(2, 2, *x.shape[1:]) for x in (q, k, v, gradient)]
    stacked = both_ways(jax.vmap(jax.checkpoint(one)), *halves)
    for a, b in zip(plain, stacked, strict=True):
        np.testing.assert_allclose(a, b.reshape(a.shape), rtol=1e-6, atol=1e-6)


def test_large_scores_do_not_overflow():
    q, k, v, gradient = arrays(1, 6, 6, 32, jnp.float32)
    for found in both_ways(
        lambda *a: fused_attention(*a, 2, True), 1e4 * q, k, v, gradient
    ):
        assert np.isfinite(found).all()


def test_auto_is_jax_own_on_a_cpu():
    q, k, v, _ = arrays(2, 5, 5, 32, jnp.float32)
    ways = [attend(q, k, v, heads=2, implementation=x) for x in ("auto", "xla")]
    np.testing.assert_array_equal(*ways)


SHARED = """
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from merclip_jax.models.fused_attention import fused_attention
from merclip_jax.models.per_device import per_device

assert jax.device_count() == 4
mesh = jax.make_mesh((2, 2), ("member", "data"), axis_types=(AxisType.Auto,) * 2)
place = NamedSharding(mesh, P("member", "data"))
keys = jax.random.split(jax.random.key(0), 3)
given = [jax.random.normal(k, (2, 4, 5, 32)) for k in keys]

def loss(q, k, v):
    attend = per_device(lambda *a: fused_attention(*a, 2, True))
    return (attend(q, k, v) ** 2).sum((0, 1, 2))

step = jax.vmap(jax.grad(lambda *a: loss(*a).sum(), (0, 1, 2)), spmd_axis_name="member")
plain = step(*given)
with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    lowered = jax.jit(step, in_shardings=place, out_shardings=place).lower(*given)
compiled = lowered.compile()
for ours, theirs in zip(compiled(*jax.device_put(given, place)), plain):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
for kind in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
    assert kind not in compiled.as_text(), kind
"""


def test_devices_do_their_own_sequences():
    """On a mesh of two by two nothing is exchanged, and the result is the same."""
    mini.on_devices(4, SHARED)
