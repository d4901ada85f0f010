"""The losses of AUs against their plain restatement, and where they must end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.losses import au as losses

B, N, E = 6, 4, 8


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    aus = rng.integers(0, 2, (B, N))
    aus[:, 3] = 0  # nobody shows the last one
    unit = [rng.normal(size=shape) for shape in ((B, N, E), (N, 2, E))]
    unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in unit]
    attention = rng.dirichlet(np.ones(N), (B, N))
    weights = losses.positive_weights(aus)
    prior = losses.co_occurrence(aus)
    return aus, *unit, attention, weights, prior


def f32(x):
    return jnp.asarray(x, jnp.float32)


def scored(made, scale):
    return losses.scores(f32(made[1]), f32(made[2]), jnp.asarray(scale, jnp.float32))


def log_softmax(x):
    return x - np.log(np.exp(x).sum())


def test_constants_of_a_fold(made):
    aus, *_, weights, prior = made
    for i in range(N):
        shown = int(aus[:, i].sum())
        wanted = min(np.sqrt(max(B - shown, 1) / max(shown, 1)), 5)
        assert weights[i] == pytest.approx(wanted)
        for j in range(N):
            both = int((aus[:, i] * aus[:, j]).sum())
            wanted = 1 if i == j else (both + 1) / (shown + 2)
            assert prior[i, j] == pytest.approx(wanted)
    phi = losses.correlation(aus)
    np.testing.assert_allclose(
        phi[:3, :3], np.corrcoef(aus[:, :3].T), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(phi[3], [0, 0, 0, 1])


def test_rare_aus_weigh_five_at_most():
    aus = np.zeros((100, 3), int)
    aus[0, 1] = 1
    aus[:, 2] = 1
    np.testing.assert_allclose(losses.positive_weights(aus), [5, 5, 0.1])


def test_contrastive_loss_is_its_equations(made):
    aus, visual, text, _, weights, _ = made
    score = 3.0 * np.einsum("bie,jse->bijs", visual, text)
    to_text = []
    for b in range(B):
        for i in range(N):
            w = weights[i] if aus[b, i] else 1.0
            all_of_it = log_softmax(score[b, i].reshape(-1))
            to_text.append(-w * all_of_it[2 * i + aus[b, i]])
    to_vision = []
    for i in range(N):
        for s in (0, 1):
            positive = np.flatnonzero(aus[:, i] == s)
            if len(positive):
                column = log_softmax(score[:, i, i, s])
                to_vision.append(-column[positive].mean())
    assert len(to_vision) == 2 * N - 1
    found = losses.contrastive_loss(scored(made, 3.0), jnp.asarray(aus), f32(weights))
    np.testing.assert_allclose(found, [np.mean(to_text), np.mean(to_vision)], rtol=1e-5)


def test_a_temperature_of_nothing(made):
    aus, *_, weights, _ = made
    flat = scored(made, 0.0)
    np.testing.assert_array_equal(losses.presence(losses.own(flat)), 0)
    to_text, to_vision = losses.contrastive_loss(flat, jnp.asarray(aus), f32(weights))
    mean = np.where(aus, weights, 1).mean()
    assert to_text == pytest.approx(mean * np.log(2 * N), rel=1e-5)
    assert to_vision == pytest.approx(np.log(B), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_detection_loss_is_its_equation(made, gamma):
    aus, *_, weights, _ = made
    logits = np.random.default_rng(1).normal(size=(B, N)) * 3
    p = 1 / (1 + np.exp(-logits))
    right = np.where(aus, p, 1 - p)
    wanted = -np.where(aus, weights, 1) * (1 - right) ** gamma * np.log(right)
    found = losses.detection_loss(
        f32(logits), jnp.asarray(aus), f32(weights), gamma=gamma
    )
    np.testing.assert_allclose(found, wanted.mean(), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_sure_answer_has_a_gradient(gamma):
    logits, aus = f32([[200.0, -200.0]]), jnp.asarray([[1, 1]])
    grad = jax.grad(losses.detection_loss)(logits, aus, f32([1.0, 1.0]), gamma=gamma)
    assert np.isfinite(grad).all()
    assert grad[0, 0] == 0 > grad[0, 1]


def test_dependency_loss_is_its_equation(made):
    aus, _, _, attention, _, prior = made
    rows = []
    for b in range(B):
        for i in np.flatnonzero(aus[b]):
            target = aus[b] * prior[i] + 0.05 / N
            target /= target.sum()
            rows.append((target * np.log(target / attention[b, i])).sum())
    found = losses.dependency_loss(f32(attention), jnp.asarray(aus), f32(prior))
    np.testing.assert_allclose(found, np.mean(rows), rtol=1e-5)


def test_dependency_loss_ends_where_attention_is_the_target(made):
    aus, _, _, attention, _, prior = made
    target = aus[:, None] * prior[None] + 0.05 / N
    target = target / target.sum(-1, keepdims=True)
    found = losses.dependency_loss(f32(target), jnp.asarray(aus), f32(prior))
    assert abs(found) < 1e-6
    # Rows of AUs that are not shown do not count.
    target[aus == 0] = attention[aus == 0]
    found = losses.dependency_loss(f32(target), jnp.asarray(aus), f32(prior))
    assert abs(found) < 1e-6


def test_a_batch_without_aus_has_no_dependency(made):
    none = jnp.zeros((B, N), jnp.int32)
    value, grad = jax.value_and_grad(losses.dependency_loss)(
        f32(made[3]), none, f32(made[5])
    )
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


def test_correlation_loss_is_its_equation(made):
    aus, visual, *_ = made
    phi = losses.correlation(aus)
    alike = np.mean([u @ u.T for u in visual], 0)
    found = losses.correlation_loss(f32(visual), f32(phi))
    np.testing.assert_allclose(found, ((alike - phi) ** 2).sum(), rtol=1e-5)


def test_the_objective_adds_up(made):
    aus, visual, text, attention, weights, prior = made
    out = losses.MicroAUOutput(
        visual=f32(visual),
        text=f32(text),
        scale=jnp.asarray(3.0, jnp.float32),
        slots=jnp.zeros((B, N, 2)),
        dependency=f32(attention),
    )
    fold = {"weights": f32(weights), "prior": f32(prior), "phi": f32(prior)}
    for options in (
        losses.AULossOptions(),
        losses.AULossOptions(detection="focal", dependency="correlation"),
    ):
        loss, parts = losses.objective(options, out, aus=jnp.asarray(aus), **fold)
        wanted = parts["loss/bce"] + 0.5 * parts["loss/contrastive"]
        wanted += 0.1 * parts["loss/dependency"]
        np.testing.assert_allclose(loss, wanted, rtol=1e-6)
        assert parts["loss"] == loss
        assert 0 <= parts["answered"] <= 1
