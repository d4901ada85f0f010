"""PyTorch's own file formats: pickles old and new, nested, TorchScript, unsafe."""

import argparse
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch

from merclip_jax.errors import UserError
from merclip_jax.weights import adapt, convert, sources
from tests.weights import made

STATES = made.states()


def tensors(name):
    # 0-d arrays become 0-d tensors; copies, because torch shares memory.
    return {key: torch.tensor(array) for key, array in STATES[name].items()}


def same(source, name, tmp_path):
    """The file converts to what the family's safetensors file converts to."""
    reference = made.save(tmp_path / "reference.safetensors", STATES[name])
    expected, found = convert.convert([reference]), convert.convert([str(source)])
    assert not found.problems
    assert found.parts.keys() == expected.parts.keys()
    for part, fitted in found.parts.items():
        assert fitted.arrays.keys() == expected.parts[part].arrays.keys()
        for path, array in fitted.arrays.items():
            np.testing.assert_array_equal(array, expected.parts[part].arrays[path])
    return found


@pytest.mark.parametrize("name", STATES)
def test_every_family_as_a_pickle(name, tmp_path):
    torch.save(tensors(name), tmp_path / "weights.pth")
    same(tmp_path / "weights.pth", name, tmp_path)


@pytest.mark.parametrize("under", ["state_dict", "model_state", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_nested_and_prefixed(under, prefix, tmp_path):
    state = {prefix + key: value for key, value in tensors("ssv2").items()}
    whole = {under: state, "epoch": 7, "meta": {"time": "now"}, "optimizer": {}}
    torch.save(whole, tmp_path / "weights.pyth")
    found = same(tmp_path / "weights.pyth", "ssv2", tmp_path)
    assert found.files[0]["nested"] == [under]
    assert found.files[0]["prefixes"] == ([prefix] if prefix else [])


def test_the_old_format_without_zip(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(tensors("kinetics"), path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    same(path, "kinetics", tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_other_precisions_become_float32(dtype, suffix, tmp_path):
    from safetensors.torch import save_file

    state = {
        k: v.to(dtype) if v.is_floating_point() else v
        for k, v in tensors("clip").items()
    }
    path = tmp_path / f"half.{suffix}"
    (torch.save if suffix == "pt" else save_file)(state, path)
    fitted = convert.convert([str(path)]).parts["video"]
    assert not fitted.problems
    bias = fitted.arrays["params/encoder/ln_pre/bias"]
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, state["visual.ln_pre.bias"].float().numpy())
    assert "to float32" in fitted.changed["params/encoder/ln_pre/bias"]


class Tree(torch.nn.Module):
    """A module whose state has given names, as OpenAI's archive has its own."""

    def __init__(self, state):
        super().__init__()
        for key, value in state.items():
            node, (*parents, leaf) = self, key.split(".")
            for name in parents:
                if not hasattr(node, name):
                    node.add_module(name, torch.nn.Module())
                node = getattr(node, name)
            node.register_buffer(leaf, value)

    def forward(self, x):
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openai_archive(tmp_path, monkeypatch):
    state = {key: value.half() for key, value in tensors("clip").items()}
    module = Tree(state)
    module.register_buffer("input_resolution", torch.tensor(48))
    module.register_buffer("context_length", torch.tensor(77))
    module.register_buffer("vocab_size", torch.tensor(100))
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.save(torch.jit.trace(module, torch.zeros(1)), path)
    monkeypatch.setitem(sys.modules, "torch", None)  # not needed to read it
    found = convert.convert([str(path)])
    assert not found.problems
    dropped = found.parts["video"].dropped | found.parts["text"].dropped
    assert dropped["input_resolution"] == "a number, seen in the shapes"
    kernel = found.parts["text"].arrays["params/block_0/attn/in_proj_kernel"]
    theirs = state["transformer.resblocks.0.attn.in_proj_weight"].float().numpy().T
    np.testing.assert_array_equal(kernel, theirs)


class Scripted(torch.nn.Module):
    """A program that writes a file when its archive is opened by torch."""

    def __init__(self, mark: str):
        super().__init__()
        self.mark = mark
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[str, torch.Tensor, bool]:
        return self.mark, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]) -> None:
        self.mark = state[0]
        self.weight = state[1]
        self.training = state[2]
        torch.save(state[1], state[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_archive_that_would_run_code_is_refused(tmp_path):
    mark, path = tmp_path / "was_run", tmp_path / "evil.pt"
    torch.jit.save(torch.jit.script(Scripted(str(mark))), path)
    torch.jit.load(path)
    assert mark.exists()  # so does torch's own loader
    mark.unlink()
    with pytest.raises(UserError, match="evil.pt: refused.*__setstate__.*run code"):
        convert.convert([str(path)])
    assert not mark.exists()


def test_a_pickle_in_an_archive_that_would_run_code_is_refused(tmp_path):
    mark, path = tmp_path / "was_run", tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/constants.pkl", b"")
        archive.writestr("a/data.pkl", pickle.dumps(Runs(mark), protocol=2))
    with pytest.raises(UserError, match="evil.pt: refused.*io.open.*run code"):
        convert.convert([str(path)])
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_truncated_archive(tmp_path):
    path = tmp_path / "cut.pt"
    torch.jit.save(torch.jit.trace(Tree(tensors("clip")), torch.zeros(1)), path)
    data = path.read_bytes()
    path.write_bytes(data[:-1000])
    with pytest.raises(UserError, match="cut.pt: not a whole PyTorch file"):
        convert.convert([str(path)])


class Runs:
    """A pickle of it calls a function when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(zipped, tmp_path):
    mark = tmp_path / "was_run"
    path = tmp_path / "evil.pth"
    whole = {"state_dict": tensors("ssv2"), "meta": Runs(mark)}
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="evil.pth: refused.*io.open.*run code"):
        convert.convert([str(path)])
    path.write_bytes(pickle.dumps(Runs(mark)))
    with pytest.raises(UserError, match="evil.pth: (refused|not a whole)"):
        convert.convert([str(path)])
    assert not mark.exists()


class HistoryBuffer:
    """A trainer's own class, as mmengine's HistoryBuffer."""

    def __init__(self):
        self.values = np.arange(3.0)

    def __setstate__(self, state):
        raise AssertionError("the trainer's own code was run")


def test_what_trainers_save_beside_is_left_alone(tmp_path, monkeypatch):
    module = types.ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(HistoryBuffer, "__module__", module.__name__)
    beside = {
        "message_hub": {
            "log_scalars": {"loss": HistoryBuffer()},
            "best": np.float64(0.5),
        },
        "meta": {"seen": np.arange(3)},
        "args": argparse.Namespace(lr=1.0),
    }
    torch.save({"state_dict": tensors("mer_clip"), **beside}, tmp_path / "epoch_50.pth")
    same(tmp_path / "epoch_50.pth", "mer_clip", tmp_path)


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.001])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated(keep, zipped, tmp_path):
    path = tmp_path / "cut.pth"
    torch.save(tensors("ssv2"), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match="cut.pth: not a whole PyTorch file"):
        convert.convert([str(path)])


@pytest.mark.parametrize(
    "content, message",
    [
        (torch.zeros(3), "holds a Tensor, expected tensors by name"),
        ([1, 2], "holds a list, expected tensors by name"),
        ({}, "holds no tensors"),
        ({"a": torch.zeros(2), "b": 3}, r"none of UniFormerV2.*\n  a \(2,\)"),
        ({"model": {"a.b": torch.zeros(2)}}, r"none of UniFormerV2.*\n  a.b \(2,\)"),
    ],
)
def test_pickles_of_other_things(content, message, tmp_path):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=message) as error:
        sources.open_source(str(tmp_path / "odd.pth"))
    assert "odd.pth" in str(error.value)


def test_bytes_that_are_no_weights(tmp_path):
    for data in (b"\x80\x02hello", b"PK\x03\x04 no zip", bytes(range(256)) * 9):
        (tmp_path / "odd.pth").write_bytes(data)
        with pytest.raises(UserError, match="odd.pth: not a whole PyTorch file"):
            sources.open_source(str(tmp_path / "odd.pth"))


@pytest.mark.parametrize("old, new", [(14, 16), (14, 24), (16, 14), (7, 14), (14, 7)])
def test_positions_as_torch_resizes_them(old, new):
    table = np.random.default_rng(0).normal(size=(1 + old * old, 32)).astype(np.float32)
    grid = torch.tensor(table[1:].T.reshape(1, 32, old, old))
    grid = torch.nn.functional.interpolate(
        grid, size=(new, new), mode="bicubic", align_corners=False
    )
    ours = adapt.resize_positions(table, new)
    np.testing.assert_array_equal(ours[0], table[0])
    theirs = grid[0].reshape(32, new * new).numpy().T
    np.testing.assert_allclose(ours[1:], theirs, rtol=1e-4, atol=1e-5)


def test_an_archive_without_checksums(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tensors("ssv2"), tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    same(tmp_path / "w.pth", "ssv2", tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_expanded_and_shared_tensors(zipped, tmp_path):
    path, state = tmp_path / "w.pth", tensors("ssv2")
    wide = {"transformer.temporal_cls_token": torch.zeros(1).expand(10**6, 10**6)}
    torch.save(state | wide, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="w.pth: (1 problem|its tensors together)"):
        convert.convert([str(path)])
    # Views of one storage, transposed and cut, are whole tensors.
    stored = torch.stack([state["ln_pre.weight"], state["ln_pre.bias"]], 1)
    views = {"ln_pre.weight": stored[:, 0], "ln_pre.bias": stored.T[1]}
    torch.save(state | views, path, _use_new_zipfile_serialization=zipped)
    same(path, "ssv2", tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_of_torchs_own(zipped, tmp_path):
    """Optimiser, scheduler, scaler, random states; a whole module; an average of it."""
    model = torch.nn.DataParallel(Tree(tensors("ssv2")))
    average = torch.optim.swa_utils.AveragedModel(model)
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    whole = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1).state_dict(),
        "rng": torch.get_rng_state(),
        "numpy_rng": np.random.default_rng(0).bit_generator.state,
        "dtype": torch.float16,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "swa": average.state_dict(),
    }
    path = tmp_path / "w.pth"
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    found = same(path, "ssv2", tmp_path)
    assert found.files[0]["weights"] == ["model", "raw"]
    assert found.files[0]["other_weights"] == ["swa (ema)"]
    torch.save(model.module, path, _use_new_zipfile_serialization=zipped)
    same(path, "ssv2", tmp_path)


def test_arrays_of_numpy(tmp_path):
    """Checkpoints that other readers made into arrays, in torch's file or alone."""
    state = {k: np.asarray(v) for k, v in STATES["ssv2"].items()}
    torch.save({"model": state}, tmp_path / "w.pth")
    same(tmp_path / "w.pth", "ssv2", tmp_path)
    for protocol in (2, 4):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": state}, protocol))
        same(tmp_path / "w.pkl", "ssv2", tmp_path)


def test_tensors_of_pickles_own(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(tensors("ssv2")))
    with pytest.raises(
        UserError, match="w.pkl: .*pickle.dump.*write it with torch.sav"
    ):
        convert.convert([str(tmp_path / "w.pkl")])
