"""The detector of AUs: what each feature may depend on, and what has a gradient."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.models import au_regions
from merclip_jax.models.clip_vit import SIZES, ClipViT
from merclip_jax.models.micro_au_clip import (
    GlobalDependencyAttention,
    MicroAUOptions,
    PatchTokenAttention,
    micro_au_clip,
    picture,
)
from merclip_jax.training.optim import frozen_mask, path_of

AUS = (1, 7, 12, 15)
B, P, D, HEADS = 2, 64, 32, 4


def face(seed=0, side=32):
    """68 points of a rough face in a picture."""
    rng = np.random.default_rng(seed)
    points = np.zeros((au_regions.POINTS, 2))
    points[:17] = np.stack([np.linspace(2, 30, 17), np.linspace(14, 30, 17)], 1)
    points[17:27] = np.stack([np.linspace(4, 28, 10), np.full(10, 8.0)], 1)
    points[27:36] = np.stack([np.full(9, 16.0), np.linspace(10, 20, 9)], 1)
    points[36:42] = np.stack([np.linspace(7, 12, 6), np.full(6, 12.0)], 1)
    points[42:48] = np.stack([np.linspace(20, 25, 6), np.full(6, 12.0)], 1)
    points[48:] = np.stack([np.linspace(10, 22, 20), np.full(20, 24.0)], 1)
    moved = points + rng.uniform(-0.4, 0.4, points.shape)
    return (moved * side / 32).astype(np.float32)


def faces(count=B, side=32):
    return jnp.asarray(np.stack([face(i, side) for i in range(count)]))


def randomised(variables, seed=0):
    """Random values all over: zeros at the start would hide what depends on what."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.2, x.dtype), variables
    )


@functools.cache
def pooled(self_attention=False):
    """The attention of regions, its variables, tokens, patches and mask."""
    patches, mask = au_regions.regions(faces(), AUS, patch_size=4, grid=(8, 8))
    tokens = jax.random.normal(jax.random.key(1), (B, P, D))
    module = PatchTokenAttention(HEADS, self_attention)
    mask = jnp.asarray(mask)
    variables = module.init(jax.random.key(0), tokens, patches, mask)
    return module, randomised(variables), tokens, patches, mask


def test_regions_by_hand():
    """Points, their middles, and what lies a quarter of the eyes' distance up."""
    points = face()
    found = np.asarray(au_regions.places(jnp.asarray(points[None]), (1, 4, 14)))[0]
    np.testing.assert_allclose(found[0, :4], points[20:24], rtol=1e-5)
    eyes = points[42:48].mean(0) - points[36:42].mean(0)
    up = 0.25 * np.asarray([eyes[1], -eyes[0]])
    np.testing.assert_allclose(found[0, 4:8], points[20:24] + up, rtol=1e-5)
    assert (found[0, 4:8, 1] < points[20:24, 1]).all()
    np.testing.assert_allclose(found[1, 7], (points[21] + points[22]) / 2, rtol=1e-5)
    np.testing.assert_allclose(found[2, 5], (points[54] + points[12]) / 2, rtol=1e-5)
    patches, mask = au_regions.regions(
        jnp.asarray(points[None]), (1, 4, 14), patch_size=4, grid=(8, 8)
    )
    assert patches.shape == (1, 3, 8) and mask.sum(1).tolist() == [8, 8, 6]
    wanted = np.clip(np.floor((found + 0.5) / 4), 0, 7).astype(int)
    wanted = wanted[..., 1] * 8 + wanted[..., 0]
    np.testing.assert_array_equal(patches[0], np.where(mask, wanted, 0))


def test_the_largest_region_of_casme2_has_twelve_slots():
    assert au_regions.slots((1, 2, 4, 7, 12, 14, 15, 17)).shape == (8, 12)
    with pytest.raises(ValueError, match=r"no region for \[3, 43\]; expected some of"):
        au_regions.slots((1, 3, 43))


def test_places_outside_count_to_the_border():
    far = jnp.asarray(face()[None] * 100 - 1000)
    patches, _ = au_regions.regions(far, AUS, patch_size=4, grid=(8, 8))
    assert patches.min() >= 0 and patches.max() < 64


@pytest.mark.parametrize("self_attention", [False, True])
def test_an_au_depends_on_its_own_region_alone(self_attention):
    """Bit for bit: other tokens change nothing before AUs read each other."""
    module, variables, tokens, patches, mask = pooled(self_attention)
    apply = jax.jit(functools.partial(module.apply, variables))
    before, _ = apply(tokens, patches, mask)
    for i in range(len(AUS)):
        mine = np.zeros((B, P), bool)
        for b in range(B):
            mine[b, np.asarray(patches)[b, i][np.asarray(mask)[i]]] = True
        noise = jax.random.normal(jax.random.key(2), tokens.shape) * 7
        other = jnp.where(jnp.asarray(mine)[..., None], tokens, noise)
        after, _ = apply(other, patches, mask)
        np.testing.assert_array_equal(after[:, i], before[:, i])
        assert not np.allclose(after, before)
        gda = GlobalDependencyAttention(HEADS)
        picture = tokens[:, 0]
        weights = randomised(gda.init(jax.random.key(0), before, picture))
        mixed = [gda.apply(weights, x, picture)[0][:, i] for x in (before, after)]
        assert not np.allclose(*mixed)


@pytest.mark.parametrize("self_attention", [False, True])
def test_padding_has_no_attention(self_attention):
    module, variables, tokens, patches, mask = pooled(self_attention)
    before, weights = module.apply(variables, tokens, patches, mask)
    np.testing.assert_array_equal(np.asarray(weights)[:, ~np.asarray(mask)], 0)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    # Whatever patch a padding slot names.
    other = jnp.where(mask[None], patches, 5)
    after, _ = module.apply(variables, tokens, other, mask)
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("self_attention", [False, True])
def test_the_order_of_slots_means_nothing(self_attention):
    """Slots and their embeddings permuted together."""
    module, variables, tokens, patches, mask = pooled(self_attention)
    before, weights = module.apply(variables, tokens, patches, mask)
    order = np.random.default_rng(0).permutation(mask.shape[1])
    params = dict(variables["params"])
    params["slot_embedding"] = params["slot_embedding"][:, order]
    after, moved = module.apply(
        {"params": params}, tokens, patches[:, :, order], mask[:, order]
    )
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moved, weights[:, :, order], rtol=1e-4, atol=1e-6)


def test_a_map_on_the_grid_holds_all_attention():
    module, variables, tokens, patches, mask = pooled()
    _, weights = module.apply(variables, tokens, patches, mask)
    grid = np.asarray(au_regions.on_grid(weights, patches, (8, 8)))
    np.testing.assert_allclose(grid.sum((2, 3)), 1, rtol=1e-5)
    b, i = 1, 2
    own = np.zeros(64)
    np.add.at(own, np.asarray(patches)[b, i], np.asarray(weights)[b, i])
    np.testing.assert_allclose(grid[b, i].reshape(-1), own, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("with_class", [False, True])
def test_what_aus_read_of_each_other_adds_up(with_class):
    module = GlobalDependencyAttention(HEADS, with_class)
    x = jax.random.normal(jax.random.key(0), (B, len(AUS), D))
    picture = jax.random.normal(jax.random.key(1), (B, D))
    variables = randomised(module.init(jax.random.key(2), x, picture))
    y, weights = module.apply(variables, x, picture)
    assert weights.shape == (B, len(AUS), len(AUS))
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    other, _ = module.apply(variables, x, 2 * picture + 1)
    assert np.allclose(other, y) != with_class


def whole(options, count=B):
    model = micro_au_clip(options)
    size = SIZES[options.size]
    pictures = jax.random.normal(jax.random.key(0), (count, 32, 32, 3))
    text = jax.random.normal(jax.random.key(1), (len(AUS), 2, size.embed))
    return model, (pictures, faces(count), text)


@pytest.mark.parametrize(("pta_self", "gda_cls"), [(False, False), (True, True)])
def test_the_whole(pta_self, gda_cls):
    options = MicroAUOptions(aus=AUS, size="tiny", pta_self=pta_self, gda_cls=gda_cls)
    model, given = whole(options)
    variables = jax.jit(functools.partial(model.init, train=False))(
        jax.random.key(0), *given
    )
    out = jax.jit(functools.partial(model.apply, train=True))(variables, *given)
    assert out.visual.shape == (B, len(AUS), 64) and out.text.shape == (len(AUS), 2, 64)
    assert out.slots.shape == (B, len(AUS), 12)
    for x in (out.visual, out.text):
        np.testing.assert_allclose(jnp.linalg.norm(x, axis=-1), 1, rtol=1e-5)
    # The adapter starts as nothing, the temperature at 10.
    unit = given[2] / jnp.linalg.norm(given[2], axis=-1, keepdims=True)
    np.testing.assert_allclose(out.text, unit, rtol=1e-5, atol=1e-6)
    assert out.scale == pytest.approx(10)
    params = variables["params"] | {"log_tau": jnp.asarray(9.0)}
    hot = model.apply({"params": params}, *given, train=True)
    assert hot.scale == 100
    names = set(params["pta"])
    assert ("attn_self" in names) == pta_self
    assert ("norm_class" in params["gda"]) == gda_cls


def test_bfloat16_computes_beside_float32_parameters():
    model, given = whole(MicroAUOptions(aus=AUS, size="tiny", dtype="bfloat16"))
    variables = model.init(jax.random.key(0), *given, train=False)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    out = model.apply(variables, *given, train=True)
    assert {x.dtype for x in out} == {jnp.dtype("float32")}


@pytest.mark.parametrize("trained_blocks", [0, 1, 2, 4])
def test_what_is_frozen_has_no_gradient_and_all_else_has_one(trained_blocks):
    options = MicroAUOptions(aus=AUS, size="tiny", trained_blocks=trained_blocks)
    model, given = whole(options)
    shapes = jax.eval_shape(
        functools.partial(model.init, train=False), jax.random.key(0), *given
    )
    params = randomised(shapes)["params"]

    def loss(params):
        out = model.apply({"params": params}, *given, train=True)
        mixed = jnp.einsum("bie,jse->bijs", out.visual, out.text) * out.scale
        return jnp.sin(mixed).sum() + jnp.sin(out.dependency * 3).sum()

    grads = jax.jit(jax.grad(loss))(params)
    frozen = jax.tree.leaves(frozen_mask(params, options.frozen))
    for (path, grad), still in zip(
        jax.tree_util.tree_leaves_with_path(grads), frozen, strict=True
    ):
        path = path_of(path)
        # The keys' bias adds the same to all scores: the softmax does not see it.
        if not path.endswith("/k/bias"):
            assert bool((grad != 0).any()) != still, path
    assert sum(frozen) == {0: 5 + 24, 1: 5 + 12}.get(trained_blocks, 0)


def test_the_frozen_part_has_no_backward_pass():
    """Of 12 blocks 8 go forward alone: about 2/3 less than all of it."""

    def flops(trained):
        tower = ClipViT(64, 12, 2, 4, trained_blocks=trained)
        shape = jax.ShapeDtypeStruct((8, 32, 32, 3), jnp.float32)
        init = functools.partial(tower.init, train=False)
        variables = jax.eval_shape(init, jax.random.key(0), shape)

        def loss(variables, x):
            return tower.apply(variables, x, train=True).sum()

        lowered = jax.jit(jax.grad(loss)).lower(variables, shape)
        return lowered.cost_analysis()["flops"]

    # Forward 12, backward 2 x 4 against forward 12, backward 2 x 12.
    assert flops(4) / flops(12) == pytest.approx(20 / 36, abs=0.1)


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="heads=7: do not divide the width 64"):
        MicroAUOptions(aus=AUS, size="tiny", heads=7)
    with pytest.raises(ValueError, match="no region for"):
        model, given = whole(MicroAUOptions(aus=AUS, size="tiny"))
        other = dataclasses.replace(model, aus=(1, 2, 3, 4))
        other.init(jax.random.key(0), *given, train=False)
    tower = ClipViT(64, 1, 2, 4, trained_blocks=1)
    with pytest.raises(ValueError, match="ClipViT expects normalised frames, float"):
        tower.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3), jnp.uint8), train=False)
    with pytest.raises(ValueError, match=r"aus=\(1, 1\): expected one or more, each"):
        MicroAUOptions(aus=(1, 1))
    with pytest.raises(ValueError, match="aus=.*of 3: expected one of"):
        MicroAUOptions(aus=(1, 3))
    with pytest.raises(ValueError, match="input='flow': expected 1 frames, got 2"):
        picture(jnp.zeros((1, 2, 8, 8, 3)), "flow")


def test_what_it_sees_of_a_clip():
    """CLIP's numbers written out; the difference is of a face that moved."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (B, 2, 4, 4, 3)).astype(np.float32)
    onset, apex = frames[:, 0] / 255, frames[:, 1] / 255
    mean = np.asarray([0.48145466, 0.4578275, 0.40821073])
    std = np.asarray([0.26862954, 0.26130258, 0.27577711])
    wanted = {
        "apex": apex,
        "diff": np.clip(0.5 + 2 * (apex - onset), 0, 1),
        "flow": apex,
    }
    for name, x in wanted.items():
        given = frames[:, 1:] if name == "flow" else frames
        found = picture(jnp.asarray(given), name)
        np.testing.assert_allclose(found, (x - mean) / std, rtol=1e-4, atol=1e-5)
