"""Stacks of members: bit-identical however a run is made, stopped or placed."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from merclip_jax import build, experiment
from merclip_jax.data.batches import member_batches
from merclip_jax.data.clips import Clips
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.results.card import find_row
from merclip_jax.training import loop, memory, packed, programs, workdir
from merclip_jax.training.checkpoint import GroupCheckpoint
from merclip_jax.training.history import History
from merclip_jax.training.optim import Epochs
from merclip_jax.training.stack import Stack
from merclip_jax.training.workdir import Workdir
from tests import mini

STACK = 2
SEEDS = {"protocol.seeds": (0, 1)}

pytestmark = [pytest.mark.whole, pytest.mark.xdist_group("loop")]


@pytest.fixture(scope="module")
def clips(mini_data):
    return build.clips(mini.config(mini_data))


@pytest.fixture(scope="module")
def plan(mini_data, clips, cache):
    return experiment.plan_of(build.job(mini.config(mini_data, SEEDS), clips))


@pytest.fixture(scope="module")
def members(clips, mini_data):
    """s00, s01, s02 with seed 0, then with seed 1: three groups of two."""
    return mini.members(mini.config(mini_data, SEEDS), clips)


@pytest.fixture(scope="module")
def base(mini_data, clips, members, plan, tmp_path_factory):
    """The uninterrupted run that the others are compared with, and its card."""
    path = tmp_path_factory.mktemp("base")
    card = experiment.run_on(clips, mini.config(mini_data, SEEDS), path)
    return path, files_of(path), card


def files_of(path):
    """The arrays in every member's file, by member and name."""
    found = {}
    for file in sorted((path / "members").glob("*.npz")):
        with np.load(file) as data:
            found[file.stem] = {k: v for k, v in data.items() if k != "seal"}
    return found


def train(plan, members, stack, path, **changes):
    """Train `members` under `path`; their files."""
    plan = dataclasses.replace(plan, **changes)
    loop.train_members(Stack(plan, members, stack), members, Workdir(path))
    return files_of(path)


def held_by(store):
    """What a store keeps on the device: nothing where it streams from the host."""
    return store.held(SingleDeviceSharding(jax.devices()[0])).size


def assert_same_bits(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        other = theirs[name]
        assert (array.dtype, array.shape) == (other.dtype, other.shape), name
        assert array.tobytes() == other.tobytes(), name


def assert_same_files(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_same_bits(ours[name], theirs[name])


def test_a_run_leaves_every_member_once(base, members):
    path, files, card = base
    assert list(files) == sorted(m.name for m in members)
    assert not (path / "rounds").exists()
    for member in members:
        arrays = files[member.name]
        assert arrays["logits"].shape == (len(member.fold.test), 3)
        assert np.isfinite(arrays["logits"]).all()
        history = [name for name in arrays if name.startswith("history/")]
        assert {arrays[name].shape for name in history} == {(5,)}
        assert all(np.isfinite(arrays[name]).all() for name in history)
    one, other = files["s00-seed0"], files["s00-seed1"]
    assert (one["logits"] != other["logits"]).any()
    assert card["selection"] == "last"
    assert card["oracle"] is None
    assert set(find_row(card, "uf1")["per_seed"]) == {"0", "1"}


def test_unequal_folds_share_one_compiled_program(
    clips, mini_data, tmp_path, cache, monkeypatch
):
    """Trainings of 3, 2 and 2 steps an epoch, two at a time, compiled once."""
    subject = np.repeat(["s00", "s01", "s02"], (4, 8, 12))
    unequal = dataclasses.replace(clips, subject=subject)
    seen = []

    def counted(lowered, platform):
        seen.append(lowered.as_text().split("@")[1].split()[0])
        return compiled(lowered, platform)

    compiled = programs.compiled
    monkeypatch.setattr(programs, "compiled", counted)
    config = mini.config(mini_data, {"train.epochs": 1})
    experiment.run_on(unequal, config, tmp_path)
    sizes = {len(member.fold.train) for member in mini.members(config, unequal)}
    assert sizes == {20, 16, 12} and len(files_of(tmp_path)) == 3
    assert len(list((tmp_path / "scalars").glob("*.jsonl"))) == 2
    assert sorted(seen) == ["jit__answers", "jit__initial_state", "jit__steps"]


def test_the_same_seed_twice_gives_the_same_bits(base, plan, members, tmp_path):
    found = train(plan, members[:2], STACK, tmp_path)
    assert_same_files(found, {name: base[1][name] for name in found})


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_clips_on_the_host_give_the_same_bits(
    plan, members, clips, tmp_path, exact_emitters
):
    assert held_by(plan.store)
    store = ClipStore(clips, residency="host")
    assert not held_by(store)
    device = train(plan, members[:2], STACK, tmp_path / "device")
    host = train(plan, members[:2], STACK, tmp_path / "host", store=store)
    assert_same_files(host, device)


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_the_last_group_is_filled_up_and_gives_each_member_once(
    base, plan, members, tmp_path
):
    """s02 trains beside its own copy here and beside s00-seed1 in the base run."""
    found = train(plan, members[:3], STACK, tmp_path)
    assert list(found) == [m.name for m in members[:3]]
    assert_same_files(found, {name: base[1][name] for name in found})
    lines = (tmp_path / "scalars" / "round2of2.jsonl").read_text().splitlines()
    logged = [json.loads(line)["loss"] for line in lines]
    assert logged == found["s02-seed0"]["history/loss"].tolist()


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_a_member_alone_equals_the_same_member_in_a_stack(
    base, plan, members, tmp_path
):
    """Up to rounding: XLA's CPU backend sums in another order for another stack.

    vmap makes the matmuls of a stack batched ones, which are tiled otherwise than
    those of one member, so sums of float32 products differ in their last bits. The
    first epoch's losses differ by a few of these; Adam, which divides by the size of
    the gradient, lets near-zero gradients amplify them over the steps.
    """
    found = train(plan, members[:1], 1, tmp_path)
    (alone,) = found.values()
    stacked = base[1][members[0].name]
    assert alone.keys() == stacked.keys()
    for name, array in alone.items():
        if name == "clip":
            assert array.tolist() == stacked[name].tolist()
        else:
            np.testing.assert_allclose(
                array, stacked[name], rtol=1e-5, atol=1e-5, err_msg=name
            )
    first = alone["history/loss"][0], stacked["history/loss"][0]
    np.testing.assert_allclose(*first, rtol=1e-6)


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_arrays_side_by_side_learn_as_each_by_itself(
    base, plan, members, tmp_path, monkeypatch
):
    """A whole training, parameters and statistics: the same, but for rounding."""
    monkeypatch.setattr(packed, "SMALL", 0)
    for name, apart in train(plan, members[:2], 2, tmp_path).items():
        together = base[1][name]
        assert apart.keys() == together.keys()
        for key in apart.keys() - {"clip"}:
            np.testing.assert_allclose(
                apart[key], together[key], rtol=1e-5, atol=1e-5, err_msg=key
            )


def test_the_text_table_takes_nothing_from_test_clips(clips, mini_data, members):
    """Their AU cells gone, every sentence that is left has the same features."""
    system = build.job(mini.config(mini_data), clips).system
    test = np.isin(np.arange(len(clips)), members[0].fold.test)
    blank = dataclasses.replace(clips, au_cell=np.where(test, "", clips.au_cell))
    whole, left = system.run_context(clips), system.run_context(blank)
    described = system.columns(blank)["au_combination"]
    assert (described[test] == -1).all() and (described[~test] >= 0).all()
    names, fewer = system.prompts(clips).names, system.prompts(blank).names
    assert set(fewer) < set(names)
    rows = np.asarray([names.index(cell) for cell in fewer])
    np.testing.assert_array_equal(left["features"], whole["features"][:, rows])


def garbled(plan, test):
    """Labels and AUs of the test clips replaced by others."""
    columns = {name: column.copy() for name, column in plan.columns.items()}
    columns["label"][test] = (columns["label"][test] + 1) % 3
    count = len(plan.context.run["mirror"])
    columns["au_combination"][test] = (columns["au_combination"][test] + 1) % count
    return {"columns": columns}


def test_evaluation_never_reads_aus(base, plan, members, tmp_path):
    """Without the AUs of s00, its own model predicts the same bits; s01's does not."""
    silent = plan.columns["au_combination"].copy()
    silent[members[0].fold.test] = -1
    columns = plan.columns | {"au_combination": silent}
    found = train(plan, members[:2], STACK, tmp_path, columns=columns)
    names = [m.name for m in members[:2]]
    assert_same_bits(found[names[0]], base[1][names[0]])
    assert (found[names[1]]["logits"] != base[1][names[1]]["logits"]).any()


def test_what_predicts_is_handed_no_target(plan, members):
    stack = Stack(plan, members, STACK)
    batch = stack.tests(np.zeros((STACK, 8), int))
    assert set(batch) == {"frames", *plan.system.inputs}
    assert plan.system.task.target not in plan.system.inputs


def test_a_dispatch_is_no_longer_than_the_training(plan, members):
    def dispatch(asked):
        options = dataclasses.replace(plan.options, scan_steps=asked)
        return dataclasses.replace(plan, options=options).dispatch(members)

    epoch = max(map(plan.steps_per_epoch, members))
    assert dispatch(2) == 2 and dispatch(0) == epoch
    assert dispatch(1000) == 5 * epoch


def test_no_array_of_all_steps_pixels_is_made(plan, members):
    """Clips on the device are gathered step by step, inside the scan."""
    stack = Stack(plan, members, STACK)
    text = stack.programs.lower_train().as_text()
    assert "2x8x8x32x32x3x" in text  # one step's
    assert "2x2x8x8x32x32x3x" not in text


@dataclasses.dataclass(frozen=True)
class Poisoned(Clips):
    """Clips as floats, those of `poison` not a number."""

    poison: tuple[int, ...] = ()

    def decode(self, index, positions=None):
        clip = super().decode(index, positions).astype(np.float32)
        return np.full_like(clip, np.nan) if index in self.poison else clip


def poisoned(clips, poison):
    values = {f.name: getattr(clips, f.name) for f in dataclasses.fields(clips)}
    made = Poisoned(**values, poison=tuple(int(i) for i in poison))
    return ClipStore(made, residency="device")


@pytest.fixture
def quick_compile():
    """Programs that only this test's float clips need: not worth optimising."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def kept(monkeypatch):
    """The trained variables that `keep_weights` would write, the newest last."""
    found = []

    def save(folder, system, variables, context, **_):
        found.append(variables)

    monkeypatch.setattr(workdir.bundle, "save", save)
    return found


def test_training_never_touches_the_test_subject(
    plan, members, clips, tmp_path, quick_compile, kept
):
    """NaN clips, wrong labels and wrong AUs of s00: its model gets the same bits."""
    member = members[0]
    test = member.fold.test
    keeping = dataclasses.replace(plan.options, keep_weights=True)
    clean = train(
        plan, [member], 1, tmp_path / "a", store=poisoned(clips, []), options=keeping
    )[member.name]
    dirty = train(
        plan,
        [member],
        1,
        tmp_path / "b",
        store=poisoned(clips, test),
        options=keeping,
        **garbled(plan, test),
    )[member.name]
    history = [name for name in clean if name.startswith("history/")]
    assert len(history) == 9
    for name in history:
        assert clean[name].tobytes() == dirty[name].tobytes(), name
    assert np.isfinite(clean["logits"]).all()
    assert np.isnan(dirty["logits"]).all()  # the poison works
    leaves = [jax.tree.leaves(tree) for tree in kept]
    assert len(leaves[0]) == len(leaves[1]) > 50
    for one, other in zip(*leaves, strict=True):
        assert np.isfinite(one).all()
        assert one.tobytes() == other.tobytes()


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_a_loss_that_is_not_finite_stops_and_names_step_member_and_clips(
    plan, members, clips, tmp_path, quick_compile
):
    """... and a run with that clip mended goes on from before it, to the same bits."""
    member = members[1]
    drawn = member_batches(
        member.fold.train,
        clips.label,
        clips.draw,
        seed=member.data_seed,
        batch_size=8,
    )
    batches = [drawn[step][0] for step in range(2)]
    bad = int(next(clip for clip in batches[1] if clip not in batches[0]))
    with pytest.raises(UserError) as caught:
        train(plan, [member], 1, tmp_path / "a", store=poisoned(clips, [bad]))
    message = str(caught.value)
    assert f"the loss of member {member.name} is nan at step 1," in message
    assert str(clips.clip[batches[1]].tolist()) in message
    assert not (tmp_path / "a" / "members").exists()

    store = poisoned(clips, [])
    mended = train(plan, [member], 1, tmp_path / "a", store=store)
    whole = train(plan, [member], 1, tmp_path / "b", store=store)
    assert_same_files(mended, whole)


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_a_run_stopped_between_two_writes_goes_on(
    base, plan, members, tmp_path, monkeypatch
):
    """Right after a checkpoint; then with one member of the trained stack saved."""

    def stop_behind(self, step, tree, facts):
        saved_checkpoint(self, step, tree, facts)
        if step == 2:
            raise KeyboardInterrupt

    def stop_before(self, member, result):
        if member == members[1]:
            raise KeyboardInterrupt
        saved_member(self, member, result)

    saved_checkpoint, saved_member = GroupCheckpoint.save, Workdir.save_member
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(GroupCheckpoint, "save", stop_behind)
        train(plan, members[:2], STACK, tmp_path)
    assert not (tmp_path / "members").exists()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Workdir, "save_member", stop_before)
        train(plan, members[:2], STACK, tmp_path)
    (saved,) = (tmp_path / "members").iterdir()
    assert saved.stem == members[0].name
    when = saved.stat().st_mtime_ns

    def trained(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(History, "add", trained)
    found = train(plan, members[:2], STACK, tmp_path)
    assert_same_files(found, {name: base[1][name] for name in found})
    assert saved.stat().st_mtime_ns == when
    assert not (tmp_path / "rounds").exists()
    assert logged_epochs(tmp_path / "scalars" / "round1of1.jsonl") == [0, 1, 2, 3, 4]


def logged_epochs(path):
    return [json.loads(line)["epoch"] for line in path.read_text().splitlines()]


def test_a_half_written_prediction_stops_the_run(base, mini_data, clips, tmp_path):
    """Nothing is trained over it and nothing reused; the message names the file."""
    path = base[0]
    half = path / "members" / "s01-seed0.npz"
    whole = half.read_bytes()
    try:
        half.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=r"s01-seed0\.npz: damaged"):
            experiment.run_on(clips, mini.config(mini_data, SEEDS), path)
        assert half.read_bytes() == whole[: len(whole) // 2]
    finally:
        half.write_bytes(whole)


def test_a_workdir_of_another_config_is_refused(base, mini_data, clips):
    before = {p: p.stat().st_mtime_ns for p in base[0].rglob("*")}
    other = mini.config(mini_data, SEEDS | {"optim.peak_lr": 0.25})
    with pytest.raises(UserError, match=r"optim\.peak_lr: there 0\.002, now 0\.25"):
        experiment.run_on(clips, other, base[0])
    assert {p: p.stat().st_mtime_ns for p in base[0].rglob("*")} == before


def accuracy(files, clips, name):
    right = total = 0
    where = {clip: i for i, clip in enumerate(clips.clip)}
    for arrays in files.values():
        labels = clips.label[[where[clip] for clip in arrays["clip"]]]
        right += (arrays[name].argmax(1) == labels).sum()
        total += len(labels)
    return right / total


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_oracle_selection_goes_in_its_own_column(
    base, mini_data, clips, tmp_path, monkeypatch
):
    """The headline stays the last epoch's; the column is never below it."""
    evaluated = []
    evaluate = loop.evaluate

    def record(stack, context, state, stacked, history):
        evaluated.append(int(state.step.max()))
        evaluate(stack, context, state, stacked, history)

    class Seldom(Stack):
        """Evaluates at calls 3 and 6 of 8, and at the last one all the same."""

        def __init__(self, *args):
            super().__init__(*args)
            self.evaluate_every = 3

    monkeypatch.setattr(loop, "evaluate", record)
    monkeypatch.setattr(memory, "Stack", Seldom)
    config = mini.config(mini_data, {"protocol.selection": "oracle"})
    card = experiment.run_on(clips, config, tmp_path)
    files = files_of(tmp_path)
    assert card["selection"] == "last"
    for name in ("uf1", "uar", "acc"):
        last = find_row(base[2], name)["per_seed"]["0"]
        assert find_row(card, name)["per_seed"] == {"0": last}
    for name, arrays in files.items():
        assert_same_bits(
            {k: v for k, v in arrays.items() if k != "best/logits"},
            {k: v for k, v in base[1][name].items() if k != "best/logits"},
        )
        one = {name: arrays}
        best = accuracy(one, clips, "best/logits")
        assert best >= accuracy(one, clips, "logits")
    chosen = accuracy(files, clips, "best/logits")
    assert card["oracle"]["acc"] == pytest.approx(chosen)
    # s00 and s01 are done after 10 steps and stand still; s02 takes 15.
    assert evaluated == [6, 10, 10, 6, 12, 15]


@pytest.mark.whole
@pytest.mark.xdist_group("loop")
def test_inner_selection_looks_at_held_out_training_subjects(
    mini_data, clips, tmp_path
):
    """The inner subject is neither trained on nor tested; its best epoch is scored."""
    config = mini.config(
        mini_data, {"protocol.selection": "inner", "protocol.inner_subjects": 1}
    )
    for member in mini.members(config, clips):
        fold = member.fold
        parts = [set(clips.subject[p]) for p in (fold.train, fold.test, fold.inner)]
        assert [len(part) for part in parts] == [1, 1, 1]
        assert len(set.union(*parts)) == 3
    card = experiment.run_on(clips, config, tmp_path)
    files = files_of(tmp_path)
    assert card["selection"] == "inner"
    assert card["oracle"] is None
    chosen = accuracy(files, clips, "best/logits")
    assert find_row(card, "acc")["mean"] == pytest.approx(chosen)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"protocol.selection": "best"}, r"'best': expected one of \['last', 'inner'"),
        ({"protocol.selection": "inner"}, "inner_subjects of 1 or more"),
        ({"protocol.inner_subjects": 1}, "inner_subjects of 1 or more"),
    ],
)
def test_impossible_selections(mini_data, clips, tmp_path, changes, match):
    with pytest.raises(UserError, match=match):
        experiment.run_on(clips, mini.config(mini_data, changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_history_gives_each_member_its_own_epochs(plan, members):
    """Members of a stack have training parts of unequal length."""
    optimiser = dataclasses.replace(plan.optimiser, length=Epochs(2))
    made = dataclasses.replace(plan, optimiser=optimiser)
    long, short = members[2], members[0]
    assert [made.steps_per_epoch(m) for m in (long, short)] == [3, 2]
    history = History(made, [long, short], {})
    index = np.zeros((6, 2, 8), int)
    values = np.arange(12.0).reshape(6, 2)
    history.add(0, dict.fromkeys(history.names, values[:2]), index[:2])
    history.add(2, dict.fromkeys(history.names, values[2:]), index[2:])
    history.settle()
    np.testing.assert_allclose(history.means(0)["loss"], [2.0, 8.0])  # 0 2 4, 6 8 10
    np.testing.assert_allclose(history.means(1)["loss"], [2.0, 6.0])  # 1 3, 5 7
    assert history.epochs_done() == 2
