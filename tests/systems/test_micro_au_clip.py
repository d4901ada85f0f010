"""The detector of AUs as a system: what it reads, what a fold gives it, a whole run."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import micro_au_clip
from merclip_jax import build, experiment
from merclip_jax.augment import points
from merclip_jax.augment.points import PointAugmentation
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.losses.au import AULossOptions
from merclip_jax.models import clip_vit
from merclip_jax.models.au_regions import REGIONS, regions
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.results.card import find_row, read_card
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.systems.system import Context, System
from merclip_jax.text import au_prompts
from merclip_jax.training.checkpoint import GroupCheckpoint
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.parameters import parameter_table
from merclip_jax.training.stack import Stack
from merclip_jax.training.workdir import Workdir
from merclip_jax.weights import bundle
from tests import mini
from tests.systems import tiny_au
from tests.weights import made

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.whole,
    pytest.mark.xdist_group("test_micro_au_clip"),
]
STILL = PointAugmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Altered(Clips):
    """Clips with other landmarks than their records have."""

    marks: np.ndarray | None = None

    @property
    def landmarks(self):
        return self.marks


def altered(clips, marks):
    values = {f.name: getattr(clips, f.name) for f in dataclasses.fields(Clips)}
    return Altered(**values, marks=marks)


@pytest.fixture(scope="module")
def clips(mini_data):
    classes = mini.config(mini_data).data.classes
    options = DataOptions(
        dataset=mini.DATASET, data_dir=str(mini_data), classes=classes
    )
    return load_clips(options, tiny_au.VIEW)


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    path = tmp_path_factory.mktemp("micro_au") / "run"
    options = TrainOptions(batch_size=8, scan_steps=6, stack=3, keep_weights=True)
    job = tiny_au.job(clips, epochs=12, options=options)
    return path, experiment.train_and_score(job, Workdir(path), command="tests")


@pytest.fixture(scope="module")
def asked(clips):
    """A system, random variables, its context and a batch."""
    system = tiny_au.system(augmentation=STILL)
    columns = system.columns(clips)
    batch = {name: jnp.asarray(column[:6]) for name, column in columns.items()}
    batch["frames"] = jnp.asarray(np.stack([clips.decode(i) for i in range(6)]))
    context = Context(
        run=system.run_context(clips), fold=system.fold_context(clips, columns)
    )
    variables = jax.jit(system.init)(jax.random.key(0), batch)
    return system, variables, context, batch


def test_it_is_a_system():
    assert isinstance(MicroAuClip(), System)
    assert hash(MicroAuClip()) == hash(MicroAuClip())
    assert MicroAuClip().view.contract == "oracle-keyframes"
    assert MicroAuClip().task.names[:3] == ("AU1", "AU2", "AU4")


def test_onset_and_apex_are_what_it_sees(clips):
    view = tiny_au.VIEW
    np.testing.assert_array_equal(view.positions(3, 8, 20, fps=30.0), [3, 8])
    assert clips.positions.shape == (len(clips), 2)
    np.testing.assert_array_equal(clips.positions[:, 0], clips.spans[:, 0])
    np.testing.assert_array_equal(clips.apex, 1)
    with pytest.raises(ValueError, match="frames=3: onset and apex are 2 frames"):
        View(frames=3, sampling="onset_apex")


def test_its_columns(clips):
    """Sides do not count; alternatives all do; other kinds of movement do not."""
    cells = ["L1+R12", "4 or 7", "", "AD2+M6", "ref(2)"]
    some = clips.take(np.arange(5))
    some = dataclasses.replace(some, au_cell=np.asarray(cells))
    columns = tiny_au.system().columns(some)
    wanted = [
        [1, 0, 0, 0, 0, 1],
        [0, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(columns["aus"], wanted)
    np.testing.assert_array_equal(columns["landmarks"], clips.landmarks[:5])
    told = tiny_au.system().remarks(some, columns)
    assert told[1] == "Clips with none of these AUs: 2."
    assert "whose equations are not at hand" in told[0]


@pytest.mark.parametrize("count", [0, 5])
def test_clips_without_68_points_are_refused_by_name(clips, count):
    few = altered(clips, clips.landmarks[:, :count])
    with pytest.raises(ValueError, match=rf"{clips.clip[0]}.* needs the 68 points of"):
        tiny_au.system().columns(few)
    with pytest.raises(UserError, match="micro_au: clip .* needs the 68 points"):
        experiment.columns_of(tiny_au.job(few))


def test_points_that_are_no_numbers_are_refused_by_name(clips):
    marks = clips.landmarks.copy()
    marks[3, 7] = np.nan
    with pytest.raises(ValueError, match=rf"{clips.clip[3]}: .*no numbers \(1 clips"):
        tiny_au.system().columns(altered(clips, marks))


def test_constants_of_a_fold_change_with_its_training_clips_alone(clips):
    """When a training clip's AUs change and never when a test clip's do."""
    plan = experiment.plan_of(tiny_au.job(clips))
    system, columns = plan.system, plan.columns
    for member in mini.members_of(tiny_au.job(clips)):
        train, test = member.fold.train, member.fold.test

        def constants(columns, train=train):
            own = {name: column[train] for name, column in columns.items()}
            return jax.device_get(system.fold_context(clips.take(train), own))

        before = constants(columns)
        other = {name: column.copy() for name, column in columns.items()}
        other["aus"][test] = 1 - other["aus"][test]
        jax.tree.map(np.testing.assert_array_equal, constants(other), before)
        other = {name: column.copy() for name, column in columns.items()}
        other["aus"][train[0]] = 1 - other["aus"][train[0]]
        after = constants(other)
        for name in ("weights", "prior", "phi"):
            assert not np.array_equal(after[name], before[name]), name


def test_sentences_are_encoded_once_and_differ(clips):
    features = np.asarray(tiny_au.system().run_context(clips)["features"])
    assert features.shape == (len(tiny_au.AUS), 2, 64)
    flat = features.reshape(-1, 64)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    assert (flat @ flat.T - np.eye(len(flat))).max() < 0.99


def test_every_au_of_a_region_has_words():
    assert au_prompts.WORDS.keys() == REGIONS.keys()
    assert au_prompts.sentences((4,)) == [
        "a close-up of a face at rest, no brow lowerer: eyebrows stays still.",
        "a close-up of a face with a subtle brow lowerer: the eyebrows are drawn down "
        "and together.",
    ]
    with pytest.raises(ValueError, match=r"no words for \[3\]; expected some of"):
        au_prompts.sentences((3, 4))


def test_its_answers_read_no_target(asked):
    system, variables, context, batch = asked
    given = {"frames": batch["frames"], "landmarks": batch["landmarks"]}
    out = jax.jit(system.predict)(variables, context, given)
    assert set(given) == {"frames", *system.inputs}
    assert out["aus"].shape == (6, 6) and out["attention"].shape == (6, 6, 12)
    moved = given | {"landmarks": given["landmarks"] + 6}
    other = jax.jit(system.predict)(variables, context, moved)
    assert not np.allclose(other["aus"], out["aus"], atol=1e-4)


def test_still_faces_look_alike_by_their_difference(asked):
    """Whose face it is cancels: two frames alike are grey."""
    system, variables, context, batch = asked
    frames = batch["frames"]
    still = jnp.broadcast_to(frames[:, :1], frames.shape)
    marks = jnp.broadcast_to(batch["landmarks"][:1], batch["landmarks"].shape)
    out = system.predict(variables, context, {"frames": still, "landmarks": marks})
    np.testing.assert_allclose(out["aus"], out["aus"][:1].repeat(6, 0), atol=1e-4)


@pytest.mark.parametrize("input", ["apex", "flow"])
def test_other_inputs(asked, input):
    _, variables, context, batch = asked
    frames = batch["frames"][:, :1] if input == "flow" else batch["frames"]
    model = dataclasses.replace(tiny_au.MODEL, input=input)
    system = tiny_au.system(model=model)
    batch = batch | {"frames": frames}
    loss, (changed, scalars) = system.loss(
        variables, context, batch, key=jax.random.key(0), epoch=jnp.asarray(0)
    )
    assert np.isfinite(loss) and changed == {}
    assert set(scalars) == {scalar.name for scalar in system.scalars}
    if input == "apex":  # the onset is not looked at
        other = batch | {"frames": frames.at[:, 0].set(0)}
        plain = tiny_au.system(model=model, augmentation=STILL)
        answers = [plain.predict(variables, context, b)["aus"] for b in (batch, other)]
        np.testing.assert_array_equal(*answers)


def test_a_picture_of_motion_is_what_it_sees(mini_data):
    """As the view makes it of onset and apex; moving left is right in the mirror."""
    config = mini.config(mini_data)
    options = DataOptions(
        dataset=mini.DATASET, data_dir=str(mini_data), classes=config.data.classes
    )
    view = dataclasses.replace(tiny_au.VIEW, flow=True)
    clips = load_clips(options, view)
    model = dataclasses.replace(tiny_au.MODEL, input="flow")
    system = tiny_au.system(view=view, model=model)
    batch = {n: jnp.asarray(c[:4]) for n, c in system.columns(clips).items()}
    batch["frames"] = jnp.asarray(np.stack([clips.decode(i) for i in range(4)]))
    assert batch["frames"].shape == (4, *view.shape) == (4, 1, 32, 32, 3)
    assert batch["landmarks"].shape == (4, 68, 2)
    mirrored = tiny_au.system(
        view=view, model=model, augmentation=dataclasses.replace(STILL, flip=1.0)
    )
    seen = np.asarray(mirrored.augmented(batch, key=jax.random.key(0)))
    frames = np.asarray(batch["frames"])[:, :, :, ::-1].astype(np.float32)
    np.testing.assert_allclose(seen[..., 0], 255 - frames[..., 0], atol=1e-2)
    np.testing.assert_allclose(seen[..., 1:], frames[..., 1:], atol=1e-2)
    variables = jax.eval_shape(system.init, jax.random.key(0), batch)
    assert "params" in variables


def test_what_it_trains_on_can_be_looked_at(asked):
    _, _, _, batch = asked
    system = tiny_au.system()
    key = jax.random.key(5)
    seen = system.augmented(batch, key=key)
    wanted, _ = points.augment(
        key, batch["frames"], batch["landmarks"], PointAugmentation()
    )
    np.testing.assert_array_equal(seen, wanted)
    assert not np.allclose(seen, batch["frames"], atol=1)


def test_it_goes_through_loso_to_a_card(run, clips):
    path, card = run
    assert read_card(path / "card.json") == card
    assert card["title"] == "Micro-AU CLIP (our equations) on synthetic/mini, 6 classes"
    assert card["input_contract"] == "oracle-keyframes"
    assert card["protocol"] == {
        "name": "loso",
        "folds": 3,
        "seeds": [0],
        "epochs": 12,
    }
    assert any("whose equations are not at hand" in note for note in card["notes"])
    headline, per_au, _ = card["scores"]
    assert [row["key"] for row in headline["rows"]] == ["f1", "auc-pr"]
    shown = tiny_au.system().columns(clips)["aus"].sum(0)
    assert [row["support"] for row in per_au["rows"]] == shown.tolist()
    page = (path / "report.html").read_text()
    for text in ("AU by AU", "Detection loss", "AU4 brow lowerer", "Dependency loss"):
        assert text in page, text


def test_it_learns_what_is_there(run):
    path, card = run
    for name in ("s00", "s01", "s02"):
        with np.load(path / "members" / f"{name}-seed0.npz") as member:
            loss = member["history/loss"]
            assert np.isfinite(loss).all() and loss[-1] < 0.9 * loss[0]
            assert {"aus", "attention"} <= set(member.files)
    guess = find_row(card, "prior", part="chance")
    assert find_row(card, "f1")["mean"] > guess["value"]


@pytest.mark.long
def test_a_run_with_frozen_blocks_goes_on_to_the_same_bits(
    clips, tmp_path, monkeypatch
):
    """What is frozen has no moments: checkpoints hold a tree with holes."""
    options = TrainOptions(batch_size=8, scan_steps=3, stack=3, checkpoint_every=1)
    model = dataclasses.replace(tiny_au.MODEL, trained_blocks=1)
    made = tiny_au.system(model=model)
    job = tiny_au.job(clips, epochs=2, made=made, options=options)
    save = GroupCheckpoint.save

    def stop(self, step, tree, facts):
        save(self, step, tree, facts)
        raise KeyboardInterrupt

    experiment.train_and_score(job, Workdir(tmp_path / "whole"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(GroupCheckpoint, "save", stop)
        experiment.train_and_score(job, Workdir(tmp_path / "on"))
    experiment.train_and_score(job, Workdir(tmp_path / "on"))
    for path in (tmp_path / "whole" / "members").iterdir():
        with np.load(path) as whole, np.load(tmp_path / "on/members" / path.name) as on:
            for name in set(whole) - {"seal"}:
                np.testing.assert_array_equal(on[name], whole[name])


def test_its_kept_weights_answer_as_they_did(run, clips):
    path, _ = run
    names = clips.clip.tolist()
    columns = tiny_au.system().columns(clips)
    folder = sorted((path / "weights").iterdir())[0]
    told = json.loads((folder / "system.json").read_text())
    assert told["modules"]["video"]["family"] == "micro_au_clip"
    system, variables, context = bundle.load(folder)
    assert system == tiny_au.system()
    with np.load(path / "members" / f"{folder.name}.npz") as member:
        known = {name: member[name] for name in member.files}
    index = [names.index(clip) for clip in known["clip"].tolist()]
    batch = {
        "frames": jnp.asarray(np.stack([clips.decode(i) for i in index])),
        "landmarks": jnp.asarray(columns["landmarks"][index]),
    }
    found = jax.jit(system.predict)(variables, context, batch)
    for name in ("aus", "attention"):
        np.testing.assert_allclose(found[name], known[name], rtol=1e-4, atol=1e-4)


def test_where_an_au_looked_is_in_its_region(asked, clips):
    system, variables, context, batch = asked
    out = jax.device_get(jax.jit(system.predict)(variables, context, batch))
    one = {name: values[2] for name, values in out.items()}
    columns = system.columns(clips)
    rows, maps = system.exhibits(clips, columns, context, 2, one)
    assert [row[2] for row in rows.rows] == columns["aus"][2].astype(bool).tolist()
    best = np.argsort(-one["aus"], kind="stable")[:3]
    assert [name for name, _ in maps.pictures] == [f"AU{tiny_au.AUS[i]}" for i in best]
    apex = clips.decode(2)[1].astype(int)
    patches, mask = regions(
        jnp.asarray(columns["landmarks"][2:3]), tiny_au.AUS, patch_size=4, grid=(8, 8)
    )
    for i, (_, picture) in zip(best, maps.pictures, strict=True):
        changed = (picture.astype(int) != apex).any(-1)
        changed = changed.reshape(8, 4, 8, 4).any((1, 3)).reshape(-1)
        own = set(np.asarray(patches)[0, i][mask[i]].tolist())
        assert 0 < changed.sum() and set(np.flatnonzero(changed)) <= own


def test_options_that_no_run_above_has(clips):
    """The other variants train too: one step of each has finite, moving numbers."""
    model = MicroAUOptions(
        aus=tiny_au.AUS, size="tiny", pta_self=True, gda_cls=True, trained_blocks=1
    )
    system = tiny_au.system(
        model=model,
        loss_options=AULossOptions(detection="focal", dependency="correlation"),
    )
    columns = system.columns(clips)
    batch = {name: jnp.asarray(column[:4]) for name, column in columns.items()}
    batch["frames"] = jnp.asarray(np.stack([clips.decode(i) for i in range(4)]))
    context = Context(system.run_context(clips), system.fold_context(clips, columns))
    variables = jax.jit(system.init)(jax.random.key(0), batch)

    def loss(variables):
        return system.loss(
            variables, context, batch, key=jax.random.key(1), epoch=jnp.asarray(0)
        )[0]

    value, grads = jax.jit(jax.value_and_grad(loss))(variables)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_a_config_becomes_a_job(clips, tmp_path):
    """Options reach their use, CLIP's arrays the start; the frozen are counted so."""
    size = clip_vit.SIZES["tiny"]
    state = made.fill(made.clip_shapes(size, side=8))
    config = micro_au_clip.on("synthetic/tiny")
    config.update_from_flattened_dict(
        {
            "data.dataset": mini.DATASET,
            "data.image_size": 32,
            "model.size": "tiny",
            "model.trained_blocks": 1,
            "model.gda_cls": True,
            "loss.detection": "focal",
            "augment.rotation": 3.0,
            "optim.clip_lr": 5e-5,
            "train.remat": "blocks",
            "init.vision": made.save(tmp_path / "clip.safetensors", state),
        }
    )
    job = build.job(config, clips)
    system = job.system
    assert system.model.gda_cls
    assert system.model.aus == micro_au_clip.AUS["synthetic"]
    assert system.loss_options.detection == "focal"
    assert system.augmentation.rotation == 3.0
    assert system.execution.remat == "blocks" and system.view == tiny_au.VIEW
    assert job.optimiser.frozen == system.model.frozen
    assert job.optimiser.length.count == 30
    np.testing.assert_array_equal(
        job.start["params/image_projection"], state["visual.proj"]
    )
    rows = parameter_table(system, job.optimiser, experiment.columns_of(job))
    of = {row["part"]: row for row in rows}
    assert of["encoder/block_*"]["frozen"] == of["encoder/block_*"]["trained"] > 0
    assert of["encoder/patch_embed"]["trained"] == of["pta/attn"]["frozen"] == 0
    plan = experiment.plan_of(job)
    members = mini.members_of(job)[:2]
    stack = Stack(plan, members, 2)
    keys = stack.members(members).key
    params = jax.device_get(stack.init(keys)).variables.unpack()["params"]
    theirs = state["visual.conv1.weight"].transpose(2, 3, 1, 0)
    for i in range(2):
        kernel = params["encoder"]["patch_embed"]["kernel"][i]
        np.testing.assert_array_equal(kernel[0], theirs)
    config.init.vision = ""
    (remark,) = build.job(config, clips).remarks
    assert remark.startswith("The frozen blocks of the image tower have random weights")


@pytest.mark.parametrize(("size", "tower"), [("b16", 86_192_640), ("l14", 303_966_208)])
def test_a_step_of_full_size_in_bfloat16(size, tower):
    """Traced alone: types go together; the tower has CLIP's number of parameters."""
    model = MicroAUOptions(size=size, dtype="bfloat16", pta_self=True, gda_cls=True)
    system = MicroAuClip(model=model)
    a, b, embed = len(model.aus), 4, clip_vit.SIZES[size].embed
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    context = Context(
        run={"features": shape((a, 2, embed))},
        fold={"weights": shape((a,)), "prior": shape((a, a)), "phi": shape((a, a))},
    )
    batch = {
        "frames": jax.ShapeDtypeStruct((b, *system.view.shape), jnp.uint8),
        "landmarks": shape((b, 68, 2)),
        "aus": jax.ShapeDtypeStruct((b, a), jnp.int32),
    }
    variables = system.shapes()

    def loss(variables, context, batch):
        return system.loss(
            variables, context, batch, key=jax.random.key(0), epoch=jnp.asarray(0)
        )[0]

    value, grads = jax.eval_shape(jax.value_and_grad(loss), variables, context, batch)
    assert (value.shape, value.dtype) == ((), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}
    params = variables["params"]
    clips_own = [params["encoder"], params["image_projection"]]
    assert sum(leaf.size for leaf in jax.tree.leaves(clips_own)) == tower
    out = jax.eval_shape(system.predict, variables, context, batch)
    assert out["aus"].shape == (b, a)
