"""Schedule, decay mask, frozen parts and AdamW."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.models import mer_clip
from merclip_jax.training import optim

SCHEDULES = (
    "dfme_2gpu",
    "dfme_1gpu",
    "casme2_5_sub01_2gpu",
    "samm_3cls_sub06_2gpu",
    "samm_ori_sub06_2gpu",
)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("case", SCHEDULES)
def test_learning_rate_at_every_iteration(golden, case, x64):
    """Against the reference's float64: rtol 1e-5 in float32, 1e-10 under x64."""
    data = np.load(golden / "schedule.npz")
    wanted = data[f"{case}/lr"]
    per_epoch = int(data[f"{case}/iters_per_epoch"])
    clips, batch = (int(data[f"{case}/{k}"]) for k in ("n_clips", "total_batch"))
    assert per_epoch == -(-clips // batch)
    rate = functools.partial(
        optim.learning_rate,
        peak=float(data[f"{case}/base_lr"]),
        epochs=55,
        warmup_epochs=5,
        floor=0.1,
    )
    with jax.enable_x64(x64):
        rates = jax.jit(jax.vmap(rate, in_axes=(0, None)))(
            jnp.arange(len(wanted)), jnp.asarray(per_epoch)
        )
    np.testing.assert_allclose(rates, wanted, rtol=1e-10 if x64 else 1e-5)


def test_learning_rate_without_warm_up_starts_at_its_peak():
    rate = functools.partial(
        optim.learning_rate, peak=2.0, epochs=4, warmup_epochs=0, floor=0.25
    )
    rates = [float(rate(jnp.asarray(i), jnp.asarray(10))) for i in (0, 20, 40, 99)]
    np.testing.assert_allclose(rates, [2.0, 1.25, 0.5, 0.5], rtol=1e-6)


@pytest.fixture(scope="module")
def b16():
    """Shapes of the released model's parameters at K = 7."""
    model = mer_clip.mer_clip(
        mer_clip.MerClipOptions(learn_temperature=True), classes=7, frames=16
    )
    clip = jax.ShapeDtypeStruct((1, 16, 224, 224, 3), jnp.float32)
    init = functools.partial(model.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), clip)["params"]


def leaves(tree):
    flat = jax.tree_util.tree_leaves_with_path(tree)
    return {optim.path_of(path): leaf for path, leaf in flat}


def counts(params, mask):
    sizes, chosen = leaves(params), leaves(mask)
    decayed = sum(sizes[k].size for k in sizes if chosen[k])
    return decayed, sum(leaf.size for leaf in sizes.values()) - decayed


def test_released_decay_counts_as_the_spec_says(b16):
    mask = optim.decay_mask(b16, decay_embeddings=True)
    assert counts(b16, mask) == (169_685_505, 271_367)


def test_released_decay_reaches_what_the_released_code_decays(b16):
    mask = leaves(optim.decay_mask(b16, decay_embeddings=True))
    decayed = {path.rsplit("/", 1)[-1] for path, on in mask.items() if on}
    assert decayed >= {
        "in_proj_bias",
        "class_embedding",
        "positional_embedding",
        "temporal_cls_token",
        "balance",
        "video_projection",
        "logit_scale",
        "kernel",
    }
    assert not decayed & {"scale", "bias", "dpe_bias"}


def test_paper_decays_matrices_and_nothing_else(b16):
    released = leaves(optim.decay_mask(b16, decay_embeddings=True))
    paper = leaves(optim.decay_mask(b16, decay_embeddings=False))
    spared = {path.rsplit("/", 1)[-1] for path in paper if released[path] > paper[path]}
    assert spared == {
        "in_proj_bias",
        "class_embedding",
        "positional_embedding",
        "temporal_cls_token",
        "balance",
        "logit_scale",
    }
    assert not any(paper[path] > released[path] for path in paper)
    shapes = leaves(b16)
    thin = [path for path, on in paper.items() if on and shapes[path].ndim < 2]
    assert not thin
    wide = {p for p, on in paper.items() if not on and shapes[p].ndim > 1}
    assert {path.rsplit("/", 1)[-1] for path in wide} == {"positional_embedding"}


def test_frozen_mask(b16):
    mask = leaves(optim.frozen_mask(b16, ["encoder/block_[01]/.*", "logit_scale"]))
    frozen = {path for path, on in mask.items() if on}
    blocks = ("encoder/block_0/", "encoder/block_1/")
    assert frozen == {p for p in mask if p.startswith(blocks)} | {"logit_scale"}
    assert not any(leaves(optim.frozen_mask(b16, [])).values())


def test_a_frozen_pattern_must_match_a_whole_path(b16):
    with pytest.raises(ValueError, match="'encoder' matches no parameter"):
        optim.frozen_mask(b16, ["encoder/.*", "encoder"])


PARAMS = {
    "layer": {
        "kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3),
        "bias": np.asarray([0.5, -0.5, 0.25], np.float32),
    },
    "norm": {"scale": np.asarray([1.0, 2.0], np.float32)},
    "class_embedding": np.asarray([3.0, -4.0], np.float32),
}


def gradients(step):
    rng = np.random.default_rng(step)
    size = 100 if step == 1 else 1  # only step 1 is long enough to be clipped
    return jax.tree.map(
        lambda p: (size * rng.normal(size=p.shape)).astype(np.float32), PARAMS
    )


def descend(tx, steps=4, lr=0.1):
    params, state = PARAMS, tx.init(PARAMS)
    for step in range(steps):
        updates, state = tx.update(gradients(step), state, params)
        params = jax.tree.map(lambda p, u: np.asarray(p - lr * u), params, updates)
    return leaves(params)


def directions(**changes):
    """AdamW with the paper's numbers."""
    options = optim.AdamWOptions(**changes)
    return optim.adamw(options, epochs=55).tx


def numpy_adamw(decayed, *, frozen=(), steps=4, lr=0.1, decay=0.05, clip=20.0):
    """AdamW as its paper writes it, in float64."""
    params = {k: v.astype(np.float64) for k, v in leaves(PARAMS).items()}
    first = {k: np.zeros_like(v) for k, v in params.items()}
    second = {k: np.zeros_like(v) for k, v in params.items()}
    for step in range(steps):
        grads = {
            k: g.astype(np.float64) * (k not in frozen)
            for k, g in leaves(gradients(step)).items()
        }
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        for k, g in grads.items():
            g = g * min(1, clip / norm)
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.999 * second[k] + 0.001 * g**2
            m = first[k] / (1 - 0.9 ** (step + 1))
            v = second[k] / (1 - 0.999 ** (step + 1))
            update = m / (np.sqrt(v) + 1e-8) + decay * params[k] * (k in decayed)
            params[k] = params[k] - lr * update * (k not in frozen)
    return params


@pytest.mark.parametrize("embeddings", [False, True])
def test_adamw_equals_numpy(embeddings):
    decayed = {"layer/kernel"} | ({"class_embedding"} if embeddings else set())
    ours = descend(directions(decay_embeddings=embeddings))
    wanted = numpy_adamw(decayed)
    for path, value in wanted.items():
        np.testing.assert_allclose(ours[path], value, rtol=2e-5, err_msg=path)


def test_frozen_parts_stand_still_and_do_not_count_in_the_norm():
    frozen = ("layer/kernel",)
    ours = descend(directions(decay_embeddings=True, frozen=frozen))
    wanted = numpy_adamw({"layer/kernel", "class_embedding"}, frozen=frozen)
    np.testing.assert_array_equal(ours["layer/kernel"], PARAMS["layer"]["kernel"])
    for path, value in wanted.items():
        np.testing.assert_allclose(ours[path], value, rtol=2e-5, err_msg=path)
