"""Damaged files, and small ones that would take the machine."""

import zipfile

import numpy as np
import pytest

from merclip_jax.errors import UserError
from merclip_jax.weights import sources
from merclip_jax.weights.formats import pickles
from tests.weights import torch_files
from tests.weights.test_checkpoints import UNIFORMER, opened, same
from tests.weights.torch_files import View


def flipped(path, suffix):
    """One bit of an entry's bytes turned over."""
    start, size = torch_files.entry(path, suffix)
    data = bytearray(path.read_bytes())
    data[start + size // 2] ^= 1
    path.write_bytes(data)


def test_checksums_of_entries_are_compared(tmp_path):
    path = tmp_path / "w.pth"
    rng = {"seen": np.arange(9, dtype=np.int64)}
    for suffix in ("/data/3", "/data.pkl"):
        torch_files.save(path, {"model": UNIFORMER, "optimizer": rng})
        flipped(path, suffix)
        with pytest.raises(UserError, match=rf"w.pth: (.|\n)*archive{suffix}.*CRC-32"):
            sources.open_source(str(path))
    # What is never read is never wrong.
    torch_files.save(path, {"model": UNIFORMER, "optimizer": rng})
    flipped(path, f"/data/{len(UNIFORMER)}")
    assert not sources.open_source(str(path)).problems


SMALL = np.zeros(4, np.float32)
KEY = "transformer.temporal_cls_token"


@pytest.mark.parametrize(
    "view",
    [
        View(SMALL, (10**7, 10**5), (0, 0)),
        View(SMALL, (31250000, 64), (0, 0)),
        View(SMALL, (2, 4), (1, 1)),
        View(SMALL, (4, 2), (1, 0)),
        View(SMALL, (5,), (1,)),
        View(SMALL, (1,), (1,), 4),
        View(SMALL, (2,), (2**62,)),
        View(SMALL, (2**40,) * 20, (0,) * 20),
    ],
)
def test_tensors_larger_than_their_numbers(view, tmp_path):
    with pytest.raises(UserError, match=r"w.pth: .*(repeat|1 problem)"):
        opened(tmp_path, {"state_dict": UNIFORMER | {KEY: view}})


def test_the_stride_of_a_single_entry_is_free(tmp_path):
    key = "transformer.temporal_cls_token"
    view = View(UNIFORMER[key], (1, 1, UNIFORMER[key].size), (2**62, 2**40, 1))
    same(opened(tmp_path, UNIFORMER | {key: view}), UNIFORMER, tmp_path)


@pytest.mark.parametrize(
    "size, stride", [((-1,), (1,)), ((2,), (1, 1)), (("a",), (1,)), (((2,),), (1,))]
)
def test_tensors_that_are_none(size, stride, tmp_path):
    view = View(SMALL, size, stride)
    with pytest.raises(UserError, match="w.pth: not a whole PyTorch file"):
        opened(tmp_path, {"state_dict": UNIFORMER | {KEY: view}})


def nested(steps, *, times=60):
    """A pickle whose value holds the one before twice, and so on."""
    return b"\x80\x02" + steps(None) + b"".join(steps(i) for i in range(times)) + b"."


def dicts(i):
    if i is None:
        return b"}q\x00"
    one = b"X\x01\x00\x00\x00xh" + bytes([i]) + b"X\x01\x00\x00\x00yh" + bytes([i])
    return b"0}q" + bytes([i + 1]) + b"(" + one + b"u"


def modules(i):
    made = b"c__torch__\nM\n)\x81"
    if i is None:
        return made + b"q\x00"
    _, entries = dicts(i).split(b"q" + bytes([i + 1]) + b"(", 1)
    return b"0" + made + b"q" + bytes([i + 1]) + b"}(" + entries + b"b"


def tuples_as_a_key(i):
    return b")q\x00" if i is None else b"0h\x00h\x00\x86q\x00"


@pytest.mark.parametrize(
    "steps, message",
    [
        (nested(dicts), "a dict without tensors"),
        (nested(modules), "expected tensors by name"),
        (nested(tuples_as_a_key)[:-1] + b"0}h\x00Ns.", "a dict without tensors"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "holds no tensors"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\x00\x00\x00.", "not a whole PyTorch file"),
        (b"\x80\x04" + b"\x8f" * 60_000 + b".", "more than 50000 steps"),
        (b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".", "holds a list"),
    ],
)
def test_small_pickles_that_take_the_machine(steps, message, tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "OPCODES", 50_000)
    for save in (torch_files.save, lambda path, _, steps: path.write_bytes(steps)):
        save(tmp_path / "w.pth", None, steps=steps)
        with pytest.raises(UserError, match=f"w.pth: .*({message})"):
            sources.open_source(str(tmp_path / "w.pth"))


def test_entries_that_inflate(tmp_path):
    path, packed = tmp_path / "w.pth", zipfile.ZIP_DEFLATED
    torch_files.save(path, {}, extra=[("archive/code/x.py", bytes(2**26 + 1))])
    with pytest.raises(UserError, match="w.pth: a program of .* expected at most"):
        sources.open_source(str(path))
    torch_files.save(path, {}, steps=bytes(2**28 + 1), packed=packed)
    with pytest.raises(UserError, match="w.pth: an entry archive/data.pkl of .* at mo"):
        sources.open_source(str(path))


@pytest.mark.parametrize("number", ["129", "999999999", "9" * 5000])
@pytest.mark.parametrize(
    "block", ["transformer.resblocks.{}.ln_1", "transformer.dec.{}.ln_1"]
)
def test_a_block_of_any_number(block, number, tmp_path):
    """A module of so many blocks would be made, to be compared."""
    key = block.format(number) + ".weight"
    with pytest.raises(UserError, match="w.pth: .*(\n.*)*a block of the number"):
        opened(tmp_path, UNIFORMER | {key: np.zeros(32, np.float32)})
