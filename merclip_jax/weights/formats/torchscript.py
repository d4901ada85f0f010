"""Tensors of a TorchScript archive, without torch and without running its program.

An archive is a zip: `data.pkl` pickles the module's attributes, `data/N` are the
tensors' bytes, `code/` is the program, which is never run. Its pickle may name nothing
but modules, which become plain holders of attributes, and tensors, which are mapped
from the file.
"""

import collections
import mmap
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


def is_torchscript(path: Path) -> bool:
    """Whether a zip is a TorchScript archive; zipfile's errors when it is damaged."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, np.ndarray]:
    """The tensors of an archive by dotted name, mapped from the file.

    Raises pickle.UnpicklingError that says "GLOBAL name" when something would run on
    reading, ValueError and zipfile's errors when the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        (pickled,) = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        root = pickled.removesuffix("data.pkl")
        # torch's own loader calls a module's __setstate__, which is a program's. Its
        # tensors are whatever that makes of them, so that reading them is no use.
        for name in archive.namelist():
            if name.endswith(".py") and b"__setstate__" in archive.read(name):
                raise pickle.UnpicklingError(f"GLOBAL {name}:__setstate__")
        # Not converted on the fly: no such file was ever seen.
        order = f"{root}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("numbers are not little-endian")
        with archive.open(pickled) as file:
            module = _Reader(file, _Storages(path, archive, root)).load()
    if not isinstance(module, _Module):
        raise ValueError(f"holds a {type(module).__name__}, expected a module")
    return dict(_tensors(module, "", ()))


class _Module:
    """Stands for any module of an archive: its attributes and nothing else."""

    def __init__(self):
        self.attributes: dict = {}

    def __setstate__(self, state):
        if not isinstance(state, dict):
            raise ValueError("a module without attributes")
        self.attributes = state


class _Storages:
    """Bytes of the tensors, mapped from the archive, where they lie uncompressed."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, root: str):
        self.archive, self.root = archive, root
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __call__(self, dtype: type, key: str) -> np.ndarray:
        # The local header, not the central one, says where the bytes lie: its extra
        # field may be longer, because torch aligns tensors with it.
        entry = self.archive.getinfo(f"{self.root}data/{key}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{entry.filename} is compressed")
        head = entry.header_offset  # then 30 bytes, the name and an extra field
        start = head + 30 + sum(np.frombuffer(self.bytes, "<u2", 2, head + 26).tolist())
        count = entry.file_size // np.dtype(dtype).itemsize
        return np.frombuffer(self.bytes, dtype, count, start)


class _Reader(pickle.Unpickler):
    """Reads a module's attributes; every name but those below is refused."""

    def __init__(self, file, storages: _Storages):
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str) -> object:
        # A list of what may pass, never of what may not: pickle can call anything.
        # Classes of the archive's own program: their attributes are all that is read.
        if module.split(".")[0] == "__torch__":
            return type("_Module", (_Module,), {})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
        }
        known |= {("torch.jit._pickle", of): lambda values: values for of in _LISTS}
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: tuple) -> np.ndarray:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in _DTYPES.values():
            raise ValueError(f"{kind!r}: expected a storage of numbers")
        return self.storages(dtype, str(key))


def _rebuilt(storage, offset, size, stride, *_) -> np.ndarray:
    """A tensor of its storage; ValueError when it reaches beyond."""
    # `as_strided` checks nothing: a forged stride would read the process's memory.
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    empty = 0 in size
    if min([offset, *size, *stride]) < 0 or (last >= len(storage) and not empty):
        raise ValueError(f"a tensor {size} reaches beyond its {len(storage)} numbers")
    if empty:
        return np.empty(size, storage.dtype)
    steps = [s * storage.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(
        storage[offset:], size, steps, writeable=False
    )


def _tensors(
    module: _Module, prefix: str, inside: tuple
) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in module.attributes.items():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            if value in inside:  # a pickle can hold cycles, a module cannot
                raise ValueError(f"the module {prefix}{name} holds itself")
            yield from _tensors(value, f"{prefix}{name}.", (*inside, value))
