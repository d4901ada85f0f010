"""AugMix agrees with the goldens and Pillow and touches only what it should."""

import json

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from merclip_jax.augment import augmix, operations

EXACT = {*operations.TABLES, "Rotate", *operations.BLENDS} - {"AdjustContrast"}
apply_operation = jax.jit(operations.operate)
augmix_batch = jax.jit(augmix.augmix_batch)


def operate(clip, name, level=0.5, sign=1.0):
    index = jnp.asarray(operations.OPERATIONS.index(name), jnp.int32)
    planes = jnp.asarray(clip, jnp.uint8).transpose(0, 3, 1, 2)
    out = apply_operation(planes, index, jnp.float32(level), jnp.float32(sign))
    return np.asarray(out.transpose(0, 2, 3, 1), np.float32)


@pytest.fixture(scope="module")
def data(golden):
    with np.load(golden / "augmix.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def clip(data):
    return data["op/clip_THWC_uint8"]


def stored(data, name):
    """(level, sign, arg, out) of each golden of an operation."""
    for key in data:
        if key.startswith(f"op/{name}/") and key.endswith("/out"):
            _, _, level, sign, _ = key.split("/")
            arg = data[key.removesuffix("out") + "arg"]
            level = float(level.removeprefix("level"))
            yield level, float(sign.removeprefix("sign")), arg, data[key]


def smooth_clip(t=4, h=20, w=24):
    y, x = np.mgrid[:h, :w]
    frame = np.stack([60 + 4 * x + 2 * y, 200 - 5 * x + y, 90 + 3 * y], -1)
    return np.stack([frame + 5 * i for i in range(t)]).clip(0, 255)


def test_order_of_operations(data):
    assert operations.OPERATIONS == tuple(str(x) for x in data["op/names"])
    families = operations.TABLES + operations.AFFINE + operations.BLENDS
    assert sorted(families) == sorted(operations.OPERATIONS)


@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_operation_golden(data, clip, name):
    """Tables, rotations and three of the blends exactly.

    Slopes and shifts of this small clip put values on a tie of the rounding (a shift
    of 11 / 30 pixel: one value in 30 ends in exactly one half). One contrast gives
    115.99995, which `ROUNDING` takes for 116. One grey level there.
    """
    cases = list(stored(data, name))
    assert cases
    for level, sign, arg, theirs in cases:
        ours = operate(clip, name, level, sign)
        theirs = theirs.astype(np.float32)
        assert np.abs(ours - theirs).max() <= (0 if name in EXACT else 1)
        assert (ours == theirs).mean() > (0.99 if name == "TranslateX" else 0.995)
        strength = operations.strength(
            jnp.asarray(operations.OPERATIONS.index(name)),
            jnp.float32(level),
            jnp.float32(sign),
        )
        np.testing.assert_allclose(strength, arg[0] if arg.size else 0.0, rtol=1e-6)


def golden_draws(data, i):
    """Draws of a whole golden call, from the strengths that it lists."""
    chains = json.loads(str(data[f"augmix/{i}/chains_json"]))
    operation = np.zeros((3, 3), np.int32)
    level, sign = np.full((3, 3), 0.5, np.float32), np.ones((3, 3), np.float32)
    for c, chain in enumerate(chains):
        for d, (name, arg) in enumerate(chain):
            operation[c, d] = operations.OPERATIONS.index(name)
            constant, slope = operations.STRENGTH[name]
            if slope:
                level[c, d] = (abs(arg[0]) - constant) / slope
                sign[c, d] = np.sign(arg[0])
            elif arg:
                assert arg[0] == constant
    assert (level >= 0.1 - 1e-6).all() and (level <= 1 + 1e-6).all()
    return augmix.Draws(
        jnp.asarray(data[f"augmix/{i}/chain_weights"]),
        jnp.asarray(data[f"augmix/{i}/m"]),
        jnp.asarray([len(x) for x in chains], jnp.int32),
        *map(jnp.asarray, (operation, level, sign)),
    )


@pytest.mark.parametrize("i", range(3))
def test_augmix_golden(data, clip, i):
    """Call 0 posterizes after a shear: a level of the shear may become 16 there."""
    draws = golden_draws(data, i)
    planes = jnp.asarray(clip).transpose(0, 3, 1, 2)
    ours = jax.jit(augmix.augmix)(planes, draws).transpose(0, 2, 3, 1)
    ours = np.asarray(ours, np.float32)
    theirs = data[f"augmix/{i}/out"].astype(np.float32)
    step = 16 * (1 - draws.mix) * draws.chain_weights[0] + 1 if i == 0 else 1
    assert np.abs(ours - theirs).max() <= step
    assert (ours == theirs).mean() >= (0.995 if i == 0 else 1)


PILLOW = {
    "AutoContrast": lambda x, level: ImageOps.autocontrast(x),
    "Equalize": lambda x, level: ImageOps.equalize(x),
    "Posterize": lambda x, level: ImageOps.posterize(x, 4),
    "Solarize": lambda x, level: ImageOps.solarize(x, int(255 * (1 - level / 10))),
    "AdjustSaturation": lambda x, f: ImageEnhance.Color(x).enhance(0.1 + 0.18 * f),
    "AdjustContrast": lambda x, f: ImageEnhance.Contrast(x).enhance(0.1 + 0.18 * f),
    "AdjustBrightness": lambda x, f: ImageEnhance.Brightness(x).enhance(0.1 + 0.18 * f),
    "AdjustSharpness": lambda x, f: ImageEnhance.Sharpness(x).enhance(0.1 + 0.18 * f),
}


@pytest.mark.parametrize("name", PILLOW)
def test_agrees_with_pillow(name):
    """Five exactly; three differ by one level, by definition.

    AutoContrast: Pillow truncates a float that may lie just below a whole level.
    AdjustSaturation, AdjustContrast: Pillow rounds the grey, by other weights, and
    the mean of the grey, where this one truncates the first and keeps the second.
    """
    rng = np.random.default_rng(0)
    noise, dark = (
        rng.integers(0, 256, (4, 20, 24, 3)),
        rng.integers(40, 90, (4, 20, 24, 3)),
    )
    worst = 1 if name in ("AutoContrast", "AdjustSaturation", "AdjustContrast") else 0
    for clip in (noise, dark, smooth_clip()):
        for level in (0.1, 0.37, 1.0):
            ours = operate(clip, name, level)
            for frame, out in zip(clip.astype(np.uint8), ours, strict=True):
                theirs = PILLOW[name](Image.fromarray(frame), level)
                assert np.abs(out - np.asarray(theirs, np.float32)).max() <= worst


@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_flat_clips(name):
    """One colour stays whole where it should: no level is lost to float32."""
    for value in (0, 1, 77, 255):
        flat = np.full((2, 8, 9, 3), value)
        out = operate(flat, name, 0.3)
        assert (out == np.round(out)).all() and out.min() >= 0 and out.max() <= 255
        if name in ("AutoContrast", "Equalize", "AdjustSharpness"):
            assert (out == value).all()


@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_same_for_all_frames_but_own_statistics(name):
    rng = np.random.default_rng(1)
    frames = rng.integers(30, 180, (3, 12, 10, 3))
    frames[1] = frames[1] // 2 + 20
    whole = operate(frames, name, 0.8, -1.0)
    for i in range(3):
        alone = operate(frames[[i, i, i]], name, 0.8, -1.0)
        assert (alone == alone[:1]).all()
        assert (alone[0] == whole[i]).all()  # so the other frames do not matter
    if name == "AutoContrast":
        assert (whole.min((1, 2)) == 0).all() and (whole.max((1, 2)) == 255).all()


def test_it_lowers_elsewhere():
    shapes = jax.ShapeDtypeStruct((2, 2, 9, 7, 3), jnp.uint8)
    key = jax.eval_shape(lambda: jax.random.key(0))
    chosen = jax.ShapeDtypeStruct((2,), bool)
    for platform in ("tpu", "cuda"):
        jax.export.export(augmix_batch, platforms=[platform])(key, shapes, chosen)


def test_chosen_and_reproducible():
    rng = np.random.default_rng(3)
    clips = jnp.asarray(rng.integers(0, 256, (4, 3, 12, 10, 3)), jnp.uint8)
    chosen = jnp.asarray([True, False, True, False])
    x = clips
    out = augmix_batch(jax.random.key(5), x, chosen)
    assert out.dtype == jnp.uint8
    assert (out[1] == x[1]).all() and (out[3] == x[3]).all()
    assert (out[0] != x[0]).any() and (out[2] != x[2]).any()
    assert (out == augmix_batch(jax.random.key(5), x, chosen)).all()
    assert (out != augmix_batch(jax.random.key(6), x, chosen)).any()
    same = jnp.broadcast_to(x[:1], x.shape)
    out = augmix_batch(jax.random.key(5), same, jnp.ones(4, bool))
    assert (out[0] != out[1]).any()  # each clip has its own draw
    still = jnp.broadcast_to(x[:, :1], x.shape)
    out = augmix_batch(jax.random.key(5), still, jnp.ones(4, bool))
    assert (out == out[:, :1]).all()  # and all its frames the same


def test_members_under_vmap():
    """The same to the bit: a longer loop over clips, not another program."""
    rng = np.random.default_rng(4)
    clips = jnp.asarray(rng.integers(0, 256, (2, 3, 3, 12, 10, 3)), jnp.uint8)
    chosen = jnp.asarray([[True, True, False], [False, True, True]])
    keys = jax.random.split(jax.random.key(8), 2)
    out = jax.jit(jax.vmap(augmix.augmix_batch))(keys, clips, chosen)
    for i in range(2):
        assert (out[i] == augmix_batch(keys[i], clips[i], chosen[i])).all()
    assert (out[0, 2] == clips[0, 2]).all() and (out[1, 0] == clips[1, 0]).all()


def test_draws():
    """Moments of 4000 calls within five standard errors."""
    n = 4000
    draws = jax.vmap(augmix.draw)(jax.random.split(jax.random.key(0), n))

    def check(values, mean, variance):
        values = np.asarray(values, np.float64)
        error = np.sqrt(variance / values.size)
        assert abs(values.mean() - mean) < 5 * error
        assert abs(values.var() / variance - 1) < 10 / np.sqrt(values.size)

    np.testing.assert_allclose(draws.chain_weights.sum(1), 1, rtol=1e-6)
    for c in range(3):
        check(draws.chain_weights[:, c], 1 / 3, 2 / 36)
        check(draws.depth[:, c], 2, 2 / 3)
    check(draws.mix, 1 / 2, 1 / 12)
    check(draws.level, 0.55, 0.9**2 / 12)
    check(draws.sign, 0, 1)
    check(draws.operation, 6, 14)
    assert draws.level.min() >= 0.1 and draws.level.max() <= 1
    assert set(np.unique(draws.sign)) == {-1, 1}
    assert set(np.unique(draws.depth)) == {1, 2, 3}
    counts = np.bincount(np.ravel(draws.operation), minlength=13)
    expected = 9 * n / 13
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert len(counts) == 13 and chi_squared < 12 + 5 * np.sqrt(24)
    first, second = np.asarray(draws.operation[:, 0, :2]).T
    assert 0 < (first == second).mean() < 2 / 13  # with replacement


def test_weakens_brightness_contrast_and_motion(data, clip):
    """The direction of the stored 3000 draws, whose clip the spec does not give.

    On the goldens' clip, whose levels leave room for AutoContrast and Equalize, the
    means must lie between the stored ones and 1, by four standard errors at most.
    """
    n = 200
    x = jnp.broadcast_to(jnp.asarray(clip), (n, *clip.shape))
    out = augmix_batch(jax.random.key(2), x, jnp.ones(n, bool))
    out = np.asarray(out, np.float32)

    def measure(a):
        motion = np.abs(np.diff(a, axis=-4))
        axes = (-4, -3, -2, -1)
        return np.stack([a.mean(axes), a.std(axes), motion.mean(axes)], -1)

    ratio = measure(out) / measure(clip.astype(np.float32))
    error = ratio.std(0) / np.sqrt(n)
    assert (ratio.mean(0) > data["augmix_strength/mean"] - 4 * error).all()
    assert (ratio.mean(0) < 1 + 4 * error).all()
    assert (ratio.mean(0)[1:] < 1).all()
    stored = data["augmix_strength/std"]
    assert (ratio.std(0) > 0.5 * stored).all() and (ratio.std(0) < 2 * stored).all()
