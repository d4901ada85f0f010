"""Losses: reference numbers, and the properties that no number shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import losses

CASES = ("k3", "k7", "k5_extreme")


def as_f32(array):
    return jnp.asarray(np.asarray(array, np.float32))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gamma", [0, 1, 2, 5])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_focal_equals_the_reference(golden, case, gamma, kind):
    """The float64 numbers are met in float32, at rtol 1e-5."""
    data = np.load(golden / "focal.npz")
    logits = as_f32(data[f"{case}/logits"])
    labels = jnp.asarray(data[f"{case}/labels"].astype(np.int32))
    value, grad = jax.value_and_grad(losses.focal)(logits, labels, gamma=float(gamma))
    key = f"{case}/gamma{gamma}/{kind}"
    np.testing.assert_allclose(value, data[f"{key}/loss"], rtol=1e-5)
    wanted = data[f"{key}/grad"]
    # Entries that cancel are compared on the scale of the largest.
    np.testing.assert_allclose(grad, wanted, rtol=1e-5, atol=1e-5 * abs(wanted).max())


@pytest.mark.parametrize("case", CASES)
def test_focal_has_no_class_weights(golden, case):
    """For hard labels the released loss passes over its class weights."""
    data = np.load(golden / "focal.npz")
    labels = jnp.asarray(data[f"{case}/labels"].astype(np.int32))
    value = losses.focal(as_f32(data[f"{case}/logits"]), labels)
    wanted = data[f"{case}/gamma2/class_weighted_loss_hard"]
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_focal_is_finite_where_the_model_is_sure():
    logits = jnp.asarray([[200.0, -200.0], [-200.0, 200.0]])
    labels = jnp.asarray([0, 0])
    value, grad = jax.value_and_grad(losses.focal)(logits, labels)
    assert value == 200.0  # half of 0 + 400
    assert jnp.isfinite(grad).all()


def test_contrastive_equals_the_reference(golden):
    data = np.load(golden / "focal.npz")
    video, text = as_f32(data["contrastive/video"]), as_f32(data["contrastive/text"])
    scale = np.float32(np.exp(data["contrastive/logit_scale"]))
    logits = scale * losses.similarity(video, text)
    np.testing.assert_allclose(logits, data["contrastive/logits"], rtol=1e-5, atol=1e-5)
    # The reference's two terms carry the 1/2 of eq 10.
    v2t, t2v = losses.contrastive(logits)
    np.testing.assert_allclose(v2t / 2, data["contrastive/v2t"], rtol=1e-5)
    np.testing.assert_allclose(t2v / 2, data["contrastive/t2v"], rtol=1e-5)


@pytest.fixture(scope="module")
def logits():
    return 5 * jax.random.normal(jax.random.key(3), (8, 8))


def test_contrastive_directions_are_each_others_transpose(logits):
    v2t, t2v = losses.contrastive(logits)
    swapped = losses.contrastive(logits.T)
    assert (swapped[0], swapped[1]) == (t2v, v2t)
    assert v2t != t2v


def test_contrastive_does_not_depend_on_the_order_of_clips(logits):
    order = jax.random.permutation(jax.random.key(0), 8)
    permuted = losses.contrastive(logits[order][:, order])
    np.testing.assert_allclose(permuted, losses.contrastive(logits), rtol=1e-6)
    # ... but on which text belongs to which clip.
    wrong = losses.contrastive(logits[order])
    assert not np.allclose(wrong, losses.contrastive(logits), rtol=1e-2)


@pytest.mark.parametrize("b", [1, 2, 16])
def test_contrastive_of_equal_logits_is_log_b(b):
    both = losses.contrastive(jnp.full((b, b), 3.0))
    np.testing.assert_allclose(both, [np.log(b)] * 2, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kept", [[0, 2, 3, 7], [5], list(range(8))])
def test_contrastive_leaves_clips_without_a_sentence_out(logits, kept):
    """Value and gradient are those of the subset; the others' gradient is zero."""
    valid = jnp.zeros(8, bool).at[jnp.asarray(kept)].set(True)

    def total(logits, valid=None):
        return sum(losses.contrastive(logits, valid))

    value, grad = jax.value_and_grad(total)(logits, valid)
    rows = np.ix_(kept, kept)
    wanted, part = jax.value_and_grad(total)(logits[rows])
    np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.asarray(grad)[rows], part, rtol=1e-5, atol=1e-6)
    outside = np.ones((8, 8), bool)
    outside[rows] = False
    assert not np.asarray(grad)[outside].any()


def test_contrastive_of_no_clip_is_zero(logits):
    def total(x):
        return sum(losses.contrastive(x, jnp.zeros(8, bool)))

    value, grad = jax.value_and_grad(total)(logits)
    assert value == 0
    assert not grad.any()


@pytest.mark.parametrize("name", ["w2.0", "w1.5"])
def test_weights_equal_the_reference_at_every_epoch(golden, name):
    """They sum to 2 also where the first starts at 1.5."""
    data = np.load(golden / "schedule.npz")
    start = float(name.removeprefix("w"))
    weights = jax.vmap(lambda e: losses.progressive_weights(e, epochs=55, start=start))(
        jnp.arange(55)
    )
    for ours, which in zip(weights, ("contrastive", "cls"), strict=True):
        wanted = data[f"weights/{name}/{which}"]
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


def test_weights_stay_after_the_last_epoch():
    last, later = (
        losses.progressive_weights(jnp.asarray(e), epochs=55) for e in (54, 60)
    )
    assert last == later
    assert sum(later) == 2
