"""Trainings start from files: shapes in, variables and lineage out."""

import functools
import json
import unittest.mock

import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import experiment
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.models import clip_vit, mer_clip
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.results.card import read_card
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.training.merge import with_start
from merclip_jax.weights import adapt, convert, export, fitting, load, provenance, table
from merclip_jax.weights.families import clip, numbers, uniformer_v2
from merclip_jax.weights.options import InitOptions
from tests import mini
from tests.weights import made, torch_files
from tests.weights.made import TINY

STATES = made.states()
CLIP = (4, 48, 48, 3)
SIDE = 48  # the pixels of the made position tables: 3 x 3 patches


@functools.cache
def shapes(size=TINY, *, image_size=SIDE, video="uniformer_v2", classes=5, **options):
    model = mini.model(
        size, classes=classes, video=video, frames=4, temporal_layers=1, **options
    )
    return numbers.shapes_of(model, image_size, frames=4)


@pytest.fixture
def file(tmp_path):
    """The path of a file that holds a named state."""
    return lambda name: made.save(tmp_path / f"{name}.safetensors", STATES[name])


def whys(found):
    return provenance.reasons(found.initialised)


def test_ssv2_starts_the_encoder(file):
    wanted = shapes()
    found = load.load_vision(file("ssv2"), wanted)
    for path, array in found.arrays.items():
        assert array.shape == wanted[path] and array.dtype == np.float32
    norm = STATES["ssv2"]["transformer.proj.0.weight"]
    np.testing.assert_array_equal(found.arrays["params/encoder/norm/scale"], norm)
    fresh = set(wanted) - set(found.arrays)
    assert fresh == set(found.initialised)
    assert not any("/encoder/" in path for path in fresh)
    dropped = found.dropped
    assert dropped["transformer.proj.2.bias"] == uniformer_v2.CLASSIFIER[1]


def test_released_leaves_the_norm_at_its_start(file):
    found = load.load_vision(file("ssv2"), shapes(), norm_from_classifier=False)
    assert "params/encoder/norm/scale" not in found.arrays
    assert found.initialised["params/encoder/norm/bias"] == uniformer_v2.NORM[1]
    assert found.dropped["transformer.proj.0.weight"] == uniformer_v2.NORM[1]


def test_kinetics_needs_its_structure(file):
    with pytest.raises(UserError, match="config.model.structure=kinetics") as error:
        load.load_vision(file("kinetics"), shapes())
    assert len(str(error.value).splitlines()) == 1 + 10 + 1 + 1
    found = load.load_vision(file("kinetics"), _kinetics_shapes())
    assert "params/encoder/global_1/attn/in_proj_kernel" in found.arrays


def test_another_size_is_told(tmp_path, monkeypatch, file):
    monkeypatch.setitem(mer_clip.SIZES, "made", TINY)
    with pytest.raises(UserError, match="set config.model.size=made"):
        load.load_vision(file("ssv2"), shapes(mini.NANO, image_size=32))


def _kinetics_shapes():
    """The made file has two global blocks where the published have four."""
    wanted = shapes(structure="kinetics")
    return {p: s for p, s in wanted.items() if "/global_2/" not in p}


def test_clip_is_inflated_into_uniformer(file):
    found = load.load_vision(file("clip"), shapes())
    kernel = found.arrays["params/encoder/patch_embed/kernel"]
    theirs = STATES["clip"]["visual.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel[1], theirs)
    assert kernel.shape[0] == 3 and not kernel[0].any() and not kernel[2].any()
    assert "CLIP has no local MHRA" in whys(found)
    assert "params/encoder/ln_post/scale" not in found.arrays
    assert found.dropped["visual.ln_post.bias"] == clip.LN_POST[1]
    assert found.dropped["visual.proj"] == clip.OWN_PROJECTION[1]


def test_clip_fills_the_factorised_encoder(file):
    found = load.load_vision(file("clip"), shapes(video="factorized_vit"))
    kernel = found.arrays["params/encoder/patch_embed/kernel"]
    theirs = STATES["clip"]["visual.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel[0], theirs)
    assert "params/encoder/ln_post/scale" in found.arrays
    fresh = {p for p in found.initialised if "/encoder/" in p}
    assert fresh and all("/temporal_" in p or "/norm/" in p for p in fresh)


@functools.cache
def detector(size=TINY, *, image_size=SIDE):
    """Shapes of a detector of AUs, of a size that has no name."""
    with unittest.mock.patch.dict(clip_vit.SIZES, {"unnamed": size}):
        options = MicroAUOptions(size="unnamed", trained_blocks=1)
        system = MicroAuClip(
            view=View(frames=2, image_size=image_size, sampling="onset_apex"),
            model=options,
        )
        return numbers.by_path(system.shapes())


@pytest.mark.parametrize("name", ["clip", "hugging_face"])
def test_clip_fills_the_detectors_tower_and_projection(file, name):
    found = load.load_clip(file(name), detector())
    np.testing.assert_array_equal(
        found.arrays["params/image_projection"], STATES["clip"]["visual.proj"]
    )
    fresh = set(detector()) - set(found.arrays)
    assert fresh == set(found.initialised)
    assert not any("/encoder/" in path for path in fresh)
    assert {path.split("/")[1] for path in fresh} == {
        *("pta", "gda", "norm", "text_adapter", "log_tau")
    }


def test_a_detector_starts_from_a_folder_too(file, tmp_path):
    """Converted, at another resolution; and where the projection was left behind."""
    convert.write_folder(convert.convert([file("clip")]), tmp_path / "out")
    found = load.load_clip(str(tmp_path / "out"), detector(image_size=80))
    assert found.changed["params/encoder/positional_embedding"] == (
        "bicubic, 3x3 to 5x5"
    )
    theirs = load.load_clip(file("clip"), detector())
    for path, array in theirs.arrays.items():
        if path != "params/encoder/positional_embedding":
            np.testing.assert_array_equal(found.arrays[path], array)
    cut = {k: v for k, v in STATES["clip"].items() if k != "visual.proj"}
    source = made.save(tmp_path / "cut.safetensors", cut)
    found = load.load_clip(source, detector())
    assert found.initialised["params/image_projection"] == (
        "the file has no image projection of CLIP"
    )


def test_what_is_no_clip_starts_no_detector(file, monkeypatch):
    for name in ("ssv2", "mer_clip"):
        with pytest.raises(UserError, match="expected CLIP's image tower as it was"):
            load.load_clip(file(name), detector())
    monkeypatch.setitem(mer_clip.SIZES, "made", TINY)
    with pytest.raises(UserError, match="set config.model.size=made"):
        load.load_clip(file("clip"), detector(mini.NANO))


def test_an_encoder_out_of_mer_clip_brings_its_projectors(file):
    wanted = shapes(classes=3)
    found = load.load_vision(file("mer_clip"), wanted)
    assert "params/video_projection" in found.arrays
    assert all(p.startswith("params/head/") for p in set(wanted) - set(found.arrays))
    # What the released loader takes: every entry of the encoder and nothing else.
    taken = {key for keys in found.used.values() for key in keys}
    taken |= {k for k in found.dropped if k.endswith("batches_tracked")}
    assert taken == {k for k in STATES["mer_clip"] if k.startswith("vision_encoder.")}


def test_whole_mer_clip_and_its_last_layer(file):
    source = file("mer_clip")
    found = load.load_merclip(source, shapes(learn_temperature=True))
    assert found.arrays.keys() == shapes(learn_temperature=True).keys()
    fixed = load.load_merclip(source, shapes())
    why = dict(fitting.FIXED)["params/logit_scale"]
    assert fixed.dropped["logit_scale"] == why
    with pytest.raises(
        UserError, match=r"fc_cls.bias: \(5,\).*init.new_head=True"
    ) as error:
        load.load_merclip(source, shapes(classes=3))
    assert "2 problems" in str(error.value)
    for classes in (3, 5):
        found = load.load_merclip(source, shapes(classes=classes), new_head=True)
        missing = shapes(classes=classes).keys() - found.arrays.keys()
        assert missing == {f"params/head/classifier/{x}" for x in ("kernel", "bias")}


def test_positions_of_another_resolution_are_resized(file):
    found = load.load_vision(file("ssv2"), shapes(image_size=80))
    path = "params/encoder/positional_embedding"
    assert found.arrays[path].shape == (26, TINY.width)
    assert found.changed[path] == "bicubic, 3x3 to 5x5"
    table = np.ones((10, 4), np.float32)
    np.testing.assert_allclose(adapt.resize_positions(table, 7), 1, rtol=1e-6)
    np.testing.assert_array_equal(adapt.resize_positions(table, 3), table)


def test_a_folder_starts_as_its_file_does(file, tmp_path):
    source = file("ssv2")
    convert.write_folder(convert.convert([source]), tmp_path / "out")
    theirs = load.load_vision(source, shapes(), norm_from_classifier=False)
    ours = load.load_vision(str(tmp_path / "out"), shapes(), norm_from_classifier=False)
    assert ours.arrays.keys() == theirs.arrays.keys()
    for path, array in ours.arrays.items():
        np.testing.assert_array_equal(array, theirs.arrays[path])
    assert ours.sources == theirs.sources
    assert ours.used == theirs.used
    assert provenance.lineage_lines([ours]) == provenance.lineage_lines([theirs])


@pytest.mark.parametrize("into", ["uniformer_v2", "factorized_vit"])
def test_a_folder_fitted_into_an_encoder(file, tmp_path, monkeypatch, into):
    monkeypatch.setitem(mer_clip.SIZES, "made", TINY)
    source = file("clip")
    found = convert.convert([source], into=into)
    assert not found.problems
    assert f"fitted into {into}" in table.report(found)
    convert.write_folder(found, tmp_path / "out")
    wanted = shapes(video=into)
    ours = load.load_vision(str(tmp_path / "out"), wanted)
    theirs = load.load_vision(source, wanted)
    assert ours.arrays.keys() == theirs.arrays.keys()
    for path, array in ours.arrays.items():
        np.testing.assert_array_equal(array, theirs.arrays[path])
    again = convert.convert([str(tmp_path / "out")])  # --check of our own folder
    assert not again.problems
    assert again.parts["video"].initialised == found.parts["video"].initialised
    with pytest.raises(UserError, match=f"its encoder is .*{into}; the authors' code"):
        export.write_torch(str(tmp_path / "out"), tmp_path / "b.safetensors")
    other = {"uniformer_v2", "factorized_vit"} - {into}
    with pytest.raises(UserError, match="takes CLIP's image towers"):
        convert.convert([str(tmp_path / "out")], into=other.pop())


@pytest.mark.parametrize(
    "load, name, message",
    [
        (load.load_merclip, "ssv2", "holds UniFormerV2, not MER-CLIP"),
        (load.load_vision, "viclip", "no video encoder, only a text tower"),
        (load.load_merclip, "viclip", "no video encoder, only a text tower"),
    ],
)
def test_the_wrong_part_is_told(file, load, name, message):
    with pytest.raises(UserError, match=message):
        load(file(name), shapes())


def test_text_needs_its_tokenizer_and_size(file, tmp_path, golden):
    with pytest.raises(UserError, match="no tokenizer of 100 ids lies with"):
        load.load_text(file("clip"), TINY)
    with pytest.raises(UserError, match="holds no text tower"):
        load.load_text(file("ssv2"), TINY)
    with pytest.raises(UserError, match=r"clip.safetensors: \d+ problems"):
        load.load_text(file("clip"), mer_clip.SIZES["b16"])


def test_a_config_chooses_among_sets_of_weights(tmp_path):
    state = STATES["ssv2"]
    mean = {key: value * 0 + 1 for key, value in state.items()}
    path = tmp_path / "w.pth"
    source = torch_files.save(path, {"model": state, "model_ema": mean})
    model = mini.model(TINY, classes=3, frames=4)
    key = "params/encoder/class_embedding"
    for wish, wanted in [("", state), ("raw", state), ("model_ema", mean)]:
        found = load.load_start(model, CLIP, InitOptions(vision=source, weights=wish))
        np.testing.assert_array_equal(found.arrays[key], wanted["class_embedding"])
        assert found.sources[0]["weights"][1] == ("ema" if wanted is mean else "raw")
    with pytest.raises(UserError, match="w.pth: has no weights 'swa'"):
        load.load_start(model, CLIP, InitOptions(vision=source, weights="swa"))
    with pytest.raises(UserError, match="config.init.weights=ema goes with"):
        load.load_start(model, CLIP, InitOptions(weights="ema"))
    # A folder holds what it was made of, and nothing else.
    convert.write_folder(convert.convert([source], weights="ema"), tmp_path / "out")
    folder = str(tmp_path / "out")
    found = load.load_start(model, CLIP, InitOptions(vision=folder, weights="ema"))
    np.testing.assert_array_equal(found.arrays[key], mean["class_embedding"])
    with pytest.raises(UserError, match="out: was made of ema and model_ema, not of"):
        load.load_start(model, CLIP, InitOptions(vision=folder, weights="raw"))


def test_two_starts_are_refused():
    model = mini.model(TINY, classes=3)
    with pytest.raises(UserError, match="give one of them"):
        load.load_start(model, CLIP, InitOptions(vision="a", merclip="b"))


def test_what_a_file_holds_takes_the_place_of_random_numbers():
    ones = jnp.ones(3)
    params = {"encoder": {"bias": ones}, "head": {"bias": ones}}
    variables = {"params": params, "batch_stats": {"bn": {"mean": ones}}}
    bias = np.arange(3, dtype=np.float32)
    begun = with_start(
        variables, {"params/encoder/bias": bias, "batch_stats/bn/mean": bias}
    )
    np.testing.assert_array_equal(begun["params"]["encoder"]["bias"], bias)
    np.testing.assert_array_equal(begun["batch_stats"]["bn"]["mean"], bias)
    np.testing.assert_array_equal(begun["params"]["head"]["bias"], ones)
    with pytest.raises(ValueError, match=r"no place for \['params/norm \(3,\)'\]"):
        with_start(variables, {"params/norm": bias})


@pytest.mark.whole
def test_a_run_from_files_and_its_card(mini_data, tmp_path, golden):
    """Encoder and text tower from files, the lineage on the card."""
    size = mini.NANO
    clip = made.fill(made.clip_shapes(size, side=2, vocabulary=49408), 7)
    clip["positional_embedding"] *= 0.1
    source = made.save(tmp_path / "clip.safetensors", clip)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_text((golden / "tokenizer" / name).read_text())
    convert.write_folder(convert.convert([source]), tmp_path / "clip")
    init = {"init.vision": str(tmp_path / "clip"), "init.text": source}
    config = mini.config(mini_data, init | {"train.epochs": 1, "optim.peak_lr": 1e-30})
    config.train.keep_weights = True
    config.protocol.name = "kfold"
    config.protocol.folds = 2
    card = experiment.run(config, tmp_path / "run")
    assert read_card(tmp_path / "run/card.json") == card
    video, text = card["lineage"]
    assert video.startswith("video: CLIP in clip.safetensors (")
    assert text.startswith("text: CLIP in clip.safetensors (")
    assert "CLIP has no local MHRA" in video
    claimed = json.loads((tmp_path / "run/run.json").read_text())
    assert claimed["init.video_sha256"] == claimed["init.text_sha256"]
    weights = sorted((tmp_path / "run/weights").iterdir())
    assert len(weights) == 2
    for folder in weights:  # nothing was learned at such a rate: the file's own bias
        found = load.load_vision(str(folder), shapes(size, image_size=32))
        np.testing.assert_array_equal(
            found.arrays["params/encoder/ln_pre/bias"], clip["visual.ln_pre.bias"]
        )
        line, other = provenance.lineage_lines([found])
        assert other == provenance.RANDOM_TEXT
        assert f"; trained from {video}; trained from {text}" in line
    assert f"tokenizer of sha256 {claimed['init.tokenizer_sha256']}" in text
    _another_start_is_refused(config, tmp_path, clip)
    count, _ = export.write_torch(str(weights[0]), tmp_path / "back.safetensors")
    again = convert.convert([str(tmp_path / "back.safetensors")])
    assert not again.problems
    assert count > len(again.parts["video"].arrays)


def _another_start_is_refused(config, tmp_path, clip):
    """The same command after a file was changed: not the run that the folder is of."""
    merges = tmp_path / "merges.txt"
    head, first, second, *rest = merges.read_text().splitlines()
    for lines, changed, key in [
        ([head, second, first, *rest], clip, "init.tokenizer_sha256"),
        ([head, first, second, *rest], clip | {"ln_final.bias": 1}, "init.text_sha256"),
    ]:
        merges.write_text("\n".join(lines) + "\n")
        state = {
            k: np.broadcast_to(np.float32(v), clip[k].shape) for k, v in changed.items()
        }
        made.save(tmp_path / "clip.safetensors", state)
        with pytest.raises(UserError, match="made with other settings") as error:
            experiment.run(config, tmp_path / "run")
        assert [
            line.split(":")[0].strip() for line in str(error.value).splitlines()[1:-1]
        ] == [key]
