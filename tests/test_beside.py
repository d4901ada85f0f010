"""Runs that train side by side: each as it would be alone."""

import signal

import jax
import numpy as np
import pytest

from configs import ablations
from merclip_jax import beside, build, experiment
from merclip_jax.data.batches import stack_batches
from merclip_jax.errors import Stopped, UserError
from merclip_jax.results import verify
from merclip_jax.training.interrupts import Interrupts
from merclip_jax.training.stack import Stack
from merclip_jax.training.workdir import BESIDE, Workdir
from merclip_jax.weights import bundle
from tests import mini

SHORT = {"train.epochs": 3, "train.stack": 4}


@pytest.fixture(scope="module")
def clips(mini_data):
    return build.clips(mini.config(mini_data))


def config(data_dir, name, **changes):
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    made = mini.config(data_dir, SHORT | changes)
    made.name = name
    return made


def rows_of(table, data_dir, **more):
    """Configs of a table's rows by their names."""
    return {
        row: config(data_dir, row, **changes, **more)
        for row, changes in ablations.TABLES[table].rows.items()
    }


def runs(configs, clips, folder):
    """Runs of configs, their folders open, by name."""
    made = {}
    for name, one in configs.items():
        job = build.job(one, clips)
        workdir = Workdir(folder / name)
        workdir.open(experiment.manifest(job))
        made[name] = beside.Run(job, experiment.members_of(job), workdir)
    return made


def groups(configs, clips):
    """Names of configs that share their stacks."""
    jobs = [build.job(one, clips) for one in configs.values()]
    return [[list(configs)[i] for i in group] for group in beside.grouped(jobs)]


@pytest.mark.parametrize(
    ("table", "stacks"),
    [
        ("components", [["full", "no_alignment", "no_progressive", "emotion_guided"]]),
        ("augmentations", [list(ablations.TABLES["augmentations"].rows)]),
        ("wording", [["phrases", "facs", "no_and"]]),
        ("order", [["ascending", "annotation", "shuffled"]]),
        ("templates", [["7", "1", "3", "5", "10"]]),
        ("supervision", [["au", "emotion"]]),
        ("losses", [["paper", "label_smoothing"]]),
    ],
)
def test_rows_of_a_table_share_what_one_program_serves(table, stacks, mini_data, clips):
    found = groups(rows_of(table, mini_data), clips)
    assert [group for group in found if len(group) > 1] == stacks
    assert sorted(sum(found, [])) == sorted(ablations.TABLES[table].rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"train__epochs": 4},
        {"optim__peak_lr": 1e-4},
        {"model__head_blocks": 0},
        {"loss__contrastive": "soft_au"},
        {"loss__class_balance": 0.9},
        {"protocol__seeds": (1,)},
        {"augment__static_mix_weight": 0.25},
    ],
)
def test_what_else_differs_trains_apart(changes, mini_data, clips):
    configs = {"a": config(mini_data, "a"), "b": config(mini_data, "b", **changes)}
    assert groups(configs, clips) == [["a"], ["b"]]


def learned(stack, members, steps=6):
    """The losses [steps, m] of some members, and what they then say of eight clips."""
    member, context = stack.members(members), stack.context(members)
    state, losses = stack.init(member.key), []
    batches = stack_batches(
        [stack.plan.batches(m) for m in members],
        start=0,
        stop=steps,
        scan_steps=stack.steps,
    )
    for index, sent in stack.plan.store.ahead(batches, stack.programs.scanned):
        state, said = stack.train(context, state, member, stack.batches(index, sent))
        losses.append(np.asarray(said["loss"]))
    index = np.tile(np.arange(8), (len(members), 1))
    said = jax.device_get(stack.predict(context, state, stack.tests(index)))
    return np.concatenate(losses), said


@pytest.mark.whole
@pytest.mark.parametrize(
    "table",
    [
        "components",
        pytest.param("augmentations", marks=pytest.mark.long),
        pytest.param("templates", marks=pytest.mark.long),
    ],
)
def test_a_row_learns_beside_others_as_it_does_alone(table, mini_data, clips, tmp_path):
    """Rounding apart: other stacks add up in another order."""
    made = runs(rows_of(table, mini_data), clips, tmp_path)
    names = max(groups(rows_of(table, mini_data), clips), key=len)
    group = [made[name] for name in names]
    shared = beside.Shared(tmp_path / "shared", group)
    folds = len(group[0].members)
    stack = Stack(shared.plan, shared.members, len(group))
    losses, said = learned(stack, shared.members[::folds])
    # One of the rows may be what the config is without it.
    assert len({tuple(of_row) for of_row in losses.T}) >= len(group) - 1
    for v, run in enumerate(group):
        alone, own = learned(Stack(run.plan, run.members, 1), run.members[:1])
        np.testing.assert_allclose(losses[:, v], alone[:, 0], rtol=1e-5)
        for name, values in own.items():
            np.testing.assert_allclose(said[name][v], values[0], atol=1e-5)


@pytest.mark.whole
def test_each_run_has_its_own_card_and_weights(mini_data, tmp_path):
    """The commands of the runs train nothing again; what they keep is their own."""
    configs = rows_of("supervision", mini_data, train__keep_weights=True)
    paths = {name: tmp_path / name for name in configs}
    beside.train([(paths[name], one) for name, one in configs.items()])
    kept = {f: f.stat().st_mtime_ns for p in paths.values() for f in members_in(p)}
    assert len(kept) == 6
    assert not any((paths["au"] / BESIDE).rglob("*.npz"))
    for name, one in configs.items():
        card = experiment.run(one, paths[name])
        assert card["config"]["text.supervision"] == name
        assert verify.verify(paths[name] / "card.json") == []
        by_itself = experiment.run(one, tmp_path / f"{name}-alone")
        assert card["compute"]["clips"] == by_itself["compute"]["clips"]
        for folder in sorted((paths[name] / "weights").iterdir()):
            alone = tmp_path / f"{name}-alone" / "weights" / folder.name
            same_bundle(bundle.load(folder), bundle.load(alone))
    assert kept == {f: f.stat().st_mtime_ns for f in kept}


def members_in(folder):
    return sorted((folder / "members").iterdir())


def same_bundle(one, other):
    assert one[0] == other[0]
    jax.tree.map(np.testing.assert_array_equal, one[2], other[2])
    assert jax.tree.structure(one[1]) == jax.tree.structure(other[1])


def trained(monkeypatch):
    """Names of the runs that train side by side, in place of training them."""
    seen = []

    def train(folder, runs, *, elsewhere):
        folder.mkdir(parents=True)
        seen.append([run.name for run in runs])

    monkeypatch.setattr(beside, "_train", train)
    return seen


def test_a_run_that_was_begun_alone_goes_on_alone(mini_data, tmp_path, monkeypatch):
    configs = rows_of("wording", mini_data)
    given = [(tmp_path / name, one) for name, one in configs.items()]
    seen = trained(monkeypatch)
    (tmp_path / "facs").mkdir()
    job = build.job(configs["facs"], build.clips(configs["facs"]))
    with Workdir(tmp_path / "facs") as workdir:
        workdir.open(experiment.manifest(job))
        (tmp_path / "facs" / "rounds").mkdir()
    beside.train(given)
    assert seen == [["phrases", "no_and"]]


def test_a_run_that_comes_later_trains_beside_others_too(
    mini_data, tmp_path, monkeypatch
):
    configs = rows_of("wording", mini_data)
    given = [(tmp_path / name, one) for name, one in configs.items()]
    seen = trained(monkeypatch)
    beside.train(given[:2])
    beside.train(given)
    assert seen == [["phrases", "facs"], ["phrases", "facs", "no_and"]]
    # The last one that is left trains alone, unless it was begun beside others.
    finished = {"phrases", "facs"}
    monkeypatch.setattr(beside, "_finished", lambda run: run.name in finished)
    for folder in (tmp_path / "phrases" / BESIDE).iterdir():
        folder.rmdir()
    beside.train(given)
    assert len(seen) == 2
    with pytest.raises(UserError, match="different names"):
        beside.train([*given, (tmp_path / "again" / "facs", configs["facs"])])


@pytest.mark.whole
def test_a_stop_costs_nothing(mini_data, tmp_path, monkeypatch):
    """Checkpoints lie in the first run's folder until its members are finished."""
    configs = rows_of("supervision", mini_data)
    names = list(configs)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    beside.train([(straight / n, configs[n]) for n in names])
    given = [(stopped / n, configs[n]) for n in names]
    with monkeypatch.context() as patched:
        saved = []

        def asked(self, now=False):
            saved.append(1)
            return signal.SIGTERM if len(saved) == 2 else 0

        patched.setattr(Interrupts, "asked", asked)
        with pytest.raises(Stopped):
            beside.train(given)
    assert any((stopped / "au" / BESIDE).rglob("rounds/*"))
    beside.train(given)
    assert not any((stopped / "au" / BESIDE).rglob("rounds/*"))
    for name in names:
        for one in members_in(straight / name):
            other = stopped / name / "members" / one.name
            arrays = [dict(np.load(f)) for f in (one, other)]
            for key in set(arrays[0]) - {"seal"}:
                np.testing.assert_array_equal(arrays[0][key], arrays[1][key])
