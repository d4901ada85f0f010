"""Reads weight files without running what they hold: torch, TorchScript, safetensors.

Arrays are mapped from the file where its format allows, so that reading costs no memory
until an array is used.
"""

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from merclip_jax.errors import UserError
from merclip_jax.weights.formats.torchscript import is_torchscript, read_torchscript
from merclip_jax.weights.match import fail

NESTS = ("state_dict", "model_state", "model_state_dict", "model")
# What trainers save beside the tensors, none of which is needed: read as nothing.
_INERT = (
    "_codecs.encode",
    "argparse.Namespace",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
)
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


class Checkpoint(NamedTuple):
    """A weight file: where it was read, and its arrays by key.

    `nested` are the keys under which the arrays lay, such as ("state_dict",).
    """

    path: Path
    state: dict[str, np.ndarray]
    nested: tuple[str, ...]


def read(path: Path) -> Checkpoint:
    """The arrays of one file; UserError names it when it is damaged, unsafe or empty.

    Pickles are read as data only: one that names anything but tensors is refused.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise UserError(f"{path}: the file is empty")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        found = _safetensors(path)
    else:
        found = _torch(path, zipped=head[:2] == b"PK")
    nested = []
    while isinstance(found, Mapping):
        name = next((n for n in NESTS if isinstance(found.get(n), Mapping)), None)
        if name is None:
            break
        nested.append(name)
        found = found[name]
    if not isinstance(found, Mapping):
        raise UserError(
            f"{path}: holds a {type(found).__name__}, expected tensors by name, plain "
            f"or under one of {', '.join(NESTS)}"
        )
    if not found:
        raise UserError(f"{path}: holds no tensors")
    strange = [
        f"{key}: a {type(value).__name__}, expected a tensor"
        for key, value in found.items()
        if not isinstance(value, np.ndarray)
    ]
    if strange:
        raise fail(str(path), strange)
    return Checkpoint(path, dict(found), tuple(nested))


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Inert:
    """Stands in for what trainers save beside the tensors; it does nothing."""

    def __init__(self, *args):
        del args

    def __setstate__(self, state):
        del state


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        # It checks the header and every offset; its NumPy arrays lack bfloat16.
        with safetensors.safe_open(path, framework="np"):
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from error
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))
    header.pop("__metadata__", None)
    foreign = [
        f"{key}: of type {entry['dtype']}, expected one of {', '.join(_DTYPES)}"
        for key, entry in header.items()
        if entry["dtype"] not in _DTYPES
    ]
    if foreign:
        raise fail(str(path), foreign)
    if not header:
        return {}
    data = np.memmap(path, np.uint8, "r")[start:]
    return {
        key: np.asarray(data[slice(*entry["data_offsets"])])
        .view(_DTYPES[entry["dtype"]])
        .reshape(entry["shape"])
        for key, entry in header.items()
    }


def _torch(path: Path, *, zipped: bool):
    try:
        if zipped and is_torchscript(path):
            return read_torchscript(path)
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces what it will change
            inert = [(_Inert, name) for name in _INERT]
            with torch.serialization.safe_globals(inert):
                found = torch.load(
                    path, map_location="cpu", weights_only=True, mmap=zipped or None
                )
        return _arrays(found, torch)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named:
            raise UserError(
                f"{path}: refused, because it names {named[1]} beside its tensors, and "
                "loading that could run code"
            ) from error
        raise UserError(
            f"{path}: not a whole PyTorch file ({_first_line(error)})"
        ) from error
    except ImportError as error:
        raise UserError(
            f"{path}: reading PyTorch's own files needs torch; from the project's "
            "folder, pip install -e '.[convert]'"
        ) from error
    except Exception as error:  # torch raises whatever its readers happen to
        raise UserError(
            f"{path}: not a whole PyTorch file ({_first_line(error)})"
        ) from error


def _arrays(value, torch):
    """Tensors as arrays, in whatever nest of dicts they lie."""
    if isinstance(value, Mapping):
        return {str(key): _arrays(item, torch) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return value


def _first_line(error: Exception) -> str:
    text = str(error).split("WeightsUnpickler error:")[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else repr(error)
