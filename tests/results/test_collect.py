"""What the report shows is what the members did and saw."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import build, experiment
from merclip_jax.augment.clips import denormalise
from merclip_jax.results import collect
from merclip_jax.training.members import MemberResult
from tests import mini

# Runs of one shape share their compiled programs.
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def plan(mini_data):
    config = mini.config(mini_data, {"augment.flip": 1.0})
    return experiment.plan_of(build.job(config, build.clips(config)))


@pytest.fixture(scope="module")
def members(mini_data, plan):
    return mini.members(mini.config(mini_data), plan.store.clips)


def test_the_first_batch_is_what_step_0_trains_on(plan, members, monkeypatch):
    """Pixel by pixel, caught where the model is handed its clips."""
    shown = collect.first_batch(plan, members[0])
    assert shown.seen.dtype == np.uint8 and len(shown.clips) == len(shown.seen) == 8
    handed = []
    kind = type(plan.system)

    class Ears:
        def apply(self, variables, clips, **_):
            handed.append(clips)
            raise StopIteration

    names = {name: i for i, name in enumerate(plan.store.clips.clip)}
    index = np.asarray([names[name] for name in shown.clips])
    batch = {"frames": jnp.asarray(shown.stored)}
    rows = plan.rows(index, list(plan.columns))
    batch |= {name: jnp.asarray(column) for name, column in rows.items()}
    monkeypatch.setattr(kind, "module", property(lambda _: Ears()))
    key = jax.random.fold_in(jax.random.key(members[0].data_seed), 1)
    with pytest.raises(StopIteration):
        plan.system.loss({}, plan.context, batch, key=key, epoch=jnp.asarray(0))
    pixels = np.clip(np.round(np.asarray(denormalise(handed[0]))), 0, 255)
    np.testing.assert_array_equal(shown.seen, pixels)
    assert (shown.seen != shown.stored).any()


def _results(plan, members, right):
    """Members that are sure of every clip, and wrong of those that are not `right`."""
    found = []
    for member in members:
        test = member.fold.test
        label = plan.store.clips.label[test]
        answer = np.where(right[test], label, (label + 1) % 3)
        sure = 1 + np.arange(len(test))[:, None] / 10
        logits = (3 * sure * np.eye(3)[answer]).astype(np.float32)
        outputs = {"logits": logits, "video": np.ones((len(test), 32), np.float32)}
        history = {s.name: np.zeros(2) for s in collect.scalars(plan)}
        found.append(
            MemberResult(plan.store.clips.clip[test], outputs, outputs, history)
        )
    return found


def test_examples_are_the_surest_of_each_class_then_misses(plan, members):
    clips = plan.store.clips
    right = np.arange(len(clips)) % 4 != 0
    examples = collect.examples(plan, members, _results(plan, members, right))
    assert len(examples) == 6
    hits = [e for e in examples if e.annotated == e.answered]
    assert [e.true for e in hits] == list(clips.classes)
    for example in hits:
        assert right[clips.clip.tolist().index(example.clip)]
        assert example.guess == example.true
    for example in examples[len(hits) :]:
        assert example.guess != example.true
        assert not right[clips.clip.tolist().index(example.clip)]
    (exhibit,) = examples[0].exhibits
    assert exhibit.title.startswith("AU text")
    assert sum(annotated for *_, annotated in exhibit.rows) == 1


def test_the_ceiling_is_what_the_builder_stored_for_the_task(plan):
    """The core knows no dataset: without a stored ceiling the card has none."""
    clips = plan.store.clips
    found = collect.ceiling(clips, "synthetic_3class")
    assert set(found) == {"name", "uf1", "uar", "acc"}
    assert collect.ceiling(clips, "casme2_3class") is None
    assert clips.metadata["notes"] and all(
        isinstance(note, str) for note in clips.metadata["notes"]
    )


@pytest.mark.parametrize(
    ("sampling", "names"),
    [
        ("keyframes", ["onset", "apex", "offset"]),
        ("stride", ["onset", "near apex"]),
    ],
)
def test_key_frames_are_called_what_they_are(plan, sampling, names):
    """Strided frames end before the offset, and may miss the apex."""
    clips = plan.store.clips
    onset, apex, offset = 10, 14, 30
    view = dataclasses.replace(clips.view, frames=8, sampling=sampling)
    positions = view.positions(onset, apex, offset, fps=30.0)[None]
    nearest = np.abs(positions - apex).argmin(1)
    some = dataclasses.replace(
        clips.take(np.asarray([0])),
        view=view,
        positions=positions,
        spans=np.asarray([[onset, offset]]),
        apex=nearest,
    )
    found = collect._key_frames(some, 0)
    assert [found[i] for i in sorted(found)] == names
    assert found[int(nearest[0])] == names[1]
