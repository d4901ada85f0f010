"""The arithmetic that is counted is the arithmetic of the equations."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import shapes
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.training import sharding
from merclip_jax.training.flops import products, training_flops
from merclip_jax.training.options import TrainOptions

FRAMES, PIXELS, BATCH = 4, 32, 8


def programs(members=1, steps=2, **changes):
    options = TrainOptions(batch_size=BATCH, scan_steps=steps, **changes)
    return shapes.mer_clip(
        MerClipOptions(size="tiny", bn_group_size=4),
        options,
        members=members,
        mesh=sharding.make_mesh(members, BATCH),
        augmentation=shapes.NONE,
        clips=2,
        frames=FRAMES,
        image_size=PIXELS,
    )


def counted(function, *shapes):
    return products(jax.make_jaxpr(function)(*map(jnp.zeros, shapes)).jaxpr)


def test_products_of_all_kinds():
    assert counted(lambda a, b: a @ b, (3, 4), (4, 5)) == 2 * 3 * 4 * 5
    assert counted(jax.vmap(jnp.dot), (7, 3, 4), (7, 4, 5)) == 7 * 2 * 3 * 4 * 5

    def loop(a, b):
        return jax.lax.scan(lambda x, _: (x @ b, None), a, length=6)[0]

    assert counted(loop, (3, 4), (4, 4)) == 6 * 2 * 3 * 4 * 4

    def branch(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a)

    assert counted(branch, (3, 4), (4, 4)) == 2 * 3 * 4 * 4


def test_a_step_is_that_of_the_equations():
    """Closed form of one clip, forward; the backward pass costs twice as much.

    But for what has no gradient to give: the frames.
    """
    size = SIZES["tiny"]
    d, t, n = size.width, FRAMES // 2, (PIXELS // 16) ** 2
    taps = 16 * 16 * 3
    stem = 2 * 3 * t * n * taps * d
    tokens, r = t * (n + 1), int(d / 1.5)
    mixers = 2 * 2 * tokens * 2 * d * r
    attention = 2 * tokens * 4 * d * d + 2 * 2 * t * (n + 1) ** 2 * d
    mlp = 2 * tokens * 8 * d * d
    heads = size.heads
    # Query, its way to the tokens, scores and sum, values, projection; then its MLP.
    whole = 2 * (d * d + d * d + 2 * heads * tokens * d + d * d + d * d) + 2 * 8 * d * d
    blocks = size.layers * (mixers + attention + mlp) + len(size.global_layers) * whole
    e, s = size.embed, t * n + 1
    head = 2 * s * d * e  # projection
    head += 2 * s * 4 * e * e + 2 * 2 * s * s * e + 2 * s * 8 * e * e  # first block
    head += 2 * (4 * e * e + 2 * 4 * s * e) + 2 * 8 * e * e  # second: one query
    head += 2 * 2 * e * 7 + 2 * d * e  # classifier twice, video projection
    forward = stem + blocks + head
    found = training_flops(programs()) / BATCH
    assert found == pytest.approx(3 * forward - stem, rel=0.003)


@pytest.mark.parametrize(
    "changes",
    [{"members": 2}, {"steps": 3}, {"remat": "blocks"}, {"microbatch": 4}],
)
def test_how_it_is_computed_does_not_count(changes):
    assert training_flops(programs(**changes)) == training_flops(programs())
