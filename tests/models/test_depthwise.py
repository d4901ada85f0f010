"""Depthwise convolution: each platform's way is the same convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.models import depthwise
from merclip_jax.models.depthwise_kernel import depthwise_kernel, takes
from tests import mini

WAYS = (depthwise._grouped_conv, depthwise._shifted_products)


def plain(x, kernel):
    """The sum over taps, written as its definition."""
    out = np.zeros_like(x)
    half = [k // 2 for k in kernel.shape[:3]]
    for at in np.ndindex(*x.shape[1:4]):
        for tap in np.ndindex(*kernel.shape[:3]):
            t, i, j = (a + b - c for a, b, c in zip(at, tap, half, strict=True))
            if 0 <= t < x.shape[1] and 0 <= i < x.shape[2] and 0 <= j < x.shape[3]:
                out[(slice(None), *at)] += x[:, t, i, j] * kernel[tap]
    return out


@pytest.mark.parametrize("taps", [(3, 3, 3), (3, 1, 1), (1, 3, 5)])
def test_both_ways_are_the_convolution_and_have_its_gradients(taps):
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(2, 2, 4, 5, 3, 6))
    kernel = rng.normal(size=(*taps, 6))
    with jax.enable_x64(True):
        arrays = jnp.asarray(x), jnp.asarray(kernel)
        found = []
        for way in WAYS:
            np.testing.assert_allclose(way(*arrays), plain(x, kernel), atol=1e-12)
            _, back = jax.vjp(way, *arrays)
            found.append(back(jnp.asarray(weights)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    # Of a linear map: <A x, w> = <x, A^T w>, and so for the kernel.
    value = (plain(x, kernel) * weights).sum()
    for gradient, array in zip(found[1], (x, kernel), strict=True):
        np.testing.assert_allclose((np.asarray(gradient) * array).sum(), value)


def test_members_have_taps_of_their_own():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(3, 1, 2, 4, 4, 2)), rng.normal(size=(3, 3, 3, 3, 2))
    with jax.enable_x64(True):
        for way in WAYS:
            found = jax.vmap(way)(jnp.asarray(x), jnp.asarray(kernel))
            for one, clip, taps in zip(found, x, kernel, strict=True):
                np.testing.assert_allclose(one, plain(clip, taps), atol=1e-12)


@pytest.mark.parametrize("taps", [(3, 3, 3), (1, 3, 5)])
@pytest.mark.parametrize("members", [1, 2])
def test_the_gpu_kernel_is_the_convolution_and_has_its_gradients(taps, members):
    rng = np.random.default_rng(0)
    # Places that do not divide into the tiles over which gradients are summed.
    x, weights = rng.normal(size=(2, members, 1, 2, 4, 3, 128)).astype(np.float32)
    kernel = rng.normal(size=(members, *taps, 128)).astype(np.float32)
    assert takes(jnp.asarray(x[0]), jnp.asarray(kernel[0]))

    def way(x, kernel):
        return jax.vmap(lambda x, kernel: depthwise_kernel(x, kernel, True))(x, kernel)

    arrays = jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(weights)
    out, pull = jax.vjp(way, *arrays[:2])
    one, two = pull(arrays[2])
    for i in range(members):
        np.testing.assert_allclose(out[i], plain(x[i], kernel[i]), atol=1e-5)
        own, weighed, given = (a[i] for a in arrays)
        back = jax.vjp(depthwise._shifted_products, own, weighed)[1](given)
        for found, wanted in zip((one[i], two[i]), back, strict=True):
            np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "taps", "dtype"),
    [
        ((1, 2, 4, 3, 64), (3, 3, 3), np.float32),  # channels are no whole tile
        ((1, 1, 3, 3, 128), (3, 3, 3), np.float32),  # nor are places
        ((1, 2, 4, 3, 128), (3, 1, 1), np.float32),  # few taps
        ((1, 2, 4, 3, 128), (3, 3, 3), np.float64),
    ],
)
def test_what_the_gpu_kernel_is_not_for(shape, taps, dtype):
    with jax.enable_x64(True):
        assert not takes(jnp.zeros(shape, dtype), jnp.zeros((*taps, shape[-1]), dtype))


SHARED = """
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from merclip_jax.models.depthwise_kernel import depthwise_kernel
from merclip_jax.models.per_device import per_device

mesh = jax.make_mesh((2, 2), ("member", "data"), axis_types=(AxisType.Auto,) * 2)
x = jax.random.normal(jax.random.key(0), (2, 4, 2, 2, 2, 128))
taps = jax.random.normal(jax.random.key(1), (2, 3, 3, 3, 128))
places = NamedSharding(mesh, P("member", "data")), NamedSharding(mesh, P("member"))

def loss(x, taps):
    convolve = per_device(lambda x, taps: depthwise_kernel(x, taps, True))
    return (convolve(x, shared=(taps,)) ** 2).sum()

step = jax.vmap(jax.grad(loss, (0, 1)), spmd_axis_name="member")
plain = step(x, taps)
with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    step = jax.jit(step, in_shardings=places, out_shardings=places)
    compiled = step.lower(x, taps).compile()
given = [jax.device_put(a, place) for a, place in zip((x, taps), places)]
for ours, theirs in zip(compiled(*given), plain):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
for kind in ("all-gather", "all-to-all", "collective-permute"):
    assert kind not in compiled.as_text(), kind
"""


def test_devices_convolve_their_own_clips():
    """On a mesh of two by two the taps' gradients alone are summed."""
    mini.on_devices(4, SHARED)
