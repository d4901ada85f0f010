"""Depthwise convolution: each platform's way is the same convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.models import depthwise

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
