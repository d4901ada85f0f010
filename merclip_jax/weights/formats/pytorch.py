"""PyTorch's own files, read without torch and without running anything.

Three formats: the zip archive that `torch.save` writes since 1.6 (`data.pkl` describes
the object, `data/N` are the tensors' bytes), the row of pickles before that, and the
TorchScript archive, a zip with a program in `code/`, which is never run.
"""

import mmap
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.printable import printable
from merclip_jax.weights.formats import pickles
from merclip_jax.weights.formats.archive import Archive
from merclip_jax.weights.formats.bounded import Bounded, check_size
from merclip_jax.weights.formats.pickles import Damaged, Harmful
from merclip_jax.weights.formats.tensors import FUNCTIONS, Storage, storage_type

_MAGIC = 0x1950A86A20F9469CFC6C
# What zipfile and struct raise for bytes that were changed; Damaged is a ValueError.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError)
_DAMAGE += (ValueError, KeyError, RuntimeError)
_PROGRAM = 2**26  # bytes of a TorchScript program; CLIP's has half a MiB


def read_pytorch(path: Path, *, zipped: bool) -> object:
    """Whatever lies in a torch file, tensors described and not yet read.

    Args:
        path: of the file.
        zipped: whether it is a zip.

    Returns:
        A nest of dicts with `Tensor`s by name, stubs, or what else was saved.

    Raises:
        UserError: it is damaged or would run a program in other readers.
    """
    try:
        return _zip(path) if zipped else _row(path)
    except Harmful as error:
        raise UserError(
            f"{path}: refused, because it names {printable(str(error))}; weights never "
            "do, and reading them with torch could run code. Nothing of it was run"
        ) from error
    except _DAMAGE as error:
        told = printable(str(error))
        raise UserError(f"{path}: not a whole PyTorch file ({told})") from error


def zip_names(path: Path) -> list[str]:
    """The entries of a zip; UserError when it is damaged."""
    try:
        return list(Archive(path).entries)
    except _DAMAGE as error:
        told = printable(str(error))
        raise UserError(f"{path}: not a whole PyTorch file ({told})") from error


def _zip(path: Path) -> object:
    archive = Archive(path)
    found = [name for name in archive.entries if name.endswith("/data.pkl")]
    if len(found) != 1:
        raise Damaged(f"{len(found)} entries named data.pkl, expected one")
    root = found[0].removesuffix("data.pkl")
    _check_program(archive)
    # Not converted on the fly: no such file was ever seen.
    order = f"{root}byteorder"
    if order in archive.entries and archive.read(order, limit=100) != b"little":
        raise Damaged("numbers are not little-endian")
    storages: dict[str, Storage] = {}

    def storage(pid: tuple) -> Storage:
        kind, of, key, *_ = pid
        if kind != "storage":
            raise Damaged(f"{kind!r}: expected a storage")
        entry = f"{root}data/{key}"
        if entry not in storages:
            dtype = storage_type(of)
            storages[entry] = Storage(dtype, lambda: archive.mapped(entry))
        return storages[entry]

    stream = Bounded(archive.read(found[0]))
    return pickles.load(stream, functions=FUNCTIONS, persistent=storage)


def _check_program(archive: Archive) -> None:
    """Refuses a TorchScript archive that makes its tensors by a program."""
    # torch's own loader calls a module's __setstate__, which is a program's. Its
    # tensors are whatever that makes of them, so that reading them is no use.
    program = [name for name in archive.entries if name.endswith(".py")]
    size = sum(archive.entries[name].file_size for name in program)
    check_size(archive.path, size, _PROGRAM, "a program")
    for name in program:
        if b"__setstate__" in archive.read(name):
            raise Harmful(f"{name}:__setstate__")


def _row(path: Path) -> object:
    """The format before zip: pickles one after the other, then all numbers."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    stream = Bounded(data)
    first = pickles.load(stream, functions=FUNCTIONS)
    if first != _MAGIC:  # a pickle that torch did not write, of NumPy arrays say
        return first
    version, system = (pickles.load(stream, functions=FUNCTIONS) for _ in range(2))
    if version != 1001 or not isinstance(system, dict):
        raise Damaged(f"version {version!r} of torch's older format, expected 1001")
    if system.get("little_endian") is not True:
        raise Damaged("numbers are not little-endian")
    storages: dict[str, tuple[Storage, int]] = {}

    def storage(pid: tuple) -> object:
        if pid[0] == "module":  # a class, and its source, which is never run
            return pid[1]
        kind, of, key, _, count, view = pid
        if kind != "storage" or view is not None:
            raise Damaged(f"{kind!r}: expected a whole storage")
        dtype = storage_type(of)
        key = str(key)
        if key not in storages:
            storages[key] = Storage(dtype), int(count)
        return storages[key][0]

    found = pickles.load(stream, functions=FUNCTIONS, persistent=storage)
    keys = pickles.load(stream, functions=FUNCTIONS)
    if sorted(map(str, keys)) != sorted(storages):
        raise Damaged("its list of storages is not that of its tensors")
    at = stream.tell()
    for key in map(str, keys):
        at = _placed(data, at, *storages[key])
    return found


def _placed(data: mmap.mmap, at: int, storage: Storage, count: int) -> int:
    """Gives a storage its bytes; returns where they end."""
    (told,) = struct.unpack("<q", data[at : at + 8])
    size = (storage.dtype or np.dtype(np.uint8)).itemsize
    start, end = at + 8, at + 8 + count * size
    if told != count or count < 0 or end > len(data):
        raise Damaged(f"a storage of {count} numbers at {at} is not all there")
    storage.data = lambda: memoryview(data)[start:end]
    return end
