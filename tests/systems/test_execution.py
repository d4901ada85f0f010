"""How a step is computed changes no result: computed again, or part by part."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.augment.clips import Augmentation
from merclip_jax.data.view import View
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.microbatch import divided
from merclip_jax.systems.system import Context, Execution
from tests import mini  # noqa: F401  the size "nano"

B, SETS = 8, 5
STILL = Augmentation(augmix=0.0, flip=0.5, colour_jitter=0.0, static_mix=0.5)


def system(execution, *, contrastive="hard", **options):
    still = dict(drop_path=0.0, global_drop_path=0.0, global_mlp_dropout=0.0)
    still |= dict(head_dropout=0.0, bn_group_size=2, learn_temperature=True)
    return MerClip(
        classes=("a", "b", "c"),
        epochs=5,
        view=View(frames=4, image_size=32),
        model=MerClipOptions(size="nano", **(still | options)),
        loss_options=LossOptions(contrastive=contrastive),
        augmentation=STILL,
        execution=execution,
    )


def batch_of(made):
    keys = jax.random.split(jax.random.key(3), 3)
    shape = (B, *made.view.shape)
    batch = {
        "frames": jax.random.randint(keys[0], shape, 0, 256).astype(jnp.uint8),
        "label": jnp.arange(B, dtype=jnp.int32) % 3,
        "au_combination": jnp.arange(B, dtype=jnp.int32) % SETS,
    }
    run = {
        "features": jax.random.normal(keys[1], (2, SETS, mini.NANO.embed)),
        "mirror": jnp.arange(SETS, dtype=jnp.int32),
        "overlap": jnp.eye(SETS),
    }
    return batch, Context(run=run)


@functools.cache
def variables_of(contrastive):
    """Random weights all over: zero-initialised branches would hide what passes."""
    made = system(Execution(), contrastive=contrastive)
    batch, _ = batch_of(made)
    shapes = jax.eval_shape(lambda: made.init(jax.random.key(0), batch))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        values = rng.normal(size=leaf.shape)
        if path[0].key == "batch_stats":
            return np.abs(values).astype(leaf.dtype)
        spread = 0.2 if leaf.ndim < 2 else min(0.2, leaf.size**-0.25)
        return (values * spread + (path[-1].key == "scale")).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def gradients(execution, contrastive="hard", drop=0.0):
    """Loss, changed statistics, scalars and gradients of one batch."""
    drops = dict.fromkeys(("drop_path", "global_drop_path", "head_dropout"), drop)
    made = system(execution, contrastive=contrastive, **drops)
    batch, context = batch_of(made)
    variables = variables_of(contrastive)

    @jax.jit
    def run(params):
        def loss(params):
            return made.loss(
                variables | {"params": params},
                context,
                batch,
                key=jax.random.key(3),
                epoch=jnp.asarray(1, jnp.int32),
            )

        return jax.value_and_grad(loss, has_aux=True)(params)

    (value, (changed, scalars)), grads = run(variables["params"])
    return jax.device_get((value, changed, scalars, grads))


def assert_equal(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        scale = max(float(np.abs(b).max()), 1e-3)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize(("size", "contrastive"), [(2, "hard"), (4, "sigmoid")])
def test_a_batch_in_parts_is_the_batch(size, contrastive):
    """Logits of all clips against all sentences, groups of BatchNorm kept: 1e-5."""
    parts = gradients(Execution(microbatch=size), contrastive)
    assert_equal(parts, gradients(Execution(), contrastive))


@pytest.mark.parametrize("remat", ["products", "blocks"])
def test_what_is_computed_again_is_the_same(remat):
    assert_equal(gradients(Execution(remat=remat)), gradients(Execution()))


def test_both_together():
    assert_equal(gradients(Execution("blocks", 4)), gradients(Execution()))


@pytest.mark.parametrize("remat", ["products", "blocks"])
def test_dropped_paths_are_dropped_again(remat):
    """The backward pass draws what the forward pass drew."""
    again, kept = (gradients(Execution(remat=r), drop=0.5) for r in (remat, "none"))
    assert_equal(again, kept)
    assert not np.allclose(kept[0], gradients(Execution())[0], rtol=1e-3)


@pytest.mark.parametrize(("size", "group"), [(4, 1), (4, 2), (2, 2), (8, 4)])
def test_parts_come_back_in_order(size, group):
    batch = jnp.arange(8)
    parts, merge = divided(batch, size=size, group=group)
    assert parts.shape == (8 // size, size)
    np.testing.assert_array_equal(merge(parts), batch)
    # Neighbours of a group stay neighbours.
    assert (np.diff(np.asarray(parts).reshape(-1, group), axis=1) == 1).all()


def test_it_is_no_part_of_what_the_system_is():
    plain, other = system(Execution()), system(Execution("blocks", 2))
    assert plain == other and hash(plain) == hash(other)
    assert dataclasses.replace(other, execution=Execution()).execution == Execution()
