"""Maps of every system: they add up to the answer, and lie where it comes from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import build, experiment
from merclip_jax.explaining import heat
from merclip_jax.systems.system import Context
from tests import mini
from tests.systems import three, tiny

pytestmark = pytest.mark.usefixtures("cache")


# The slowest of the three to compile waits for the others' suite.
SYSTEMS = ["mer_clip", pytest.param("fdp", marks=pytest.mark.whole), "micro_au_clip"]


@pytest.fixture(scope="module", params=SYSTEMS)
def made(request, mini_data):
    """A system with random variables that do something, its context, four clips."""
    config = three.config(request.param, mini_data)
    job = build.job(config, build.clips(config))
    plan = experiment.plan_of(job)
    (member, *_) = mini.members_of(job)
    rows = plan.rows(member.fold.train, list(plan.columns))
    fold = job.system.fold_context(job.clips.take(member.fold.train), rows)
    index = member.fold.test[:4]
    frames = np.stack([job.clips.decode(int(i)) for i in index])
    batch = {"frames": frames} | plan.rows(index, job.system.inputs)
    batch = jax.tree.map(jnp.asarray, batch)
    variables = job.system.init(jax.random.key(0), batch)
    # Branches that start as nothing would leave most of a model out; an untrained FDP
    # answers all clips alike.
    keys = iter(jax.random.split(jax.random.key(1), 1000))
    spread = 0.1 if request.param == "fdp" else 0.05
    variables["params"] = jax.tree.map(
        lambda leaf: leaf + spread * jax.random.normal(next(keys), leaf.shape),
        variables["params"],
    )
    return job, variables, Context(plan.context.run, fold), batch


def weights_of(system, batch, count):
    return jnp.asarray(
        np.eye(count, dtype=np.float32)[np.arange(len(batch["frames"])) % count]
    )


def test_what_is_kept_changes_no_answer(made):
    """`inspect` is `predict`, and zeros that are added are nothing."""
    job, variables, context, batch = made
    said = job.system.predict(variables, context, batch)
    again, kept = job.system.inspect(variables, context, batch)
    zeros = jax.tree.map(jnp.zeros_like, heat._plain(kept))
    added = {**variables, "perturbations": zeros}
    moved, _ = job.system.inspect(added, context, batch)
    assert said.keys() == again.keys()
    for name in said:
        np.testing.assert_array_equal(said[name], again[name])
        np.testing.assert_array_equal(said[name], moved[name])
    assert "perturbations" not in variables


def test_attributions_add_up_to_the_answer_less_that_to_the_still_face(made):
    job, variables, context, batch = made
    system = job.system
    name = system.task.reads[0]
    outputs = system.predict(variables, context, batch)[name]
    still = system.predict(variables, context, system.still(batch))[name]
    weights = weights_of(system, batch, outputs.shape[-1])
    found = heat.attributions(system, variables, context, batch, weights, steps=64)
    owed = ((outputs - still) * weights).sum(1)
    assert np.abs(owed).max() > 1e-4
    total = np.asarray(found.sum((1, 2, 3)))
    np.testing.assert_allclose(total, owed, atol=0.02 * np.abs(owed).max())


def test_a_clip_that_stands_still_has_an_empty_map(made):
    job, variables, context, batch = made
    system = job.system
    weights = weights_of(system, batch, len(system.task.names))
    still = system.still(batch)
    found = heat.attributions(system, variables, context, still, weights)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_shapes_looks_features_and_evidence(made):
    job, variables, context, batch = made
    system, b = job.system, 4
    _, kept = system.inspect(variables, context, batch)
    looks = system.looks(kept)
    if system.name == "fdp":
        assert looks is None
    else:
        assert looks.shape[0] == b and looks.ndim == 4
        assert np.asarray(looks).min() >= 0
    for values in system.features(kept).values():
        assert values.shape[0] == b and values.ndim == 2
    assert len(system.features(kept)) == 2
    evidence = system.evidence(job.system.vocabulary(job.clips), context)
    if system.name == "fdp":
        assert evidence is None
        return
    said = evidence.of(system.predict(variables, context, batch))
    assert said.shape == (b, len(evidence.aus))
    maps = heat.au_maps(system, variables, context, batch, evidence, evidence.aus[0])
    assert maps.min() >= 0 and maps.shape[0] == b
    t, size = batch["frames"].shape[1:3]
    assert heat.on_frames(maps, t, size).shape == (b, t, size, size)
    with pytest.raises(ValueError, match="AU99: expected one of"):
        heat.au_maps(system, variables, context, batch, evidence, 99)


def test_a_method_without_places_says_so(mini_data):
    system = tiny.Tiny()
    batch = {"frames": jnp.zeros((1, 4, 16, 16, 1)), "brightness": jnp.zeros(1)}
    variables = system.init(jax.random.key(0), batch)
    with pytest.raises(ValueError, match="Tiny has no layer whose places"):
        heat.attributions(system, variables, Context(), batch, jnp.ones((1, 6)))


def test_mer_clips_evidence_is_the_likeness_to_sentences(mini_data):
    config = three.config("mer_clip", mini_data)
    job = build.job(config, build.clips(config))
    context = experiment.plan_of(job).context
    evidence = job.system.evidence(job.system.vocabulary(job.clips), context)
    features = np.asarray(context.run["features"])
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    unit = unit.mean(0)
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    names = job.system.prompts(job.clips).names
    au = evidence.aus[1]
    holds = np.asarray(
        [str(au) in n.replace("L", "").replace("R", "").split("+") for n in names]
    )
    video = np.random.default_rng(0).normal(size=(3, unit.shape[1])).astype(np.float32)
    cosine = video @ unit.T / np.linalg.norm(video, axis=1, keepdims=True)
    wanted = cosine[:, holds].mean(1) - cosine[:, ~holds].mean(1)
    found = evidence.of({"video": jnp.asarray(video)})[:, 1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    emotion = dataclasses.replace(
        job.system,
        prompting=dataclasses.replace(job.system.prompting, supervision="emotion"),
    )
    assert emotion.evidence(emotion.vocabulary(job.clips), context) is None
