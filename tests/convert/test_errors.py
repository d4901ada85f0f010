"""Damaged and foreign files: one clear error, nothing left behind."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from merclip_jax.convert import convert, read, sources, start, write
from merclip_jax.errors import UserError
from tests.convert import made
from tests.convert.made import TINY

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


def test_q_without_k_and_v(tmp_path):
    state = dict(STATES["hugging_face"])
    del state["vision_model.encoder.layers.0.self_attn.k_proj.weight"]
    path = tmp_path / "hf.safetensors"
    made.save(path, state)
    text = refused(path, tmp_path / "out", "hf.safetensors: 1 problem:")
    assert "q_proj.weight + vision_model" in text and "does not fit" in text


def test_an_existing_destination_is_left_alone(whole, tmp_path):
    found = convert.convert([whole])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        convert.write_folder(found, tmp_path / "out")
    with pytest.raises(UserError, match="is there already"):
        convert.write_torch(whole, tmp_path / "w.safetensors")
    assert (tmp_path / "out/mine").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    convert.write_folder(found, tmp_path / "empty")
    assert (tmp_path / "empty/lineage.json").exists()


@pytest.mark.parametrize(
    "error", [OSError("disk full"), ValueError("x"), KeyboardInterrupt]
)
def test_a_failure_leaves_nothing(whole, tmp_path, monkeypatch, error):
    found = convert.convert([whole])

    def fails(path, data):
        raise error

    monkeypatch.setattr(write, "write_atomically", fails)
    expected = KeyboardInterrupt if error is KeyboardInterrupt else UserError
    with pytest.raises(expected):
        convert.write_folder(found, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.safetensors"]


def test_a_damaged_folder(whole, tmp_path):
    convert.write_folder(convert.convert([whole]), tmp_path / "out")
    lineage = tmp_path / "out/lineage.json"
    text = lineage.read_text()
    changed = json.loads(text)
    changed["parts"]["video"]["used"].pop("params/encoder/class_embedding")
    for content, message in [
        (text[:-9], "lineage.json: not a whole lineage"),
        ("[]", "lineage.json: not a whole lineage"),
        (text.replace("lineage/1", "lineage/9"), "schema is 'merclip_jax.lineage/9'"),
        (json.dumps(changed), "are not of one making"),
    ]:
        lineage.write_text(content)
        with pytest.raises(UserError, match=message):
            sources.open_source(str(tmp_path / "out"))
    lineage.write_text(text)
    (tmp_path / "out/video/_METADATA").write_text("{")
    with pytest.raises(UserError, match="video: these weights cannot be read"):
        sources.open_source(str(tmp_path / "out"))


def test_another_activation_is_refused(tmp_path):
    source = made.save(tmp_path / "model.safetensors", STATES["hugging_face"])
    for name, config, good in [
        ("config.json", {"text_config": {}, "vision_config": {}}, True),
        ("config.json", {"text_config": {"hidden_act": "gelu"}}, False),
        ("open_clip_config.json", {"model_cfg": {"quick_gelu": True}}, True),
        ("open_clip_config.json", {"model_cfg": {"embed_dim": 512}}, False),
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
            raise FileNotFoundError(name)
        return made.save(tmp_path / "model.safetensors", STATES["clip"])

    monkeypatch.setattr(read.huggingface_hub, "hf_hub_download", fetch)
    found = convert.convert(["hf://owner/name/sub/model.safetensors"])
    assert not found.problems
    assert asked[0] == ("owner/name", "sub/model.safetensors")
    with pytest.raises(UserError, match="hf://owner/name/other: cannot be fetched"):
        convert.convert(["hf://owner/name/other"])


def test_into_is_for_clip(whole, tmp_path):
    with pytest.raises(UserError, match="--into=resnet: expected one of"):
        convert.convert([whole], into="resnet")
    with pytest.raises(UserError, match="takes CLIP's image towers"):
        convert.convert([whole], into="uniformer_v2")


def test_a_tokenizer_alone_or_of_another_size(golden, tmp_path):
    vocab = made.save(tmp_path / "c.safetensors", STATES["clip"])
    opened = sources.open_source(vocab)
    opened.tokenizer = write.tokenizer_in(golden / "tokenizer", context=77)
    assert opened.tokenizer.size == 49408
    assert write.tokenizer_in(tmp_path, context=77) is None
    with pytest.raises(UserError, match="no tokenizer of 100 ids"):
        start.load_text(vocab, TINY)
