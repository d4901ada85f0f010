"""The seam is real: a system that is nothing like MER-CLIP trains to a report."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from merclip_jax import experiment
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.results.card import find_row, read_card
from merclip_jax.systems.system import System
from merclip_jax.training.checkpoint import GroupCheckpoint
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.stack import Stack
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.systems import tiny


@pytest.fixture(scope="module")
def clips(mini_data):
    classes = mini.config(mini_data).data.classes
    options = DataOptions(
        dataset=mini.DATASET, data_dir=str(mini_data), classes=classes
    )
    return load_clips(options, tiny.Tiny().view)


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "run"
    job = tiny.job(clips, seeds=(0, 1), selection="oracle")
    return path, experiment.train_and_score(job, Workdir(path), command="tests")


def test_it_is_a_system():
    assert isinstance(tiny.Tiny(), System)


def test_it_goes_through_loso_to_a_card(run, clips):
    path, card = run
    assert read_card(path / "card.json") == card
    assert card["title"] == "Tiny on synthetic/mini, 6 classes"
    assert card["task"]["classes"] == ["AU1", "AU2", "AU4", "AU6", "AU7", "AU12"]
    assert card["input_contract"] == "onset-offset"
    protocol = {"name": "loso", "folds": 3, "seeds": [0, 1], "epochs": 13}
    assert card["protocol"] == protocol
    headline, per_au, _ = card["scores"]
    assert [row["key"] for row in headline["rows"]] == ["f1", "auc-pr"]
    assert headline["rows"][0]["mean"] == pytest.approx(
        np.mean([row["f1"] for row in per_au["rows"]])
    )
    assert find_row(card, "prior", part="chance")["value"] < 1
    assert set(card["oracle"]) == {"f1", "auc-pr"}
    assert "Tiny says nothing about people." in card["notes"]
    shown = tiny.Tiny().columns(clips)["aus"].sum(0)
    assert [row["support"] for row in per_au["rows"]] == shown.tolist()
    assert [row["part"] for row in card["parameters"]] == ["dense"]


def test_it_learns_what_is_there(run):
    """Better than guessing: the clips are easy enough for one matrix."""
    card = run[1]
    guess = find_row(card, "prior", part="chance")
    assert find_row(card, "f1")["mean"] > guess["value"]


def test_its_report_shows_its_own_names(run):
    page = (run[0] / "report.html").read_text()
    for text in ("AU by AU", "Share of AUs answered", "Energy", "mean grey", "AU12"):
        assert text in page, text
    for text in ("UF1", "Contrastive", "cosine"):
        assert text not in page, text
    head = (run[0] / "predictions.csv").read_text().splitlines()[0]
    assert head == (
        "clip,subject,fold,seed,true,predicted,p_AU1,p_AU2,p_AU4,p_AU6,p_AU7,p_AU12"
    )


def test_its_members_hold_its_outputs_and_a_length_in_steps(run):
    """25 steps: 12 passes of two steps and half a pass, or 8 of three and a third."""
    with np.load(run[0] / "members" / "s00-seed0.npz") as data:
        arrays = dict(data)
    assert {"aus", "energy", "best/aus"} < set(arrays)
    assert not {"logits", "video", "best/energy"} & set(arrays)
    assert arrays["history/loss"].shape == (13,)
    with np.load(run[0] / "members" / "s02-seed0.npz") as data:
        assert data["history/loss"].shape == (9,)
    assert np.isfinite(arrays["history/loss"]).all()
    assert arrays["history/loss"][-1] < arrays["history/loss"][0]
    lines = (run[0] / "scalars" / "round1of3.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert {"positive", "lr", "grad_norm", "param_norm"} < set(first)
    assert first["speed/clips_per_s"] > first["speed/steps_per_s"] > 0


@dataclasses.dataclass(frozen=True)
class Poisoned(Clips):
    """Clips of which those of one subject may not even be looked at."""

    forbidden: str = ""

    def decode(self, index, positions=None):
        assert self.subject[index] != self.forbidden, "a test clip was decoded"
        return super().decode(index, positions)


def test_constants_of_a_fold_are_made_of_its_training_clips_alone(clips):
    """What the system is handed for a fold holds no other clip, in no column."""
    seen = []
    plan = experiment.plan_of(tiny.job(clips, seen=seen))
    made = tiny.job(clips, seen=seen)
    members = mini.members_of(made)
    values = {f.name: getattr(made.clips, f.name) for f in dataclasses.fields(Clips)}
    for member in members:
        test = np.unique(clips.subject[member.fold.test]).item()
        poisoned = Poisoned(**values, forbidden=test)
        garbled = np.where(clips.subject == test, "9+10", clips.au_cell)
        poisoned = dataclasses.replace(poisoned, au_cell=garbled)
        stack = Stack(plan, members, 1)
        clean = stack.context([member]).fold
        columns = {name: column.copy() for name, column in plan.columns.items()}
        for column in columns.values():
            column[clips.subject == test] = 1 - column[clips.subject == test]
        store = ClipStore(poisoned, residency="host")
        other = dataclasses.replace(plan, store=store, columns=columns)
        dirty = Stack(other, members, 1).context([member]).fold
        jax.tree.map(np.testing.assert_array_equal, clean, dirty)
        assert set(seen[-1].subject) == set(clips.subject) - {test}
    weights = [stack.context([m]).fold["positive"] for m in members]
    assert not np.array_equal(weights[0], weights[1])


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(run, clips, tmp_path):
    job = tiny.job(clips, seeds=(0, 1), selection="oracle")
    experiment.train_and_score(job, Workdir(tmp_path / "a"), command="tests")
    (tmp_path / "a" / "members" / "s01-seed0.npz").unlink()
    card = experiment.train_and_score(job, Workdir(tmp_path / "a"), command="tests")
    assert card["predictions_sha256"] == run[1]["predictions_sha256"]


def test_a_group_that_was_stopped_goes_on_to_the_same_bits(
    run, clips, tmp_path, monkeypatch
):
    """Behind its third checkpoint: history and best answers come back with it."""
    options = TrainOptions(batch_size=8, scan_steps=5, stack=2, checkpoint_every=1)
    job = tiny.job(clips, seeds=(0, 1), selection="oracle", options=options)
    save = GroupCheckpoint.save

    def stop(self, step, tree, facts):
        save(self, step, tree, facts)
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(GroupCheckpoint, "save", stop)
        experiment.train_and_score(job, Workdir(tmp_path / "a"))
    assert not (tmp_path / "a" / "members").exists()
    experiment.train_and_score(job, Workdir(tmp_path / "a"))
    for path in (run[0] / "members").iterdir():
        with np.load(path) as whole, np.load(tmp_path / "a/members" / path.name) as on:
            assert set(whole) == set(on)
            for name in set(whole) - {"seal"}:
                np.testing.assert_array_equal(on[name], whole[name])


def test_the_bias_learns_ten_times_as_fast(run, clips):
    """Adam's first step is the rate itself: 3e-3, and 3e-2 for the bias."""
    one = TrainOptions(batch_size=8, scan_steps=1)
    plan = experiment.plan_of(tiny.job(clips, options=one))
    members = mini.members_of(tiny.job(clips))[:1]
    stack = Stack(plan, members, 1)
    member = stack.members(members)
    before = jax.device_get(stack.init(member.key).variables.arrays)["params"]["dense"]
    index = np.broadcast_to(members[0].fold.train[:8], (1, 1, 8))
    sent = plan.store.put(index, None, stack.programs.scanned)
    after, _ = stack.train(
        stack.context(members),
        stack.init(member.key),
        member,
        stack.batches(index, sent),
    )
    after = jax.device_get(after.variables.arrays)["params"]["dense"]
    for name, rate in (("kernel", 3e-3), ("bias", 3e-2)):
        moved = np.abs(after[name] - before[name])
        assert np.median(moved[moved > 0]) == pytest.approx(rate, rel=1e-3)


def test_another_length_is_another_run(run, clips):
    job = tiny.job(clips, steps=26, seeds=(0, 1), selection="oracle")
    with pytest.raises(UserError, match="steps: there 25, now 26"):
        experiment.train_and_score(job, Workdir(run[0]))
