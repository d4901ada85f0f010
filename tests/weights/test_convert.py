"""Every family: file -> convert -> Orbax -> restore -> forward, and the way back."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file

from merclip_jax.errors import UserError
from merclip_jax.models import mer_clip
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.mer_clip import MerClip
from merclip_jax.models.uniformer_v2 import UniFormerV2Classifier
from merclip_jax.text.tokenizer import MERGES, ClipTokenizer
from merclip_jax.weights import (
    bundle,
    convert,
    export,
    fitting,
    load,
    match,
    sources,
    table,
)
from merclip_jax.weights.families import clip_text, detect, numbers
from merclip_jax.weights.families.clip import DROPPED
from merclip_jax.weights.options import InitOptions
from tests import mini
from tests.models.test_goldens import close, encoder, params_of, volume
from tests.weights import made

STATES = made.states()


def converted(tmp_path, state, name="weights.safetensors"):
    """Arrays by part of the folder that a state converts to, and its system.json."""
    source = made.save(tmp_path / name, state)
    convert.write_folder(convert.convert([source]), tmp_path / "out")
    found = bundle.read(tmp_path / "out")
    told = json.loads((tmp_path / "out/system.json").read_text())
    return {kind: part.arrays for kind, part in found.parts.items()}, told


def variables(arrays):
    return unflatten_dict({path: jnp.asarray(a) for path, a in arrays.items()}, sep="/")


def test_golden_uniformer(golden, tmp_path):
    data = np.load(golden / "uniformer_v2_a.npz")
    parts, told = converted(tmp_path, params_of(data))
    model = UniFormerV2Classifier(encoder(), classes=7)
    clip = jnp.asarray(volume(data["input"]))
    logits = jax.jit(functools.partial(model.apply, train=False))(
        variables(parts["video"]), clip
    )
    close(logits, data["f64/logits"])
    module = told["modules"]["video"]
    assert (module["structure"], module["classes"]) == ("ssv2", 7)
    assert (module["layers"], module["global_blocks"], module["reduced"]) == (4, 2, 42)


def test_golden_mer_clip(golden, tmp_path):
    data = np.load(golden / "merclip_tiny.npz")
    parts, told = converted(tmp_path, params_of(data))
    model = MerClip(encoder(), classes=7, embed=32, learn_temperature=True)
    clip = jnp.asarray(volume(data["in/clip_BNCTHW"][:, 0]))
    out = jax.jit(functools.partial(model.apply, train=False))(
        variables(parts["video"]), clip
    )
    close(out.video, data["f64/eval/video_feature_after_projection"])
    close(out.logits, data["f64/eval/logits"])
    tower = ClipText(vocabulary=64, context=20, width=32, layers=2, heads=4, out=32)
    ids = jnp.asarray(data["in/prompt_ids"].astype(np.int32))
    features = jax.jit(tower.apply)(variables(parts["text"]), ids)
    close(features, data["f64/eval/text_features_all_prompts"])
    assert told["modules"]["text"]["context"] == 20


@pytest.mark.parametrize("name", STATES)
def test_there_and_back_is_bit_exact(name, tmp_path):
    state = STATES[name]
    parts, told = converted(tmp_path, state)
    export.write_torch(str(tmp_path / "out"), tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    again = convert.convert([str(tmp_path / "back.safetensors")])
    assert not again.problems
    assert again.parts.keys() == parts.keys()
    for part, fitted in again.parts.items():
        assert fitted.arrays.keys() == parts[part].keys()
        for path, array in fitted.arrays.items():
            np.testing.assert_array_equal(array, parts[part][path], strict=True)
    if name in ("ssv2", "kinetics", "mer_clip"):
        assert back.keys() == state.keys()
        for key, array in state.items():
            np.testing.assert_array_equal(back[key], array, strict=True)
    used = [
        key
        for part in told["lineage"]["parts"].values()
        for keys in [*part["used"].values(), part["dropped"]]
        for key in keys
    ]
    assert sorted(used) == sorted(state)  # every key of the file is accounted for


def test_hugging_face_is_openai_under_other_names(tmp_path):
    files = [
        made.save(tmp_path / f"{name}.safetensors", STATES[name])
        for name in ("clip", "hugging_face")
    ]
    ours, theirs = (convert.convert([file]) for file in files)
    assert not ours.problems + theirs.problems
    for part in ("video", "text"):
        assert ours.parts[part].arrays.keys() == theirs.parts[part].arrays.keys()
        for path, array in ours.parts[part].arrays.items():
            np.testing.assert_array_equal(theirs.parts[part].arrays[path], array)
    keys = theirs.parts["video"].used["params/encoder/block_1/attn/in_proj_kernel"]
    assert keys == tuple(
        f"vision_model.encoder.layers.1.self_attn.{x}_proj.weight" for x in "qkv"
    )


def test_open_clip_with_a_text_prefix(tmp_path):
    state = {
        k if k.startswith(("visual.", "logit")) else f"text.{k}": v
        for k, v in STATES["clip"].items()
    }
    state["text.attn_mask"] = np.zeros((77, 77), np.float32)
    found = convert.convert([made.save(tmp_path / "open.safetensors", state)])
    assert not found.problems
    assert set(found.parts) == {"video", "text"}


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.backbone."])
def test_prefixes_fall_away(prefix, tmp_path):
    state = {prefix + key: array for key, array in STATES["ssv2"].items()}
    found = convert.convert([made.save(tmp_path / "a.safetensors", state)])
    assert not found.problems
    assert found.modules["video"]["structure"] == "ssv2"


def test_kinetics_structure_is_told(tmp_path):
    found = convert.convert([made.save(tmp_path / "k.safetensors", STATES["kinetics"])])
    text = table.report(found)
    assert "structure kinetics: temporal kernel 1, no local MHRA" in text


def test_viclip_positions_end_in_zeros(tmp_path):
    parts, told = converted(tmp_path, STATES["viclip"])
    table = parts["text"]["params/positional_embedding"]
    given = STATES["viclip"]["text_encoder.positional_embedding"]
    np.testing.assert_array_equal(table[:32], given)
    assert table.shape == (77, 64) and not table[32:].any()
    why = told["lineage"]["parts"]["text"]["dropped"]["vision_encoder.conv1.weight"]
    assert why == "ViCLIP's video encoder is another model"


@pytest.mark.parametrize(
    "name, entries, parameters, stats",
    [
        ("keys_merclip_b16.txt", 729, 657, 48),
        ("keys_uniformer_v2_b16.txt", 547, 475, 48),
    ],
)
def test_every_key_of_the_published_lists_has_its_place(
    golden, name, entries, parameters, stats
):
    """At full size, with arrays that take no memory."""
    shapes = made.listed(golden / name)
    assert len(shapes) == entries
    one = np.float32(1)
    state = {key: np.broadcast_to(one, shape) for key, shape in shapes.items()}
    named = made.recognised(name, state)
    family = detect.FAMILIES[named.family]
    placed = match.place(named.state, [*family.video, *family.text])
    assert not placed.problems
    assert len(placed.arrays) == parameters + stats
    module = family.numbers(placed.arrays)
    assert (module["size"], module["structure"]) == ("b16", "ssv2")
    wanted = family.shapes(module)
    if named.family == "mer_clip":
        text = clip_text.text_numbers(placed.arrays)
        wanted |= clip_text.text_shapes(text)
    assert {p: a.shape for p, a in placed.arrays.items()} == wanted


@pytest.mark.parametrize("size", ["b16", "l14"])
@pytest.mark.parametrize("family", ["clip", "ssv2", "kinetics"])
def test_published_sizes_fill_their_modules(size, family):
    """At full size, with arrays that take no memory."""
    published = mer_clip.SIZES[size]
    side = 224 // published.patch_size
    if family == "clip":
        shapes = made.clip_shapes(published, side=side, vocabulary=49408)
        structure = "ssv2"
    else:
        count = 4 if family == "kinetics" else len(published.global_layers)
        structure = family
        shapes = made.uniformer_shapes(
            published, structure=family, side=side, classes=174, globals_=count
        )
    one = np.float32(1)
    state = {key: np.broadcast_to(one, shape) for key, shape in shapes.items()}
    named = made.recognised(family, state)
    of = detect.FAMILIES[named.family]
    video = match.place(
        {k: v for k, v in named.state.items() if "visual" in k or family != "clip"},
        of.video,
        dropped=of.dropped,
    )
    module = of.numbers(video.arrays) | {"family": named.family}
    part = dataclasses.replace(video, module=module)
    model = mini.model(published, classes=3, structure=structure)
    wanted = numbers.shapes_of(model, 224)
    fitted = fitting.fit_vision(part, wanted)
    assert not fitted.problems
    assert fitted.arrays.keys() | fitted.initialised.keys() == wanted.keys()
    assert module["size"] == size
    if family == "clip":
        text = match.place(named.state, of.text, dropped=((".*", "not text"),))
        tower = clip_text.text_numbers(text.arrays)
        wanted = clip_text.text_shapes(tower)
        assert {p: a.shape for p, a in text.arrays.items()} == wanted
        assert tower["out"] == published.embed


def test_the_first_source_gives_its_part(tmp_path):
    video = made.save(tmp_path / "v.safetensors", STATES["ssv2"])
    clip = made.save(tmp_path / "c.safetensors", STATES["clip"])
    found = convert.convert([video, clip])
    assert found.parts["video"].name == "v.safetensors"
    assert found.parts["text"].name == "c.safetensors"
    why = "the video part comes from v.safetensors"
    assert found.left["visual.conv1.weight"] == why
    assert found.left["visual.proj"] == why
    assert found.left["logit_scale"] == DROPPED[0][1]
    convert.write_folder(found, tmp_path / "out")
    lineage = json.loads((tmp_path / "out/system.json").read_text())["lineage"]
    assert [r["name"] for r in lineage["sources"]] == ["v.safetensors", "c.safetensors"]
    of = {name: part["sources"] for name, part in lineage["parts"].items()}
    assert of == {"video": lineage["sources"][:1], "text": lineage["sources"][1:]}
    opened = sources.open_source(str(tmp_path / "out"), only="video")
    of = {kind: part.sources for kind, part in opened.parts.items()}
    assert of == {"video": lineage["sources"][:1]}
    assert opened.left == found.left
    assert "left aside: 44 tensors" in table.report(found)
    with pytest.raises(UserError, match="a key of both parts"):
        export.write_torch(str(tmp_path / "out"), tmp_path / "back.safetensors")


def test_a_second_sources_problems_are_told(tmp_path):
    video = made.save(tmp_path / "v.safetensors", STATES["ssv2"])
    state = STATES["clip"] | {"visual.stray": np.zeros(3, np.float32)}
    clip = made.save(tmp_path / "c.safetensors", state)
    found = convert.convert([video, clip])
    assert not found.problems
    stray = next(key for key in found.left if key.startswith("visual.stray"))
    why = "the video part comes from v.safetensors; not checked"
    assert found.left[stray] == why and why in table.report(found)


INCOMPLETE = [
    ("ssv2", "ln_pre.bias", None, "ln_pre/bias: missing"),
    ("ssv2", "stray", np.zeros(3, np.float32), "stray: no place"),
    ("ssv2", "ln_pre.bias", np.full(128, np.nan, np.float32), "holds NaN"),
    ("mer_clip", "text_encoder.ln_final.bias", None, "ln_final/bias: missing"),
]


@pytest.mark.parametrize("name, key, array, message", INCOMPLETE)
def test_nothing_incomplete_goes_back(tmp_path, name, key, array, message):
    state = {k: v for k, v in STATES[name].items() if k != key}
    state |= {} if array is None else {key: array}
    source = made.save(tmp_path / "odd.safetensors", state)
    with pytest.raises(UserError, match=f"odd.safetensors: 1 problem:\n.*{message}"):
        export.write_torch(source, tmp_path / "back.safetensors")
    assert not (tmp_path / "back.safetensors").exists()


def test_an_encoder_alone_goes_back_as_it_came(tmp_path):
    state = {
        key.removeprefix("vision_encoder."): array
        for key, array in STATES["mer_clip"].items()
        if key.startswith("vision_encoder.")
    }
    source = made.save(tmp_path / "e.safetensors", state)
    export.write_torch(source, tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == {f"vision_encoder.{key}" for key in state}
    whole = made.save(
        tmp_path / "m.safetensors",
        {k: v for k, v in STATES["mer_clip"].items() if k != "logit_scale"},
    )
    export.write_torch(whole, tmp_path / "m_back.safetensors")
    assert "logit_scale" in load_file(tmp_path / "m_back.safetensors")


def test_tokenizer_goes_with_the_weights(tmp_path, golden):
    clip = made.fill(made.clip_shapes(vocabulary=49408), 1)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_text((golden / "tokenizer" / name).read_text())
    source = made.save(tmp_path / "c.safetensors", clip)
    convert.write_folder(convert.convert([source]), tmp_path / "out")
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "out" / name).exists()
    told = json.loads((tmp_path / "out/system.json").read_text())
    known = sources.open_source(str(tmp_path / "out")).tokenizer.sha256
    assert told["sha256"]["tokenizer"] == known
    merges = tmp_path / "out/merges.txt"
    head, first, second, *rest = merges.read_text().splitlines()
    merges.write_text("\n".join([head, second, first, *rest]))
    with pytest.raises(UserError, match="its tokenizer are of two makings"):
        sources.open_source(str(tmp_path / "out"))


@pytest.mark.parametrize("first", ["weights", "vocabulary"])
def test_a_tokenizer_of_its_own_belongs_to_the_text(tmp_path, golden, first):
    clip = made.fill(made.clip_shapes(vocabulary=49408), 1)
    names = [made.save(tmp_path / "c.safetensors", clip)]
    tokens = ClipTokenizer.from_folder(golden / "tokenizer")
    lines = "\n".join(f"{a} {b}" for a, b in tokens.merges)
    filler = "".join(f"\n{i:x} y" for i in range(MERGES - len(tokens.merges)))
    (tmp_path / "bpe_simple_vocab.txt").write_text(lines + filler)
    names.insert(first == "weights", str(tmp_path / "bpe_simple_vocab.txt"))
    found = convert.convert(names)
    convert.write_folder(found, tmp_path / "out")
    told = json.loads((tmp_path / "out/system.json").read_text())
    parts = told["lineage"]["parts"]
    of = {part: [r["name"] for r in made["sources"]] for part, made in parts.items()}
    assert of["video"] == ["c.safetensors"]
    assert of["text"] == ["c.safetensors", "bpe_simple_vocab.txt"]


def test_new_head_leaves_the_last_layer_out(tmp_path):
    source = made.save(tmp_path / "m.safetensors", STATES["mer_clip"])
    fitted = convert.convert([source], new_head=True).parts["video"]
    assert not fitted.problems
    assert set(fitted.initialised) == {
        "params/head/classifier/kernel",
        "params/head/classifier/bias",
    }
    assert "cls_head.fc_cls.bias" in fitted.dropped
    out = tmp_path / "out"
    convert.write_folder(convert.convert([source], new_head=True), out)
    for new_head in (False, True):  # --check of our own folder
        again = convert.convert([str(out)], new_head=new_head)
        assert not again.problems
        assert again.parts["video"].initialised == fitted.initialised
    with pytest.raises(UserError, match="classifier/bias: the last layer starts anew"):
        export.write_torch(str(out), tmp_path / "back.safetensors")
    model = mini.model(made.TINY, classes=3)
    with pytest.raises(UserError, match="made with --new_head .*init.new_head=True"):
        load.load_start(model, (2, 48, 48, 3), InitOptions(merclip=str(out)))
    begun = load.load_start(
        model, (2, 48, 48, 3), InitOptions(merclip=str(out), new_head=True)
    )
    assert "params/head/norm/scale" in begun.arrays


def test_new_head_where_there_is_none(tmp_path):
    clip = made.save(tmp_path / "c.safetensors", STATES["clip"])
    viclip = made.save(tmp_path / "t.safetensors", STATES["viclip"])
    for names in ([clip], [viclip]):
        with pytest.raises(UserError, match="--new_head: .* no last layer"):
            convert.convert(names, new_head=True)
    model = mini.model(made.TINY, classes=3)
    for given in ({}, {"vision": clip}):
        with pytest.raises(UserError, match="goes with config.init.merclip"):
            load.load_start(model, (2, 48, 48, 3), InitOptions(new_head=True, **given))
    encoder = {k: v for k, v in STATES["mer_clip"].items() if "cls_head" not in k}
    encoder = made.save(tmp_path / "e.safetensors", encoder)
    with pytest.raises(UserError, match="no emotion head; give it as init.vision"):
        load.load_start(model, (2, 48, 48, 3), InitOptions(merclip=encoder))


def test_lineage_tells_the_file(tmp_path):
    _, told = converted(tmp_path, STATES["ssv2"])
    (record,) = told["lineage"]["sources"]
    path = tmp_path / "weights.safetensors"
    assert record["name"] == path.name
    assert record["bytes"] == path.stat().st_size
    assert len(record["sha256"]) == 64
    dropped = told["lineage"]["parts"]["video"]["dropped"]
    assert set(dropped.values()) == {"a counter that nothing reads"}
