"""Safetensors files as arrays that are mapped from the file."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors

from merclip_jax.errors import UserError
from merclip_jax.printable import printable
from merclip_jax.weights.formats.bounded import check_size
from merclip_jax.weights.problems import misfit

HEADER = 2**24  # bytes; that of a model of 100,000 tensors has 10 MiB
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


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays by key; UserError when the file is damaged or of other types."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length <= path.stat().st_size:  # else it is truncated, as the library will say
        check_size(path, length, HEADER, "a safetensors header")
    try:
        # The library checks the header and every offset. The arrays are mapped here,
        # because its NumPy reader has no bfloat16 and copies.
        with safetensors.safe_open(path, framework="np"):
            pass
        with open(path, "rb") as file:
            file.seek(8)
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        foreign = [
            f"{key}: of type {entry['dtype']}, expected one of {', '.join(_DTYPES)}"
            for key, entry in header.items()
            if entry["dtype"] not in _DTYPES
        ]
        if foreign:
            raise misfit(str(path), foreign)
        if not header:  # nothing to map: NumPy refuses an empty file
            return {}
        data = np.memmap(path, np.uint8, "r")[8 + length :]
        return {
            key: np.asarray(data[slice(*entry["data_offsets"])])
            .view(_DTYPES[entry["dtype"]])
            .reshape(entry["shape"])
            for key, entry in header.items()
        }
    except (
        safetensors.SafetensorError,
        OSError,
        ValueError,
        RecursionError,
        OverflowError,
    ) as error:
        told = printable(str(error))
        raise UserError(f"{path}: not a whole safetensors file ({told})") from error
