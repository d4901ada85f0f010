"""Damaged and foreign files: one clear error, nothing left behind."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from safetensors.numpy import save_file

from merclip_jax.errors import UserError
from merclip_jax.weights import arrays as checkpoint
from merclip_jax.weights import (
    bundle,
    convert,
    description,
    export,
    hub,
    load,
    sources,
)
from merclip_jax.weights.families import numbers
from merclip_jax.weights.options import InitOptions
from tests import mini
from tests.weights import made
from tests.weights.made import TINY

STATES = made.states()


@pytest.fixture
def whole(tmp_path):
    return made.save(tmp_path / "w.safetensors", STATES["ssv2"])


def refused(source, dst, message):
    """Converting fails with one error that names the file, and writes nothing."""
    before = sorted(dst.parent.iterdir())
    with pytest.raises(UserError, match=message) as error:
        convert.write_folder(convert.convert([str(source)]), dst)
    assert sorted(dst.parent.iterdir()) == before
    text = str(error.value)
    assert source.name in text
    assert len(text.splitlines()) <= 13
    return text


def test_an_absent_file(tmp_path):
    refused(tmp_path / "gone.pth", tmp_path / "out", "no such file or folder")


def test_an_empty_file(tmp_path):
    for name in ("a.safetensors", "a.pth", "a.bin"):
        (tmp_path / name).touch()
        refused(tmp_path / name, tmp_path / "out", "the file is empty")
    save_file({}, tmp_path / "b.safetensors")
    refused(tmp_path / "b.safetensors", tmp_path / "out", "holds no tensors")


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.01])
def test_a_truncated_file(whole, tmp_path, keep):
    data = Path(whole).read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: int(len(data) * keep)])
    refused(path, tmp_path / "out", "not a whole safetensors file")


def test_nan_and_infinity_are_named(tmp_path):
    state = dict(STATES["ssv2"])
    for i, key in enumerate(sorted(state)[:14]):
        if state[key].dtype == np.float32:
            state[key] = state[key].copy()
            state[key].flat[-1] = (np.nan, np.inf, -np.inf)[i % 3]
    path = tmp_path / "nan.safetensors"
    made.save(path, state)
    text = refused(path, tmp_path / "out", "nan.safetensors: 14 problems")
    assert "class_embedding: holds NaN or infinity" in text
    assert "... and 4 more" in text


def test_a_large_sum_is_not_an_infinity(tmp_path):
    state = STATES["ssv2"] | {"class_embedding": np.full(128, 3e38, np.float32)}
    found = convert.convert([made.save(tmp_path / "big.safetensors", state)])
    assert not found.problems


def test_a_foreign_family(tmp_path):
    state = {f"layer{i}.weight": np.zeros((2, 2), np.float32) for i in range(30)}
    path = tmp_path / "resnet.safetensors"
    made.save(path, state)
    text = refused(
        path, tmp_path / "out", "none of UniFormerV2, MER-CLIP, CLIP, ViCLIP"
    )
    assert "layer0.weight (2, 2)" in text and "... and 20 more" in text


def test_a_part_of_a_family(tmp_path):
    for lost in ("conv1.weight", "positional_embedding"):
        state = {k: v for k, v in STATES["ssv2"].items() if k != lost}
        path = tmp_path / f"{lost}.safetensors"
        made.save(path, state)
        refused(path, tmp_path / "out", "missing from the file")


def test_unknown_missing_and_misshapen_keys_are_listed(tmp_path):
    state = dict(STATES["mer_clip"])
    del state["vision_encoder.ln_pre.bias"]
    state["vision_encoder.stray"] = np.zeros(3, np.float32)
    state["vision_encoder.ln_post1.bias"] = np.zeros(3, np.float32)
    state["text_encoder.ln_final.bias"] = np.zeros(64, np.int64)
    path = tmp_path / "odd.safetensors"
    made.save(path, state)
    text = refused(path, tmp_path / "out", "odd.safetensors: 4 problems")
    assert "params/encoder/ln_pre/bias: missing from the file" in text
    assert "vision_encoder.stray: no place for it in this model" in text
    assert "ln_post1.bias: (3,) does not fit params/video_norm/bias (64,)" in text
    assert "text_encoder.ln_final.bias: int64, expected real numbers" in text


def changed(name, key, array):
    """A state with one array put in its place, or taken away."""
    state = {k: v for k, v in STATES[name].items() if k != key}
    return state if array is None else state | {key: array}


ZERO = np.zeros((), np.float32)
Q = "text_model.encoder.layers.0.self_attn"
ODD = [
    ("ssv2", "positional_embedding", ZERO, r"2 axes.*shape \(\)"),
    ("ssv2", "positional_embedding", np.zeros((0, 128), np.float32), "2 axes"),
    ("ssv2", "positional_embedding", np.zeros((1, 128), np.float32), "1 rows"),
    ("ssv2", "positional_embedding", np.ones((9, 128), np.float32), "does not fit"),
    ("ssv2", "transformer.proj.2.bias", ZERO, r"1 axes.*shape \(\)"),
    ("ssv2", "class_embedding", ZERO, "does not fit"),
    ("ssv2", "conv1.weight", np.zeros((128, 3, 3, 0, 0), np.float32), "5 axes"),
    ("mer_clip", "vision_encoder.proj", ZERO, r"2 axes.*shape \(\)"),
    ("mer_clip", "text_encoder.text_projection", ZERO, r"2 axes.*shape \(\)"),
    ("clip", "token_embedding.weight", np.ones(64, np.float32), r"shape \(64,\)"),
    ("hugging_face", f"{Q}.k_proj.weight", np.ones((9, 9), np.float32), "of shapes"),
    ("hugging_face", f"{Q}.k_proj.bias", ZERO, "of shapes"),
]


@pytest.mark.parametrize("name, key, array, message", ODD)
def test_odd_arrays_are_named(tmp_path, name, key, array, message):
    path = tmp_path / "odd.safetensors"
    made.save(path, changed(name, key, array))
    text = refused(path, tmp_path / "out", message)
    assert key in text


def test_more_global_blocks_than_blocks(tmp_path):
    state = {
        k: v
        for k, v in STATES["ssv2"].items()
        if not k.startswith(("transformer.resblocks.1", "transformer.resblocks.2"))
    }
    path = tmp_path / "odd.safetensors"
    made.save(path, state)
    text = refused(path, tmp_path / "out", "2 global blocks, but 1 blocks of the ViT")
    assert "transformer.dec.1" in text or "transformer.dpe.1" in text


def test_another_trainers_prefixes(tmp_path):
    state = {k: np.ones((2, 2), np.float32) for k in ("backbone.a.b", "cls_head.fc.c")}
    path = tmp_path / "resnet.safetensors"
    made.save(path, state)
    refused(path, tmp_path / "out", "holds none of UniFormerV2")
    head = {k: v for k, v in STATES["mer_clip"].items() if k.startswith("cls_head.")}
    made.save(path, head)
    refused(path, tmp_path / "out", "patch_embed/kernel: missing from the file")


def test_numbers_beyond_float32_are_named(tmp_path):
    path = tmp_path / "big.safetensors"
    big = np.full(128, 1e300)
    made.save(path, changed("ssv2", "class_embedding", big))
    refused(path, tmp_path / "out", "class_embedding: holds numbers beyond float32")


def test_pickles_need_no_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.pth").write_bytes(b"\x80\x02}q\x00.")
    refused(tmp_path / "a.pth", tmp_path / "out", "holds no tensors, expected tensors")


def test_frozen_files_are_told(tmp_path):
    source = made.save(
        tmp_path / "k.safetensors", changed("ssv2", "transformer.balance", None)
    )
    assert not convert.convert([source]).problems
    model = mini.model(TINY, classes=3)
    with pytest.raises(UserError, match="frozen variant, which has no `balance`"):
        load.load_start(model, (2, 48, 48, 3), InitOptions(vision=source))


def test_q_without_k_and_v(tmp_path):
    state = dict(STATES["hugging_face"])
    del state["vision_model.encoder.layers.0.self_attn.k_proj.weight"]
    path = tmp_path / "hf.safetensors"
    made.save(path, state)
    text = refused(path, tmp_path / "out", "hf.safetensors: 1 problem:")
    assert "q_proj.weight + vision_model" in text and "does not fit" in text


def test_an_existing_destination_is_left_alone(whole, tmp_path, monkeypatch):
    found = convert.convert([whole])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        convert.write_folder(found, tmp_path / "out")
    with pytest.raises(UserError, match="is there already"):
        export.write_torch(whole, tmp_path / "w.safetensors")
    assert (tmp_path / "out/mine").read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dir.safetensors").mkdir()
    for name in ("link", "link.safetensors", "dir.safetensors"):
        with pytest.raises(UserError, match="is there already"):
            if name == "link":
                convert.write_folder(found, tmp_path / name)
            else:
                export.write_torch(whole, tmp_path / name)
    with pytest.raises(UserError, match="a name that ends in .safetensors"):
        export.write_torch(whole, tmp_path / "new.pth")
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match="this command runs in it"):
        convert.write_folder(found, Path())
    monkeypatch.chdir(tmp_path)
    convert.write_folder(found, tmp_path / "empty")
    assert (tmp_path / "empty/system.json").exists()


@pytest.mark.parametrize(
    "error", [OSError("disk full"), ValueError("x"), KeyboardInterrupt]
)
def test_a_failure_leaves_nothing(whole, tmp_path, monkeypatch, error):
    found = convert.convert([whole])

    def fails(path, data):
        raise error

    monkeypatch.setattr(bundle, "write_atomically", fails)
    expected = KeyboardInterrupt if error is KeyboardInterrupt else UserError
    with pytest.raises(expected):
        convert.write_folder(found, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.safetensors"]


def signed(told):
    """A description as one who edits it and knows of the checksum writes it."""
    return description.to_json(told).decode()


def test_a_damaged_folder(whole, tmp_path):
    convert.write_folder(convert.convert([whole]), tmp_path / "out")
    system = tmp_path / "out/system.json"
    text = system.read_text()
    changed, unknown, odd, short = (json.loads(text) for _ in range(4))
    video = changed["lineage"]["parts"]["video"]
    video["used"].pop("params/encoder/class_embedding")
    unknown["modules"]["video"]["family"] = "resnet"
    odd["lineage"]["parts"]["video"]["used"] = ["params/encoder/class_embedding"]
    del short["sha256"]
    for content, message in [
        (text[:-9], "system.json: not whole"),
        ("[]", "system.json: not whole"),
        (json.dumps(changed), "system.json: was changed"),
        (json.dumps(short), "system.json: not whole"),
        (text.replace("bundle/2", "bundle/9"), "schema is 'merclip_jax.bundle/9'"),
        (signed(odd), "system.json: not whole"),
        (signed(changed), "are not of one making"),
        (signed(unknown), "family 'resnet', expected one of uniformer_v2, mer_cl"),
    ]:
        system.write_text(content)
        with pytest.raises(UserError, match=message):
            sources.open_source(str(tmp_path / "out"))
    system.write_text(text)
    (tmp_path / "out/video/_METADATA").write_text("{")
    with pytest.raises(UserError, match="video: these weights cannot be read"):
        sources.open_source(str(tmp_path / "out"))


def test_changed_weights_are_refused(whole, tmp_path):
    convert.write_folder(convert.convert([whole]), tmp_path / "out")
    arrays = bundle.read(tmp_path / "out").parts["video"].arrays
    arrays["params/encoder/class_embedding"][0] += 1
    shutil.rmtree(tmp_path / "out/video")
    checkpoint.save_weights(tmp_path / "out/video", unflatten_dict(arrays, sep="/"))
    with pytest.raises(UserError, match="video are not of one making"):
        sources.open_source(str(tmp_path / "out"))
    # What a training kept may hold NaN, with the right checksum: it is told.
    model = mini.model(TINY, classes=3)
    arrays = made.fill(numbers.shapes_of(model, 48))
    arrays["params/head_norm/bias"] = np.full(64, np.nan, np.float32)
    made.keep(tmp_path / "nan", model, arrays)
    refused(tmp_path / "nan", tmp_path / "new", "head_norm/bias: holds NaN")
    with pytest.raises(UserError, match="nan: 1 problem"):
        export.write_torch(str(tmp_path / "nan"), tmp_path / "n.safetensors")


def test_another_activation_is_refused(tmp_path):
    source = made.save(tmp_path / "model.safetensors", STATES["hugging_face"])
    for name, config, good in [
        ("config.json", {"text_config": {}, "vision_config": {}}, True),
        ("config.json", {"text_config": {"hidden_act": "gelu"}}, False),
        ("open_clip_config.json", {"model_cfg": {"quick_gelu": True}}, True),
        ("open_clip_config.json", {"model_cfg": {"embed_dim": 512}}, False),
        ("config.json", {"hidden_act": "gelu", "hidden_size": 512}, False),
        ("config.json", {"hidden_act": "quick_gelu"}, True),
        ("config.json", [], False),
    ]:
        (tmp_path / name).write_text(json.dumps(config))
        if good:
            assert not convert.convert([str(tmp_path)]).problems  # a model's folder
        else:
            with pytest.raises(UserError, match="gelu|not a model's configuration"):
                convert.convert([source])
        (tmp_path / name).unlink()


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(UserError, match="holds none of model.safetensors"):
        convert.convert([str(tmp_path)])


def test_hub_names(monkeypatch, tmp_path):
    for name in ("hf://owner/name", "hf://owner//file", "hf://"):
        with pytest.raises(UserError, match="expected hf://owner/name/file"):
            convert.convert([name])
    asked = []

    def fetch(repo, name):
        asked.append((repo, name))
        if name != "sub/model.safetensors":
            raise hub.EntryNotFoundError(name)
        return made.save(tmp_path / "model.safetensors", STATES["clip"])

    monkeypatch.setattr(hub.huggingface_hub, "hf_hub_download", fetch)
    source = "hf://owner/name/sub/model.safetensors"
    found = convert.convert([source])
    assert not found.problems
    assert asked[0] == ("owner/name", "sub/model.safetensors")
    # Its companions are those of its own folder, and its lineage says whose it is.
    assert asked[1:] == [("owner/name", f"sub/{name}") for name in hub.BESIDE]
    assert "tokenizer.json" in hub.BESIDE
    assert [record["name"] for record in found.files] == [source]
    with pytest.raises(UserError, match="hf://owner/name/other: cannot be fetched"):
        convert.convert(["hf://owner/name/other"])


@pytest.mark.parametrize("known", [None, object()])
def test_companions_that_cannot_be_fetched(monkeypatch, tmp_path, known):
    """Without them nobody knows the activation; known to be absent is another thing."""
    weights = made.save(tmp_path / "model.safetensors", STATES["clip"])

    def fetch(repo, name):
        if name != "model.safetensors":
            raise hub.LocalEntryNotFoundError("no network")
        return weights

    def cached(repo, name):
        return known

    monkeypatch.setattr(hub.huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.setattr(hub.huggingface_hub, "try_to_load_from_cache", cached)
    if known:
        assert not convert.convert(["hf://o/n/model.safetensors"]).problems
    else:
        with pytest.raises(UserError, match="vocab.json cannot be fetched.*no network"):
            convert.convert(["hf://o/n/model.safetensors"])


def test_into_is_for_clip(whole, tmp_path):
    with pytest.raises(UserError, match="--into=resnet: expected one of"):
        convert.convert([whole], into="resnet")
    with pytest.raises(UserError, match="takes CLIP's image towers"):
        convert.convert([whole], into="uniformer_v2")


def test_a_tokenizer_alone_or_of_another_size(golden, tmp_path):
    vocab = made.save(tmp_path / "c.safetensors", STATES["clip"])
    assert bundle.tokenizer_in(golden / "tokenizer").size == 49408
    assert bundle.tokenizer_in(tmp_path) is None
    with pytest.raises(UserError, match="no tokenizer of 100 ids"):
        load.load_text(vocab, TINY)
