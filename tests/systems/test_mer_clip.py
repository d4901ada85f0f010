"""How MER-CLIP's loss puts its pieces together, with a model that answers pixels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from merclip_jax import build, experiment
from merclip_jax.augment.clips import Augmentation, normalise
from merclip_jax.losses import contrastive
from merclip_jax.losses.classification import focal
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models.mer_clip import MerClipOutput
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Context, System
from tests import mini

B, E, K, SETS = 6, 4, 3, 5
OFF = Augmentation(augmix=0.0, flip=0.0, colour_jitter=0.0, static_mix=0.0)
MIRROR = np.asarray([0, 2, 1, 4, 3], np.int32)
OVERLAP = np.eye(SETS, dtype=np.float32)
OVERLAP[0, 3] = OVERLAP[3, 0] = 0.5


class Stub(nn.Module):
    """Colours of the left and right halves, through one matrix each."""

    @nn.compact
    def __call__(self, clip, *, train):
        half = clip.shape[3] // 2
        sides = [
            clip[:, :, :, :half].mean((1, 2, 3)),
            clip[:, :, :, half:].mean((1, 2, 3)),
        ]
        x = jnp.concatenate(sides, axis=1)
        video = nn.Dense(E, name="video")(x)
        logits = nn.Dense(K, name="emotion")(x)
        return MerClipOutput(video, logits, jnp.asarray(5.0), jnp.asarray(-2.0))


@dataclasses.dataclass(frozen=True)
class Answering(MerClip):
    """MER-CLIP with the stub in place of its model."""

    stub: nn.Module = dataclasses.field(default_factory=Stub)

    @property
    def module(self):
        return self.stub


def test_it_is_a_system():
    system = MerClip(classes=("a", "b", "c"), epochs=55)
    assert isinstance(system, System)
    assert hash(system) == hash(MerClip(classes=("a", "b", "c"), epochs=55))


@pytest.fixture(scope="module")
def made():
    keys = jax.random.split(jax.random.key(0), 4)
    clips = jax.random.randint(keys[0], (B, 2, 4, 4, 3), 0, 256).astype(jnp.uint8)
    batch = {
        "frames": clips,
        "label": jax.random.randint(keys[1], (B,), 0, K),
        "au_combination": jnp.asarray([0, 1, 2, 3, 4, 1]),
    }
    features = jax.random.normal(keys[2], (1, SETS, E))
    prompts = {
        "features": features,
        "mirror": jnp.asarray(MIRROR),
        "overlap": jnp.asarray(OVERLAP),
    }
    model = Stub()
    params = model.init(keys[3], normalise(clips), train=False)["params"]
    return model, params, batch, prompts


def step_loss(made, *, sets=None, prompts=None, augmentation=OFF, epoch=3, **weights):
    model, params, batch, ours = made
    if sets is not None:
        batch = batch | {"au_combination": jnp.asarray(sets)}
    system = Answering(
        classes=("a", "b", "c"),
        epochs=55,
        loss_options=LossOptions(**weights),
        augmentation=augmentation,
        stub=model,
    )
    loss, (_, parts) = system.loss(
        {"params": params},
        Context(run=prompts or ours),
        batch,
        key=jax.random.key(1),
        epoch=jnp.asarray(epoch),
    )
    assert loss == parts["loss"]
    assert set(parts) == {scalar.name for scalar in system.scalars}
    return {name: float(value) for name, value in parts.items()}


def answers(made, *, mirrored=False, sets=None):
    """What the loss is made of: scaled similarities, logits, combinations, labels."""
    model, params, batch, prompts = made
    clips = batch["frames"]
    clips = clips[:, :, :, ::-1] if mirrored else clips
    out = model.apply({"params": params}, normalise(clips), train=True)
    sets = np.asarray(batch["au_combination"] if sets is None else sets)
    text = prompts["features"][0, np.maximum(sets, 0)]
    similarity = out.scale * contrastive.similarity(out.video, text)
    return similarity, out, sets, batch["label"]


def test_flipped_clips_are_compared_with_mirrored_sentences(made):
    always = dataclasses.replace(OFF, flip=1.0)
    sets = MIRROR[np.asarray(made[2]["au_combination"])]
    logits, *_ = answers(made, mirrored=True, sets=sets)
    wanted = sum(contrastive.contrastive(logits)) / 2
    found = step_loss(made, augmentation=always)
    np.testing.assert_allclose(found["loss/contrastive"], wanted, rtol=1e-5)

    released = dataclasses.replace(always, flip_swaps_sides=False)
    logits, *_ = answers(made, mirrored=True)
    wanted = sum(contrastive.contrastive(logits)) / 2
    found = step_loss(made, augmentation=released)
    np.testing.assert_allclose(found["loss/contrastive"], wanted, rtol=1e-5)


def test_clips_without_aus_are_left_out_of_the_contrastive_term(made):
    sets = [0, -1, 2, -1, 4, 1]
    logits, out, _, labels = answers(made, sets=sets)
    valid = jnp.asarray(sets) >= 0
    wanted = sum(contrastive.contrastive(logits, valid=valid)) / 2
    found = step_loss(made, sets=sets)
    np.testing.assert_allclose(found["loss/contrastive"], wanted, rtol=1e-5)
    emotion = focal(out.logits, labels, gamma=2.0)  # of all clips
    np.testing.assert_allclose(found["loss/classification"], emotion, rtol=1e-5)


def test_each_contrastive_loss_is_the_one_that_is_named(made):
    logits, out, sets, _ = answers(made)
    overlap = jnp.asarray(OVERLAP[sets][:, sets])
    wanted = {
        "hard": sum(contrastive.contrastive(logits)) / 2,
        "soft_au": sum(contrastive.contrastive(logits, targets=overlap)) / 2,
        # From clip to text alone.
        "soft_sides": contrastive.contrastive(logits, targets=overlap)[0],
        "sigmoid": contrastive.sigmoid_contrastive(
            logits + out.bias, same=overlap == 1
        ),
    }
    found = {n: step_loss(made, contrastive=n)["loss/contrastive"] for n in wanted}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)
    assert len({round(value, 3) for value in found.values()}) == 4
    with pytest.raises(ValueError, match="contrastive='soft': expected one of"):
        step_loss(made, contrastive="soft")


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_the_weighted_sum(made, factor):
    """Released: the contrastive part, and nothing else, by half."""
    parts = step_loss(made, contrastive_factor=factor, epoch=11)
    weight = 2 - 11 / 55
    assert parts["weight/contrastive"] == pytest.approx(weight)
    total = factor * weight * parts["loss/contrastive"]
    total += (2 - weight) * parts["loss/classification"]
    assert parts["loss"] == pytest.approx(total, rel=1e-5)


def test_every_clip_has_its_own_template(made):
    """Of many templates a batch shows several: one alone would give other logits."""
    model, params, batch, prompts = made
    many = jax.random.normal(jax.random.key(5), (50, SETS, E))
    both = prompts | {"features": many}
    found = step_loss(made, prompts=both)["loss/contrastive"]
    alone = [
        step_loss(made, prompts=prompts | {"features": many[i : i + 1]})
        for i in range(50)
    ]
    assert all(abs(one["loss/contrastive"] - found) > 1e-4 for one in alone)


def test_mixing_leaves_labels_and_sentences(made):
    """LSFM changes pixels: what the step is asked to answer stays the same."""
    asked = []

    class Listening(Stub):
        def __call__(self, clip, *, train):
            asked.append(clip)
            return super().__call__(clip, train=train)

    _, params, batch, prompts = made
    listening = (Listening(), params, batch, prompts)
    always = dataclasses.replace(OFF, static_mix=1.0)
    found = step_loss(listening, augmentation=always)
    (mixed,) = asked
    assert (mixed != normalise(batch["frames"])).any((1, 2, 3, 4)).all()
    out = Stub().apply({"params": params}, mixed, train=True)
    text = prompts["features"][0, batch["au_combination"]]
    logits = out.scale * contrastive.similarity(out.video, text)
    wanted = sum(contrastive.contrastive(logits)) / 2
    np.testing.assert_allclose(found["loss/contrastive"], wanted, rtol=1e-5)
    emotion = focal(out.logits, batch["label"], gamma=2.0)
    np.testing.assert_allclose(found["loss/classification"], emotion, rtol=1e-5)


def test_ranks_are_those_of_a_clips_own_sentence(mini_data):
    """Counted one by one; a sentence that training lacks has no rank."""
    job = build.job(mini.config(mini_data), build.clips(mini.config(mini_data)))
    plan = experiment.plan_of(job)
    columns, system = dict(plan.columns), job.system
    (member, *_) = mini.members_of(job)
    train, test = member.fold.train, member.fold.test
    features = np.asarray(plan.context.run["features"])[0]
    video = np.random.default_rng(0).normal(size=(len(test), features.shape[1]))
    outputs = {"video": video.astype(np.float32)}
    found = system.ranks(columns, plan.context, train, test, outputs)
    said = sorted({int(i) for i in columns["au_combination"][train] if i >= 0})
    for rank, own, clip in zip(
        found, columns["au_combination"][test], video, strict=True
    ):
        cosines = {
            i: clip @ features[i] / np.linalg.norm(clip) / np.linalg.norm(features[i])
            for i in said
        }
        wanted = 0
        if own in cosines:
            wanted = 1 + sum(v > cosines[own] for v in cosines.values())
        assert rank == wanted
    assert (found > 0).any()
    # A clip that is its own sentence is nearest to it.
    there = found > 0
    outputs["video"][there] = features[columns["au_combination"][test[there]]]
    again = system.ranks(columns, plan.context, train, test, outputs)
    assert (again[there] == 1).all()
