"""Arrays side by side: what comes out is what went in, and moves as it did."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from merclip_jax.training import finetune, optim
from merclip_jax.training import packed as module
from merclip_jax.training.packed import pack

PARAMS = {
    "encoder": {
        "ln": {"scale": (4,), "bias": (4,)},
        "dense": {"kernel": (4, 6), "bias": (6,)},
        "in_proj_bias": (12,),
    },
    "head": {"kernel": (6, 3), "bias": (3,)},
    "logit_scale": (),
}
STATS = {"bn": {"mean": (5,), "var": (5,)}}


def filled(shapes, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: rng.normal(size=shape).astype(dtype),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def variables():
    return {
        "params": filled(PARAMS),
        "batch_stats": filled(STATS, 1) | filled({"n": (2,)}, 2, np.float64),
    }


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("alike", [None, lambda path: None, lambda path: path[-1]])
def test_what_is_packed_comes_back(lead, alike):
    packed = pack(variables(), alike)

    def stacked(x):
        return np.broadcast_to(np.asarray(x), (*lead, *np.shape(x)))

    back = jax.tree.map(stacked, packed).unpack()
    jax.tree.map(
        np.testing.assert_array_equal, back, jax.tree.map(stacked, variables())
    )


def test_small_arrays_lie_in_the_place_of_the_first(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 18)  # the head's kernel has as many
    packed = pack(variables(), lambda path: "bias" in path)
    shapes = jax.tree.map(jnp.shape, packed.arrays)
    assert shapes["params"] == {
        "encoder": {
            "dense": {"bias": (4 + 6 + 12 + 3,), "kernel": (4, 6)},
            "ln": {"scale": (4 + 1,)},
        },
        "head": {"kernel": (6, 3)},
    }
    # Statistics are not the optimiser's; what has another type lies by itself.
    assert shapes["batch_stats"] == {"bn": {"mean": (10,)}, "n": (2,)}


def test_an_optimiser_that_says_nothing_sees_the_model_as_it_is():
    made = pack(variables(), None).arrays["params"]
    jax.tree.map(np.testing.assert_array_equal, made, variables()["params"])


OPTIMISERS = {
    "adamw": optim.adamw(optim.AdamWOptions(clip_norm=0.1), epochs=3),
    "embeddings decay": optim.adamw(
        optim.AdamWOptions(decay_embeddings=True, weight_decay=1.0), epochs=3
    ),
    "frozen": optim.adamw(
        optim.AdamWOptions(frozen=("encoder/ln/.*", "head/bias", "logit_scale")),
        epochs=3,
    ),
    "adam": optim.coupled_adam(optim.AdamOptions()),
    "finetune": finetune.finetune(
        finetune.FinetuneOptions(clip_norm=0.1),
        epochs=3,
        frozen=("encoder/dense/.*", ".*/ln/scale"),
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_packed_parameters_move_as_they_did(name):
    """Three steps of an optimiser, of the tree and of what is packed."""
    optimiser = OPTIMISERS[name]
    params = filled(PARAMS)
    packed = pack({"params": params}, optimiser.alike)
    few = len(jax.tree.leaves(packed.arrays))
    assert few < len(jax.tree.leaves(params))

    def moved(params, gradients):
        state = optimiser.tx.init(params)
        for grads in gradients:
            updates, state = optimiser.tx.update(grads, state, params)
            params = optax.apply_updates(params, jax.tree.map(lambda u: -u, updates))
        return params

    gradients = [filled(PARAMS, seed) for seed in (1, 2, 3)]
    one = moved(params, gradients)
    other = moved(
        packed.arrays["params"], [packed.placed("params", g) for g in gradients]
    )
    other = packed.replace(arrays={"params": other}).unpack()["params"]
    # Found: the same bits, but for Adam alone (5e-7): XLA fuses a vector otherwise.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, other)
