"""CLIP's blocks move slower than what is new; what is frozen does not, nor decays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.models.clip_vit import SIZES
from merclip_jax.models.micro_au_clip import MicroAUOptions, micro_au_clip
from merclip_jax.training.finetune import FinetuneOptions, finetune
from merclip_jax.training.optim import decay_mask, path_of

OPTIONS = MicroAUOptions(size="tiny", trained_blocks=1)


@pytest.fixture(scope="module")
def params():
    model = micro_au_clip(OPTIONS)
    n = len(OPTIONS.aus)
    shapes = jax.eval_shape(
        functools.partial(model.init, train=False),
        jax.random.key(0),
        jnp.zeros((1, 32, 32, 3)),
        jnp.zeros((1, 68, 2)),
        jnp.zeros((n, 2, SIZES["tiny"].embed)),
    )
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), shapes
    )["params"]


def by_path(tree):
    return {path_of(k): v for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def directions(params, grads, **options):
    made = finetune(FinetuneOptions(**options), epochs=30, frozen=OPTIONS.frozen)
    update = jax.jit(made.tx.update)
    return by_path(update(grads, made.tx.init(params), params)[0])


def kind(path):
    first = path.startswith("encoder/block_1/") or path.startswith("encoder/ln_post")
    if path.startswith("encoder/"):
        return "slow" if first else "frozen"
    return "new"


def test_adams_first_step_is_the_rate_itself(params):
    """1 for what is new, a tenth of it for CLIP's blocks, 0 for what is frozen."""
    grads = jax.tree.map(jnp.ones_like, params)
    size = {"new": 1.0, "slow": 0.1, "frozen": 0.0}
    seen = set()
    for path, moved in directions(params, grads, weight_decay=0.0).items():
        np.testing.assert_allclose(moved, size[kind(path)], rtol=1e-4, err_msg=path)
        seen.add(kind(path))
    assert seen == set(size)


def test_what_decays(params):
    """Matrices alone: no norm, bias, embedding or temperature, and nothing frozen."""
    grads = jax.tree.map(jnp.zeros_like, params)
    for path, moved in directions(params, grads).items():
        still = path.endswith(("scale", "bias", "embedding", "log_tau"))
        share = {"new": 0.01, "slow": 0.001, "frozen": 0.0}[kind(path)]
        wanted = np.zeros(()) if still else share * np.asarray(by_path(params)[path])
        np.testing.assert_allclose(
            moved, np.broadcast_to(wanted, moved.shape), rtol=1e-4, err_msg=path
        )
    kept = by_path(decay_mask(params, decay_embeddings=False))
    assert {p for p, decays in kept.items() if decays} >= {
        "image_projection",
        "pta/attn/q/kernel",
        "text_adapter/c_proj/kernel",
        "encoder/block_1/attn/in_proj_kernel",
    }


def test_what_is_frozen_has_no_moments(params):
    made = finetune(FinetuneOptions(), epochs=30, frozen=OPTIONS.frozen)
    shapes = jax.eval_shape(made.tx.init, params)
    moments = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    trained = sum(v.size for p, v in by_path(params).items() if kind(p) != "frozen")
    assert moments == 2 * trained + 1  # and the count of steps


def test_gradients_are_clipped_together_without_what_is_frozen(params):
    """The second moment holds the square of what came through the clip."""
    grads = jax.tree.map(lambda x: 100 * jnp.ones_like(x), params)
    made = finetune(FinetuneOptions(), epochs=30, frozen=OPTIONS.frozen)
    state = made.tx.update(grads, made.tx.init(params), params)[1]
    (adam,) = [
        s.inner_state
        for s in jax.tree.leaves(state, is_leaf=lambda s: hasattr(s, "inner_state"))
        if hasattr(s, "inner_state") and hasattr(s.inner_state, "nu")
    ]
    squares = sum(float(leaf.sum()) for leaf in jax.tree.leaves(adam.nu))
    assert squares == pytest.approx((1 - 0.98) * 1.0, rel=1e-3)
    firsts = [float(leaf.sum()) for leaf in jax.tree.leaves(adam.mu)]
    trained = sum(v.size for p, v in by_path(params).items() if kind(p) != "frozen")
    assert sum(firsts) == pytest.approx(0.1 * trained**0.5, rel=1e-3)


def test_the_rate_rises_from_nothing_and_ends_there():
    made = finetune(FinetuneOptions(), epochs=30)
    per_epoch = jnp.asarray(10)
    rates = [float(made.rate(jnp.asarray(s), per_epoch)) for s in (0, 19, 160, 300)]
    np.testing.assert_allclose(rates, [0, 1e-4, 0.5e-4, 0], rtol=1e-5, atol=1e-12)
    assert made.length.steps(10) == 300
