"""What TPUs run gives what others run; and arithmetic in place of tables is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.augment import exact, hue, operations, warp

SIZES = [(1, 1), (3, 2), (9, 7), (33, 17), (64, 130), (256, 240)]


def noise(h, w, t=1):
    rng = np.random.default_rng(h * w)
    return jnp.asarray(rng.integers(0, 256, (t, 3, h, w)), jnp.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", operations.AFFINE)
def test_shifts_are_what_gathers_are(name, size):
    """The same sums, but for their order and a rounding of each product."""
    planes, most = noise(*size), operations.most(name)

    @jax.jit
    def both(amount):
        rows, columns = warp.sources(name, amount, *size)
        gathered = warp.by_gathers(planes, rows, columns)
        at_once = warp.by_gathers(planes, rows, columns, at_once=True)
        dense = warp.dense(planes, rows, columns, name, amount, most)
        return gathered, at_once, dense

    for share in (1, -1, 0.1, -0.1, 0.731, -0.377):
        gathered, at_once, shifted = both(jnp.float32(share * most))
        np.testing.assert_allclose(at_once, gathered, rtol=0, atol=1e-4)
        np.testing.assert_allclose(shifted, gathered, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_matrices_count_and_look_up(size, monkeypatch):
    # The test regime's CPU multiplies no bfloat16, which holds what is multiplied.
    assert (
        jnp.arange(257).astype(operations.NARROW).astype(int) == jnp.arange(257)
    ).all()
    monkeypatch.setattr(operations, "NARROW", jnp.float32)
    planes = noise(*size, t=2)
    counts = operations.count(planes)
    for t in range(2):
        for c in range(3):
            level = np.asarray(planes[t, c]).ravel()
            np.testing.assert_array_equal(counts[t, c], np.bincount(level, None, 256))
    np.testing.assert_array_equal(operations.count_dense(planes), counts)
    rng = np.random.default_rng(0)
    table = jnp.asarray(rng.integers(0, 256, (2, 3, 256)))
    found = operations.look_up(table, planes)
    np.testing.assert_array_equal(operations.look_up_dense(table, planes), found)
    at_once = operations.look_up(table, planes, at_once=True)
    np.testing.assert_array_equal(at_once, found)
    t, c, h, w = (i.ravel() for i in np.indices(planes.shape))
    np.testing.assert_array_equal(
        np.ravel(found), np.asarray(table)[t, c, np.ravel(planes)]
    )


def test_auto_contrast_of_every_range():
    """floor(255 (x - low) / (high - low)) of all three, by one pixel row a range."""
    low, high = np.tril_indices(256)[::-1]
    k = np.arange(256)
    for i in range(0, len(low), 8192):
        a, b = low[i : i + 8192, None], high[i : i + 8192, None]
        level = np.clip(k, a, b)
        planes = jnp.asarray(level, jnp.uint8)[:, None, None]
        exactly = np.where(b > a, (level - a) * 255 // np.maximum(b - a, 1), level)
        out = operations.auto_contrast(planes)[:, 0, 0]
        np.testing.assert_array_equal(out, exactly)


def test_luma_of_every_sum():
    total = np.arange(9999 * 255 + 1)
    # The last line of `whole_grey`, of all sums that there may be.
    floored = jax.jit(lambda x: jnp.floor((x + 0.5) * np.float32(1e-4)))
    np.testing.assert_array_equal(floored(total.astype(np.float32)), total // 10000)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (1, 3, 100, 100))
    r, g, b = colours[0]
    grey = operations.whole_grey(jnp.asarray(colours, jnp.uint8))[0, 0]
    np.testing.assert_array_equal(grey, (2989 * r + 5870 * g + 1140 * b) // 10000)


def test_fixed_point_of_every_quotient():
    """OpenCV's tables of 4096 factor / divisor, and its rounding shift."""
    divisor, x = np.meshgrid(np.arange(256), np.arange(-255, 1276), indexing="ij")
    run = jax.jit(hue.fixed_point, static_argnums=1)
    for factor, most in ((30, 5), (255, 1)):
        table = np.array([0] + [round(4096 * factor / i) for i in range(1, 256)])
        planes = (jnp.asarray(a[None], jnp.float32) for a in (x, divisor))
        ours = run(next(planes), factor, next(planes))[0]
        used = (x >= -divisor) & (x <= most * divisor)
        theirs = (x * table[divisor] + 2048) >> 12
        np.testing.assert_array_equal(
            np.where(used, ours, 0), np.where(used, theirs, 0)
        )


def test_products_are_rounded_once():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4096, 20000).astype(np.float32)
    for factor in (6 / 180, 1 / 255, 0.03, 1.0, -0.731):
        ours = jax.jit(lambda x, f=factor: exact.scaled(x, f) - 1)(x)
        np.testing.assert_array_equal(ours, x * np.float32(factor) - np.float32(1))
    a, b = rng.random((2, 1, 100, 200), np.float32)
    ours = hue.one_less_product(jnp.asarray(a), jnp.asarray(b))
    # A product of two float32 is exact in float64.
    exactly = (1 - a.astype(float) * b.astype(float)).astype(np.float32)
    assert (np.asarray(ours) == exactly).mean() > 0.999
    np.testing.assert_allclose(ours, exactly, rtol=3e-7)
