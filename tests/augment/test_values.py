"""The values of augmentation do not change: equal bit by bit to stored ones.

`augment_values.npz` was made on a CPU, under the test regime's XLA flags, by the code
of commit c3294fa: 13 operations that looked pixels and tables up, HSV by OpenCV's
tables. Large arrays are stored as SHA-256 of their bytes.
"""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.augment import operations
from merclip_jax.augment.clips import Augmentation, augment
from merclip_jax.augment.colour import colour_jitter
from tests import mini

ORDER = (2, 0, 1, 3)
OPTIONS = {
    "paper": Augmentation(),
    "always": Augmentation(augmix=1.0, flip=1.0, colour_jitter=1.0, static_mix=1.0),
    "augmix": Augmentation(augmix=1.0, flip=0.0, colour_jitter=0.0, static_mix=0.0),
    "released": Augmentation(
        augmix=1.0,
        flip=0.0,
        flip_swaps_sides=False,
        colour_jitter=1.0,
        static_mix_self=True,
    ),
}
SIZES = ("2x12x10", "1x33x17", "2x37x40", "1x64x33")
operate, jitter = jax.jit(operations.operate), jax.jit(colour_jitter)


def picture(*shape):
    """Waves with speckles, by integers alone: the same everywhere."""
    b, t, y, x, c = np.indices(shape).astype(np.int64)
    wave = 90 + (y * (3 + c) + x * (2 + b) + t * 5) % 97
    speckle = x * 7919 + y * 104729 + t * 1299709 + c * 15485863 + b * 179424673
    return ((wave + speckle % 61) % (250 - 10 * b)).astype(np.uint8)


def planes(size):
    return jnp.asarray(picture(1, *map(int, size.split("x")), 3)[0]).transpose(
        0, 3, 1, 2
    )


def number(text):
    return jnp.float32(float(text))


def same(values, stored, key):
    """Whether an array, or its hash, is what is stored under a key."""
    values = np.asarray(values)
    if key in stored:
        np.testing.assert_array_equal(values, stored[key])
    else:
        found = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
        assert found == stored[key + "/sha256"].tobytes()


@pytest.fixture(scope="module")
def stored(golden):
    with np.load(golden / "augment_values.npz") as file:
        return dict(file)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_operations(stored, name, size):
    keys = [
        key.removesuffix("/sha256")
        for key in stored
        if key.startswith(f"operation/{size}/{name}/")
    ]
    assert keys
    for key in keys:
        level, sign = map(number, key.split("/")[3:])
        index = jnp.int32(operations.OPERATIONS.index(name))
        out = operate(planes(size), index, level, sign)
        same(out.transpose(0, 2, 3, 1), stored, key)


@pytest.mark.parametrize("size", SIZES)
def test_colours(stored, size):
    keys = [key for key in stored if key.startswith(f"colour/{size}/")]
    assert len(keys) == 4
    for key in keys:
        order, strength = key.split("/")[2:]
        out = jitter(
            planes(size),
            jnp.asarray([int(x) for x in order.split("-")]),
            jnp.stack([number(x) for x in strength.split("_")]),
        )
        same(out.transpose(0, 2, 3, 1), stored, key)


SMALL, WIDE = (3, 2, 21, 19, 3), (2, 1, 34, 36, 3)


# Not each with each, since each is compiled twice.
@pytest.mark.parametrize(
    "name, shape",
    [("paper", SMALL), ("always", WIDE), ("augmix", WIDE), ("released", SMALL)],
)
def test_batches_alone_and_as_members(stored, name, shape):
    def one(key, clips):
        return augment(key, clips, OPTIONS[name], jnp.asarray(ORDER))

    clips = jnp.asarray(picture(*shape))
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    jit = functools.partial(jax.jit, compiler_options=mini.EMITTERS)
    alone = jit(one)
    together = jit(jax.vmap(one, in_axes=(0, None)))(keys, clips)
    for i in range(3):
        key = f"augment/{name}/{'x'.join(map(str, shape[:4]))}/{i}"
        out, swap = alone(keys[i], clips)
        same(out, stored, key)
        same(swap, stored, key + "/swap")
        np.testing.assert_array_equal(together[0][i], out)
        np.testing.assert_array_equal(together[1][i], swap)


def test_full_size(stored):
    name = "always"
    run = jax.jit(lambda k, x: augment(k, x, OPTIONS[name], jnp.asarray(ORDER)))
    out, _ = run(jax.random.key(7), jnp.asarray(picture(2, 2, 224, 224, 3)))
    same(out, stored, f"augment/{name}/2x2x224x224/7")
