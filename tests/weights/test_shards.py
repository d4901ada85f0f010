"""Weights in several files: by their folder, by their index, part by part."""

import json

import numpy as np
import pytest

from merclip_jax.errors import UserError
from merclip_jax.weights import convert, hub, provenance, sources
from tests.weights import made, torch_files
from tests.weights.test_checkpoints import CLIP, same

STATE = made.hugging_face(CLIP)


def names(count, *, stem="model", suffix=".safetensors"):
    return [f"{stem}-{i + 1:05}-of-{count:05}{suffix}" for i in range(count)]


def sharded(folder, *, count=3, stem="model", suffix=".safetensors", index=True):
    """A state in parts; returns key -> part as the index has it."""
    folder.mkdir(exist_ok=True)
    save = made.save if suffix == ".safetensors" else torch_files.save
    parts = names(count, stem=stem, suffix=suffix)
    where = {key: parts[i % count] for i, key in enumerate(sorted(STATE))}
    for name in parts:
        save(folder / name, {k: STATE[k] for k, at in where.items() if at == name})
    if index:
        told = {"metadata": {"total_size": 1}, "weight_map": where}
        (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(told))
    return where


FORMS = [("model", ".safetensors"), ("pytorch_model", ".bin"), ("mine", ".safetensors")]


@pytest.mark.parametrize("stem, suffix", FORMS)
def test_by_folder_by_index_and_by_parts(stem, suffix, tmp_path):
    sharded(tmp_path / "m", stem=stem, suffix=suffix)
    index = f"{stem}{suffix}.index.json"
    parts = [str(tmp_path / "m" / n) for n in names(3, stem=stem, suffix=suffix)]
    plain = tmp_path / "plain"
    plain.mkdir()
    for given in ([tmp_path / "m"], [tmp_path / "m" / index], parts, parts[::-1]):
        (found,) = sources.open_all(list(map(str, given)))
        same(found, STATE, plain)
        files = [record["name"] for record in found.files]
        assert len(files) == len(set(files)) == (3 if given[1:] else 4)
        sums = provenance.identity(list(found.parts.values()))["init.video_sha256"]
        assert len(set(sums)) == len(files)
    assert not convert.convert([str(tmp_path / "m")]).problems


def test_a_folder_of_parts_without_an_index(tmp_path):
    sharded(tmp_path / "m", index=False)
    same(sources.open_source(str(tmp_path / "m")), STATE, tmp_path)
    (tmp_path / "m" / names(3)[1]).unlink()
    with pytest.raises(UserError, match="file in 3 parts; model-00002-of-00003.*lacks"):
        sources.open_source(str(tmp_path / "m"))


def test_a_part_alone(tmp_path):
    sharded(tmp_path / "m")
    first, second, third = (str(tmp_path / "m" / name) for name in names(3))
    for given in ([second], [second, first]):
        with pytest.raises(UserError, match="a part of a file in 3 parts") as error:
            convert.convert(given)
        for path in (first, second, third):
            name = path.rpartition("/")[2]
            assert (f"{name} lack" in str(error.value)) == (
                path not in given and path == third
            ) or len(given) == 1
        assert "model-00003-of-00003.safetensors" in str(error.value)


def edited(folder, change):
    path = folder / "model.safetensors.index.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def moved(told):
    key = next(iter(told["weight_map"]))
    told["weight_map"][key] = names(3)[2]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda told: told.clear(), "no weight_map"),
        (lambda told: told.update(weight_map=[]), "no weight_map"),
        (
            lambda told: told["weight_map"].update(x="../w.safetensors"),
            "beside the ind",
        ),
        (lambda told: told["weight_map"].update(x="/etc/passwd"), "beside the index"),
        (lambda told: told["weight_map"].update(x=3), "3: expected a file beside"),
        (lambda told: told["weight_map"].update(x="gone.bin"), "these lack: gone.bin"),
        (
            lambda told: told["weight_map"].update(x=names(3)[0]),
            "x: not in model-00001",
        ),
        (moved, "in model-00001-of-00003.safetensors; the index says model-00003"),
        (lambda told: told["weight_map"].popitem(), "the index says no part"),
    ],
)
def test_an_index_that_does_not_fit(change, message, tmp_path):
    sharded(tmp_path / "m")
    edited(tmp_path / "m", change)
    for source in ("m", "m/model.safetensors.index.json"):
        with pytest.raises(UserError, match=message) as error:
            sources.open_source(str(tmp_path / source))
        assert "model.safetensors.index.json" in str(error.value)


def test_one_key_in_two_parts(tmp_path):
    where = sharded(tmp_path / "m", index=False)
    part = names(3)[0]
    extra = {k: STATE[k] for k, at in where.items() if at == part or "ias" in k}
    made.save(tmp_path / "m" / part, extra)
    with pytest.raises(UserError, match="in model-00001.* and in model-0000"):
        sources.open_source(str(tmp_path / "m"))


def test_a_damaged_part_is_named(tmp_path):
    sharded(tmp_path / "m")
    part = tmp_path / "m" / names(3)[1]
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(
        UserError, match="model-00002-of-00003.safetensors: not a whole"
    ):
        sources.open_source(str(tmp_path / "m"))


def test_parts_of_the_hub(tmp_path, monkeypatch):
    sharded(tmp_path / "m")
    asked = []

    def fetch(repo, name):
        asked.append(name)
        if not (tmp_path / "m" / name).exists():
            raise hub.EntryNotFoundError(name)
        return str(tmp_path / "m" / name)

    monkeypatch.setattr(hub.huggingface_hub, "hf_hub_download", fetch)
    source = "hf://owner/name/model.safetensors.index.json"
    same(sources.open_source(source), STATE, tmp_path)
    assert asked[:4] == ["model.safetensors.index.json", *names(3)]


def test_a_folder_of_a_training_names_what_it_has(tmp_path):
    for name in ("epoch_3.pth", "epoch_9.pth", "optimizer.pt", "training_args.bin"):
        torch_files.save(tmp_path / name, {"a": np.zeros(2, np.float32)})
    with pytest.raises(UserError, match="; give one of epoch_3.pth, epoch_9.pth$"):
        sources.open_source(str(tmp_path))


@pytest.mark.parametrize(
    "name, message",
    [
        ("__0_0.distcp", "a distributed checkpoint of torch.*dcp_to_torch"),
        ("zero_to_fp32.py", "a DeepSpeed checkpoint.*zero_to_fp32.py FOLDER"),
        ("saved_model.pb", "a TensorFlow model"),
    ],
)
def test_folders_of_other_formats(name, message, tmp_path):
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"{tmp_path.name}: {message}"):
        sources.open_source(str(tmp_path))


def test_a_folder_of_an_adapter(tmp_path):
    state = {"base_model.model.q.lora_A.weight": np.zeros((4, 8), np.float32)}
    made.save(tmp_path / "adapter_model.safetensors", state)
    with pytest.raises(UserError, match="LoRA adapter .rank 4.*without any weights"):
        sources.open_source(str(tmp_path))
