"""Losses: reference numbers, and the properties that no number shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.losses import contrastive
from merclip_jax.losses.classification import class_weights, focal
from merclip_jax.losses.progression import progressive_weights


def weights(epoch, *, epochs, start=2.0, decay="linear"):
    """`progressive_weights` with the paper's numbers."""
    return progressive_weights(
        epoch, epochs=epochs, start=start, floor=1.0, total=2.0, decay=decay
    )


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
    value, grad = jax.value_and_grad(focal)(logits, labels, gamma=float(gamma))
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
    value = focal(as_f32(data[f"{case}/logits"]), labels, gamma=2.0)
    wanted = data[f"{case}/gamma2/class_weighted_loss_hard"]
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gamma", [0, 1, 2, 5])
def test_focal_equals_the_reference_in_float64(golden, case, gamma):
    data = np.load(golden / "focal.npz")
    key = f"{case}/gamma{gamma}/f64"
    with jax.enable_x64(True):
        logits = jnp.asarray(data[f"{case}/logits"].astype(np.float64))
        labels = jnp.asarray(data[f"{case}/labels"].astype(np.int32))
        value, grad = jax.value_and_grad(focal)(logits, labels, gamma=float(gamma))
    np.testing.assert_allclose(value, data[f"{key}/loss"], rtol=1e-10)
    wanted = data[f"{key}/grad"]
    np.testing.assert_allclose(grad, wanted, rtol=0, atol=1e-10 * abs(wanted).max())


def test_contrastive_equals_the_reference_in_float64(golden):
    data = np.load(golden / "focal.npz")
    with jax.enable_x64(True):
        video, text, scale = (
            jnp.asarray(data[f"contrastive/{name}"].astype(np.float64))
            for name in ("video", "text", "logit_scale")
        )
        logits = jnp.exp(scale) * contrastive.similarity(video, text)
        v2t, t2v = (float(loss) / 2 for loss in contrastive.contrastive(logits))
    np.testing.assert_allclose(logits, data["contrastive/logits"], rtol=1e-10)
    np.testing.assert_allclose(v2t, data["contrastive/v2t"], rtol=1e-10)
    np.testing.assert_allclose(t2v, data["contrastive/t2v"], rtol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_is_finite_where_the_model_is_sure(gamma):
    logits = jnp.asarray([[200.0, -200.0], [-200.0, 200.0]])
    labels = jnp.asarray([0, 0])
    value, grad = jax.value_and_grad(focal)(logits, labels, gamma=gamma)
    assert value == 200.0  # half of 0 + 400
    assert jnp.isfinite(grad).all()


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_a_smoothed_target_is_a_share_of_every_class(gamma):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = 0.8 * np.eye(4)[labels] + 0.2 / 4
    wanted = -(target * (1 - p) ** gamma * np.log(p)).sum(1).mean()
    given = as_f32(logits), jnp.asarray(labels, jnp.int32)
    found = focal(*given, gamma=gamma, smoothing=0.2)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert focal(*given, gamma=gamma, smoothing=0.0) == focal(*given, gamma=gamma)


def test_rare_classes_count_more():
    """Cui et al. (2019), eq. 2, K in sum; of a class without clips as of one."""
    counts, beta = np.array([100, 10, 0]), 0.9
    each = [(1 - beta) / (1 - beta**n) for n in (100, 10, 1)]
    weights = class_weights(counts, beta=beta)
    np.testing.assert_allclose(weights, 3 * np.array(each) / sum(each), rtol=1e-6)
    assert weights.sum() == pytest.approx(3)
    np.testing.assert_array_equal(class_weights(counts, beta=0.0), 1)
    logits, labels = as_f32([[1, 0, 0], [0, 0, 2]]), jnp.asarray([0, 1])
    one, two = (
        float(focal(logits[i : i + 1], labels[i : i + 1], gamma=2.0)) for i in (0, 1)
    )
    found = focal(logits, labels, gamma=2.0, weights=jnp.asarray(weights))
    wanted = (weights[0] * one + weights[1] * two) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_contrastive_equals_the_reference(golden):
    data = np.load(golden / "focal.npz")
    video, text = as_f32(data["contrastive/video"]), as_f32(data["contrastive/text"])
    scale = np.float32(np.exp(data["contrastive/logit_scale"]))
    logits = scale * contrastive.similarity(video, text)
    np.testing.assert_allclose(logits, data["contrastive/logits"], rtol=1e-5, atol=1e-5)
    # The reference's two terms carry the 1/2 of eq 10.
    v2t, t2v = contrastive.contrastive(logits)
    np.testing.assert_allclose(v2t / 2, data["contrastive/v2t"], rtol=1e-5)
    np.testing.assert_allclose(t2v / 2, data["contrastive/t2v"], rtol=1e-5)


@pytest.fixture(scope="module")
def logits():
    return 5 * jax.random.normal(jax.random.key(3), (8, 8))


def test_contrastive_directions_are_each_others_transpose(logits):
    v2t, t2v = contrastive.contrastive(logits)
    swapped = contrastive.contrastive(logits.T)
    assert (swapped[0], swapped[1]) == (t2v, v2t)
    assert v2t != t2v


def test_contrastive_does_not_depend_on_the_order_of_clips(logits):
    order = jax.random.permutation(jax.random.key(0), 8)
    permuted = contrastive.contrastive(logits[order][:, order])
    np.testing.assert_allclose(permuted, contrastive.contrastive(logits), rtol=1e-6)
    # ... but on which text belongs to which clip.
    wrong = contrastive.contrastive(logits[order])
    assert not np.allclose(wrong, contrastive.contrastive(logits), rtol=1e-2)


@pytest.mark.parametrize("b", [1, 2, 16])
def test_contrastive_of_equal_logits_is_log_b(b):
    both = contrastive.contrastive(jnp.full((b, b), 3.0))
    np.testing.assert_allclose(both, [np.log(b)] * 2, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kept", [[0, 2, 3, 7], [5], list(range(8))])
def test_contrastive_leaves_clips_without_a_sentence_out(logits, kept):
    """Value and gradient are those of the subset; the others' gradient is zero."""
    valid = jnp.zeros(8, bool).at[jnp.asarray(kept)].set(True)

    def total(logits, valid=None):
        return sum(contrastive.contrastive(logits, valid=valid))

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
        return sum(contrastive.contrastive(x, valid=jnp.zeros(8, bool)))

    value, grad = jax.value_and_grad(total)(logits)
    assert value == 0
    assert not grad.any()


def overlap(sets):
    shared = [[len(a & b) / len(a | b) for b in sets] for a in sets]
    return jnp.asarray(shared, jnp.float32)


def test_soft_targets_of_disjoint_sets_are_the_hard_ones(logits):
    targets = overlap([{i} for i in range(8)])
    valid = jnp.asarray([True] * 6 + [False] * 2)
    for mask in (None, valid):
        hard = contrastive.contrastive(logits, valid=mask)
        assert contrastive.contrastive(logits, valid=mask, targets=targets) == hard


def test_soft_targets_are_shared_by_jaccard_similarity(logits):
    """Against the definition, written out."""
    sets = [{1, 2}, {1, 2}, {1}, {4}, {2, 4}, {7}, {4}, {1, 2, 4}]
    targets = np.asarray(overlap(sets), np.float64)
    assert targets[0, 1] == 1 and targets[0, 2] == 0.5 and targets[0, 3] == 0
    share = targets / targets.sum(1, keepdims=True)
    x = np.asarray(logits, np.float64)
    wanted = [
        -(share * (z - np.log(np.exp(z).sum(1, keepdims=True)))).sum(1).mean()
        for z in (x, x.T)
    ]
    soft = contrastive.contrastive(logits, targets=overlap(sets))
    np.testing.assert_allclose(soft, wanted, rtol=1e-5)
    # Clips of one set are no longer each other's negatives.
    assert not np.allclose(soft, contrastive.contrastive(logits), rtol=1e-2)


@pytest.mark.parametrize("kind", ["soft", "sigmoid"])
def test_other_contrastive_losses_are_symmetric_and_know_no_order(logits, kind):
    sets = [{1, 2}, {1, 2}, {1}, {4}, {2, 4}, {7}, {4}, {1, 2, 4}]
    targets = overlap(sets)

    def total(x, targets):
        if kind == "sigmoid":
            return contrastive.sigmoid_contrastive(x, same=targets == 1)
        return sum(contrastive.contrastive(x, targets=targets))

    value = total(logits, targets)
    np.testing.assert_allclose(total(logits.T, targets), value, rtol=1e-6)
    order = jax.random.permutation(jax.random.key(0), 8)
    permuted = total(logits[order][:, order], targets[order][:, order])
    np.testing.assert_allclose(permuted, value, rtol=1e-6)


@pytest.mark.parametrize("b", [1, 2, 16])
def test_soft_contrastive_of_equal_logits_is_log_b(b):
    targets = overlap([{i // 2, 9} for i in range(b)])
    both = contrastive.contrastive(jnp.full((b, b), -7.0), targets=targets)
    np.testing.assert_allclose(both, [np.log(b)] * 2, rtol=1e-5, atol=1e-6)


def test_sigmoid_contrastive_is_its_definition(logits):
    """-1/b sum_ij log sigmoid(z_ij x_ij), z = 1 for pairs that belong together."""
    x = np.asarray(logits, np.float64)
    z = 2 * np.eye(8) - 1
    wanted = np.log1p(np.exp(-z * x)).sum() / 8
    np.testing.assert_allclose(
        contrastive.sigmoid_contrastive(logits), wanted, rtol=1e-5
    )
    z[0, 1] = z[1, 0] = 1
    wanted = np.log1p(np.exp(-z * x)).sum() / 8
    same = jnp.asarray(z > 0)
    value = contrastive.sigmoid_contrastive(logits, same=same)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    zero = contrastive.sigmoid_contrastive(jnp.zeros((4, 4)))
    np.testing.assert_allclose(zero, 4 * np.log(2), rtol=1e-6)


def test_sigmoid_contrastive_leaves_clips_without_a_sentence_out(logits):
    kept = np.asarray([0, 2, 3, 7])
    valid = jnp.zeros(8, bool).at[kept].set(True)
    value = contrastive.sigmoid_contrastive(logits, valid=valid)
    wanted = contrastive.sigmoid_contrastive(logits[np.ix_(kept, kept)])
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    assert contrastive.sigmoid_contrastive(logits, valid=jnp.zeros(8, bool)) == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((jnp.zeros((4, 3)),), r"expected logits \[b, b\] of a batch, got \(4, 3\)"),
        ((jnp.zeros((4, 4)), jnp.ones(3, bool)), r"valid as bool \[4\].*bool \[3\]"),
        ((jnp.zeros((4, 4)), jnp.ones(4)), r"valid as bool \[4\].*float32 \[4\]"),
        ((jnp.zeros((4, 4)), None, jnp.eye(3)), r"\[4, 4\] as the logits are, got \[3"),
    ],
)
@pytest.mark.parametrize(
    "loss", [contrastive.contrastive, contrastive.sigmoid_contrastive]
)
def test_masks_that_do_not_fit_are_named(loss, arrays, message):
    matrix = "targets" if loss is contrastive.contrastive else "same"
    options = dict(zip(("valid", matrix), arrays[1:], strict=False))
    with pytest.raises(ValueError, match=message):
        loss(arrays[0], **options)


DECAYS = {
    "linear": "contrastive",
    "gaussian": "contrastive_gauss1",
    "centred_gaussian": "contrastive_gauss2",
}


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("name", ["w2.0", "w1.5"])
def test_weights_equal_the_reference_at_every_epoch(golden, name, decay, x64):
    """They sum to 2 also where the first starts at 1.5."""
    data = np.load(golden / "schedule.npz")
    start = float(name.removeprefix("w"))
    with jax.enable_x64(x64):
        aligned, emotion = jax.vmap(
            lambda e: weights(e, epochs=55, start=start, decay=decay)
        )(jnp.arange(55, dtype=jnp.int32))
    tolerance = 1e-10 if x64 else 1e-6
    wanted = data[f"weights/{name}/{DECAYS[decay]}"]
    np.testing.assert_allclose(aligned, wanted, rtol=0, atol=tolerance)
    wanted = data[f"weights/{name}/cls"] if decay == "linear" else 2 - wanted
    np.testing.assert_allclose(emotion, wanted, rtol=0, atol=tolerance)


def test_unknown_decays_are_named():
    with pytest.raises(ValueError, match="decay='cosine': expected one of"):
        weights(jnp.asarray(0), epochs=5, decay="cosine")


def test_weights_stay_after_the_last_epoch():
    last, later = (weights(jnp.asarray(e), epochs=55) for e in (54, 60))
    assert last == later
    assert sum(later) == 2
