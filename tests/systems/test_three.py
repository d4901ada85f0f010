"""What holds of every system, tried on each: one test, not three.

From leave-one-subject-out to card and report; killed and resumed; a test subject whose
clips are other ones changes no bit of what was trained.
"""

import dataclasses

import jax
import numpy as np
import pytest

from merclip_jax import build, experiment
from merclip_jax.data.clips import Clips
from merclip_jax.data.store import ClipStore
from merclip_jax.results.card import read_card
from merclip_jax.results.verify import verify
from merclip_jax.systems.system import System
from merclip_jax.training.stack import Stack
from merclip_jax.training.workdir import Workdir
from merclip_jax.weights import bundle
from tests import mini
from tests.systems import three
from tests.training.test_kill import Watch, wait_for
from tests.training.test_loop import assert_same_files, files_of

pytestmark = [pytest.mark.usefixtures("cache"), pytest.mark.whole]
HEADLINES = {
    "mer_clip": ["uf1", "uar", "acc"],
    "fdp": ["uf1", "wf1", "uar", "acc"],
    "fdp_released": ["uf1", "wf1", "uar", "acc"],
    "micro_au_clip": ["f1", "auc-pr"],
}


# All tests of a system on one worker: they share its run and its programs.
EACH = [pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in three.NAMES]


@pytest.fixture(scope="module", params=EACH)
def run(request, mini_data, cache, tmp_path_factory):
    """A system's name, its uninterrupted run's folder, and the card."""
    name = request.param
    path = tmp_path_factory.mktemp(name) / "run"
    config = three.config(name, mini_data, {"train.keep_weights": True})
    return name, path, experiment.run(config, path)


def job_of(name, data_dir):
    config = three.config(name, data_dir)
    return build.job(config, build.clips(config))


def test_it_goes_through_loso_to_card_and_report(run, mini_data):
    name, path, card = run
    job = job_of(name, mini_data)
    assert isinstance(job.system, System)
    assert read_card(path / "card.json") == card
    assert verify(path / "card.json") == []
    keys = [row["key"] for row in card["scores"][0]["rows"]]
    assert keys == HEADLINES[name]
    assert card["protocol"]["folds"] == 3
    assert card["task"]["clips"] == 24
    assert card["input_contract"] == job.system.view.contract
    page = (path / "report.html").read_text()
    assert job.system.title in page
    for scalar in job.system.scalars:
        assert scalar.panel in page
    transductive = any("scaled by the mean" in note for note in card["notes"])
    assert transductive == job.system.transductive == (name == "fdp_released")


# What kills meet is the same trainer: one system is enough between releases.
KILLED = [
    pytest.param(
        name,
        marks=[pytest.mark.xdist_group(name)]
        + ([] if name == "fdp" else [pytest.mark.long]),
    )
    for name in three.NAMES
]


@pytest.mark.parametrize("run", KILLED, indirect=True)
def test_kill_9_and_the_same_command_give_the_same_bits(
    run, mini_data, cache, tmp_path
):
    name, path, _ = run
    config = f"--config={three.__file__}:{name},{mini_data}"
    watch, log = Watch(tmp_path / "run"), tmp_path / "log"

    def start():
        with log.open("a") as out:
            return mini.start(
                mini_data, tmp_path / "run", cache, config, stdout=out, stderr=out
            )

    process = start()
    assert wait_for(process, watch.checkpoint), "it ended before it could be killed"
    process.kill()
    process.wait()
    assert not (tmp_path / "run" / "card.json").exists()
    assert start().wait(240) == 0, log.read_text()[-3000:]
    assert_same_files(files_of(path), files_of(tmp_path / "run"))


@dataclasses.dataclass(frozen=True)
class Foreign(Clips):
    """Clips of which those of one subject look otherwise."""

    subject_of: str = ""

    def decode(self, index, positions=None):
        clip = super().decode(index, positions)
        other = self.subject[index] == self.subject_of
        return 255 - clip if other else clip


def foreign(plan, test):
    """The plan with other pictures and other columns of the clips `test`."""
    clips = plan.store.clips
    values = {f.name: getattr(clips, f.name) for f in dataclasses.fields(Clips)}
    values["label"] = clips.label.copy()
    values["label"][test] = (clips.label[test] + 1) % 3
    other = Foreign(**values, subject_of=clips.subject[test[0]])
    columns = {name: column.copy() for name, column in plan.columns.items()}
    rest = np.setdiff1d(np.arange(len(clips)), test)
    for name, column in plan.columns.items():
        columns[name][test] = column[rest[: len(test)]]
    store = ClipStore(other)
    return dataclasses.replace(plan, store=store, columns=columns)


def test_training_never_touches_the_test_subject(run, mini_data):
    """Other pictures, targets and landmarks of the test subject: the same weights."""
    name, _, _ = run
    job = job_of(name, mini_data)
    member = mini.members_of(job)[0]
    test = member.fold.test
    plan = experiment.plan_of(job)
    members = [member, member]  # the run's own programs, of two members
    trained, seen = [], []
    for own in (plan, foreign(plan, test)):
        stack = Stack(own, mini.members_of(job), 2)
        read = stack.members(members)
        state, context = stack.init(read.key), stack.context(members)
        batches = own.batches(member)
        for step in range(0, 4, stack.steps):
            index = np.stack([batches[step + i][0] for i in range(stack.steps)])
            index = np.stack([index, index], 1)
            sent = own.store.put(index, None, stack.programs.scanned)
            state, _ = stack.train(context, state, read, stack.batches(index, sent))
        trained.append(jax.device_get(state.variables))
        seen.append(np.asarray(stack.held))
    jax.tree.map(np.testing.assert_array_equal, *trained)
    assert not np.array_equal(*seen)


def test_kept_weights_answer_as_they_did(run, mini_data):
    """... under the constants that lie with them; a new clip has no test split."""
    name, path, _ = run
    job = job_of(name, mini_data)
    plan = experiment.plan_of(job)
    names = job.clips.clip.tolist()
    folder = sorted((path / "weights").iterdir())[0]
    system, variables, context = bundle.load(folder)
    assert system == job.system
    with np.load(path / "members" / f"{folder.name}.npz") as member:
        known = {key: member[key] for key in member.files}
    index = np.asarray([names.index(clip) for clip in known["clip"].tolist()])
    frames = np.stack([job.clips.decode(int(i)) for i in index])
    batch = {"frames": frames} | plan.rows(index, system.inputs)
    if system.transductive:
        rows = plan.rows(index, list(plan.columns))
        context = context.replace(fold=system.fold_context(job.clips.take(index), rows))
    found = system.predict(variables, context, jax.tree.map(jax.numpy.asarray, batch))
    for key in system.task.reads:
        np.testing.assert_allclose(found[key], known[key], rtol=2e-4, atol=2e-4)


def test_a_finished_run_is_shown_and_not_trained_again(run, mini_data):
    name, path, card = run
    config = three.config(name, mini_data, {"train.keep_weights": True})
    clips = build.clips(config)
    with Workdir(path) as workdir:
        again = experiment.train_and_score(build.job(config, clips), workdir)
    assert again["predictions_sha256"] == card["predictions_sha256"]
