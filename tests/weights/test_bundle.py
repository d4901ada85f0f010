"""Folders of our own: they say what they hold, and nothing is guessed from shapes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models import mer_clip
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.systems import describe
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Context
from merclip_jax.text.tokenizer import ClipTokenizer
from merclip_jax.weights import arrays as checkpoint
from merclip_jax.weights import bundle, convert, export, load, sources
from merclip_jax.weights.families import clip_text, numbers
from merclip_jax.weights.families.mer_clip import FAMILY, modules_of
from merclip_jax.weights.options import InitOptions
from merclip_jax.weights.provenance import of_training
from tests import mini
from tests.weights import made
from tests.weights.made import TINY

SIDE = 48
SYSTEM = {"name": "mer_clip", "view": {"frames": 4, "sampling": ["uniform", 2]}}


def model(size=TINY, *, encoder=None, **options):
    found = mini.model(
        size, classes=3, frames=4, temporal_layers=1, **{"head_blocks": 1} | options
    )
    return found.clone(encoder=found.encoder.clone(**encoder)) if encoder else found


def start(**init):
    return load.load_start(model(), (4, SIDE, SIDE, 3), InitOptions(**init))


IN_FILES = [
    {},
    {"structure": "kinetics"},
    {"learn_temperature": True, "head_blocks": 2},
    {"head_blocks": 0},
    {"encoder": {"frozen": True}},
    {"encoder": {"local_mhra": 1, "reduction": 2.6}},
    {"encoder": {"global_layers": (2,), "global_mlp_factor": 2.5}},
    {"encoder": {"global_layers": ()}},
    {"size": mer_clip.SIZES["tiny"]},
    {"size": mini.NANO},
]
TRAINED_ALONE = [
    {"video": "factorized_vit"},
    {"video": "factorized_vit", "size": mini.NANO, "learn_temperature": True},
    {"learn_bias": True, "learn_temperature": True},
]


@pytest.mark.parametrize("options", IN_FILES)
def test_a_models_numbers_are_those_of_its_arrays(options):
    of = model(**options)
    shapes = numbers.shapes_of(of, SIDE)
    arrays = {p: np.broadcast_to(np.float32(0), s) for p, s in shapes.items()}
    told = FAMILY.numbers(arrays) | {"family": "mer_clip"}
    assert modules_of(of, image_size=SIDE) == {"video": told}


@pytest.mark.parametrize("options", IN_FILES + TRAINED_ALONE)
def test_a_models_numbers_give_its_shapes(options):
    of = model(**options)
    told = modules_of(of, image_size=SIDE)["video"]
    assert json.loads(json.dumps(told)) == told
    assert FAMILY.shapes(told) == numbers.shapes_of(of, SIDE, frames=4)


@pytest.fixture
def parts():
    shapes = numbers.shapes_of(model(), SIDE)
    return {"video": made.fill(shapes)}


def written(folder, parts, **options):
    """A trained member's bundle, or with other values of `bundle.write`."""
    given = {
        "modules": modules_of(model(), image_size=SIDE),
        "system": SYSTEM,
        "lineage": of_training(
            "m", parts["video"], title="MER-CLIP", earlier=["a", "b"]
        ),
        "tokenizer": None,
    }
    bundle.write(folder, parts, **given | options)


def test_what_is_written_is_read(parts, tmp_path, golden):
    tokenizer = ClipTokenizer.from_folder(golden / "tokenizer")
    written(tmp_path / "m", parts, tokenizer=tokenizer)
    names = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert names == ["merges.txt", "system.json", "video", "vocab.json"]
    found = bundle.read(tmp_path / "m")
    video = found.parts["video"]
    assert video.arrays.keys() == parts["video"].keys()
    for path, array in parts["video"].items():
        np.testing.assert_array_equal(video.arrays[path], array, strict=True)
    assert found.system == {"name": "mer_clip", "view": SYSTEM["view"]}
    assert found.modules == modules_of(model(), image_size=SIDE)
    assert found.tokenizer.sha256 == tokenizer.sha256
    (record,) = video.sources
    assert record["earlier"] == ["a", "b"] and record["name"] == "m"
    assert bundle.read(tmp_path / "m", only="text").parts == {}


def test_nothing_is_guessed(parts, tmp_path, monkeypatch):
    clip = made.save(tmp_path / "c.safetensors", made.states()["clip"])
    convert.write_folder(convert.convert([clip]), tmp_path / "clip")
    written(tmp_path / "m", parts)

    def guess(*_):
        raise AssertionError("numbers were read off arrays")

    for where, name in [(numbers, "vit"), (numbers, "count"), (numbers, "shape_at")]:
        monkeypatch.setattr(where, name, guess)
    monkeypatch.setattr(clip_text, "text_numbers", guess)
    with pytest.raises(AssertionError, match="read off arrays"):  # the trap works
        sources.open_source(clip)
    for name in ("clip", "m"):
        assert not convert.convert([str(tmp_path / name)]).problems
    begun = start(merclip=str(tmp_path / "m"))
    assert begun.arrays.keys() == parts["video"].keys()
    assert export.write_torch(str(tmp_path / "m"), tmp_path / "m.safetensors")


def test_system_goes_with_the_video_part(parts, tmp_path):
    clip = made.save(tmp_path / "c.safetensors", made.states()["clip"])
    written(tmp_path / "m", parts)
    member = str(tmp_path / "m")
    for names, options, expected in [
        ([member, clip], {}, SYSTEM),
        ([clip, member], {}, None),
        ([member], {"new_head": True}, None),
    ]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        convert.write_folder(convert.convert(names, **options), out)
        assert bundle.read(out).system == expected
        assert json.loads((out / "system.json").read_text())["system"] == expected


def test_an_older_member_gives_way_when_the_new_one_is_whole(
    parts, tmp_path, monkeypatch
):
    written(tmp_path / "m", parts)
    before = bundle.read(tmp_path / "m")
    with pytest.raises(UserError, match="is there already"):
        written(tmp_path / "m", parts)
    newer = {"video": {path: array + 1 for path, array in parts["video"].items()}}

    def fails(path, data):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "write_atomically", fails)
        with pytest.raises(UserError, match="could not be written"):
            written(tmp_path / "m", newer, replace=True)
    kept = bundle.read(tmp_path / "m").parts["video"]
    for path, array in before.parts["video"].arrays.items():
        np.testing.assert_array_equal(kept.arrays[path], array)
    written(tmp_path / "m", newer, replace=True)
    found = bundle.read(tmp_path / "m").parts["video"]
    np.testing.assert_array_equal(
        found.arrays["params/head_norm/bias"],
        newer["video"]["params/head_norm/bias"],
    )
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"system": {"dtype": np.float32}}, TypeError, "not JSON serializable"),
        ({"modules": {}}, ValueError, r"differ: \[\['video'\], \[\], \['video'\]\]"),
    ],
)
def test_what_cannot_be_told_is_not_written(parts, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        written(tmp_path / "m", parts, **options)
    assert list(tmp_path.iterdir()) == []


def uses(path):
    """Every way to a folder of weights."""
    return [
        lambda: convert.convert([str(path)]),
        lambda: start(vision=str(path)),
        lambda: start(merclip=str(path)),
        lambda: load.load_tower(TINY, merclip=str(path)),
        lambda: load.load_text(str(path), TINY),
        lambda: export.write_torch(str(path), path.with_name("back.safetensors")),
    ]


def test_folders_of_earlier_versions_are_refused(parts, tmp_path):
    tree = unflatten_dict(
        {path: jnp.asarray(array) for path, array in parts["video"].items()}, sep="/"
    )
    for name in ("bare", "kept"):
        checkpoint.save_weights(tmp_path / name, tree)
    origin = {"member": "kept", "lineage": ["random initialisation"]}
    (tmp_path / "kept/origin.json").write_text(json.dumps(origin))
    checkpoint.save_weights(tmp_path / "converted/video", tree)
    lineage = {"schema": "merclip_jax.lineage/2", "parts": {}, "modules": {}}
    (tmp_path / "converted/lineage.json").write_text(json.dumps(lineage))
    for name, message in [
        ("converted", "made by an earlier version .*; convert its source again"),
        ("kept", "a training of an earlier version.*; train again, or"),
        ("bare", "a training of an earlier version.*; train again, or"),
    ]:
        for use in uses(tmp_path / name):
            with pytest.raises(UserError, match=f"{name}: .*{message}"):
                use()


def test_a_part_of_a_folder_is_told(parts, tmp_path):
    written(tmp_path / "m", parts)
    for use in uses(tmp_path / "m/video"):
        with pytest.raises(UserError, match="a part of .*/m; give that folder"):
            use()


def test_a_folder_keeps_the_whole_provenance(tmp_path):
    """What was changed and dropped on the way from the file, over two folders too."""
    state = made.states()["ssv2"]
    state = {k: a.astype(np.float64) if a.ndim else a for k, a in state.items()}
    source = made.save(tmp_path / "s.safetensors", state)
    first = convert.convert([source])
    convert.write_folder(first, tmp_path / "one")
    second = convert.convert([str(tmp_path / "one")])
    convert.write_folder(second, tmp_path / "two")
    told, again = (
        json.loads((tmp_path / name / "system.json").read_text())
        for name in ("one", "two")
    )
    assert told == again
    part = told["lineage"]["parts"]["video"]
    assert set(part["changed"].values()) == {"float64 to float32"}
    assert set(part["dropped"].values()) == {"a counter that nothing reads"}
    fields = {field.name for field in dataclasses.fields(first.parts["video"])}
    assert {"changed", "dropped", "used", "initialised"} <= fields & part.keys()


@pytest.mark.parametrize(
    "options",
    [
        {"loss_options": LossOptions(contrastive="sigmoid")},
        {"model": MerClipOptions(size="tiny", video="factorized_vit", head_blocks=1)},
        {"view": View(frames=8, image_size=32, sampling="uniform")},
    ],
)
def test_a_trained_system_comes_back_and_predicts_the_same(tmp_path, options):
    """Structure, view and loss stand in `system.json`; nothing else is needed."""
    tiny = {"model": MerClipOptions(size="tiny"), "view": View(4, 32)}
    system = MerClip(classes=("a", "b"), epochs=3, **tiny | options)
    shape = system.view.shape
    batch = {"frames": jnp.zeros((1, *shape), jnp.uint8)}
    variables = jax.jit(system.init)(jax.random.key(3), batch)
    variables = jax.tree.map(np.asarray, variables)
    folder = tmp_path / "m"
    bundle.save(
        folder, system, variables, Context(), name="s1-seed0", lineage=["a start"]
    )
    found, loaded, context = bundle.load(folder)
    assert found == system and hash(found) == hash(system)
    assert jax.tree.structure(loaded) == jax.tree.structure(variables)
    noise = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    ours, theirs = (
        one.predict(v, context, {"frames": jnp.asarray(noise)})
        for one, v in ((found, loaded), (system, jax.tree.map(jnp.asarray, variables)))
    )
    for name in ("logits", "video"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_what_cannot_be_loaded_as_a_system_is_told(parts, tmp_path):
    clip = made.save(tmp_path / "c.safetensors", made.states()["clip"])
    convert.write_folder(convert.convert([clip]), tmp_path / "clip")
    with pytest.raises(UserError, match="converted weights, which say nothing of task"):
        bundle.load(tmp_path / "clip")
    written(tmp_path / "m", parts)  # its system is none that exists
    with pytest.raises(UserError, match=r"describes none of \['mer_clip'"):
        bundle.load(tmp_path / "m")
    with pytest.raises(UserError, match="holds no system.json"):
        bundle.load(tmp_path)


def test_a_system_of_another_version_is_not_read_with_todays_defaults():
    told = describe.to_json(MerClip(classes=("a", "b"), epochs=3))
    del told["loss_options"]["focal_gamma"]
    told["view"]["stride"] = 2
    with pytest.raises(
        ValueError, match=r"LossOptions: lacks \['focal_gamma'\]|View: "
    ):
        describe.from_json(MerClip, told)
