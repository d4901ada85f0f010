"""Writes converted folders and PyTorch files whole or not at all; reads folders."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from merclip_jax import checkpoint
from merclip_jax.errors import UserError
from merclip_jax.files import write_atomically
from merclip_jax.tokenizer import FILES, ClipTokenizer
from merclip_jax.weights.match import flatten, unflatten

SCHEMA = "merclip_jax.lineage/2"
LINEAGE = "lineage.json"
WANTED = {"sources", "used", "initialised", "arrays_sha256"}  # of every part


def write_folder(
    dst: Path,
    parts: Mapping[str, Mapping[str, np.ndarray]],
    lineage: Mapping,
    tokenizer: ClipTokenizer | None,
) -> None:
    """A converted folder: an Orbax folder for each part, lineage.json, the tokenizer.

    Written beside `dst` and renamed. Raises UserError when `dst` is there already or
    cannot be written; then nothing of it is left.
    """

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        for name, arrays in parts.items():
            checkpoint.save_weights(folder / name, unflatten(arrays))
        text = json.dumps({"schema": SCHEMA, **lineage}, indent=1, ensure_ascii=False)
        write_atomically(folder / LINEAGE, text.encode())
        if tokenizer:
            tokenizer.save(folder)

    _whole(dst, write, folder=True)


def write_torch(dst: Path, state: Mapping[str, np.ndarray]) -> None:
    """A safetensors file, whole or not at all; UserError as for `write_folder`."""
    if dst.suffix != ".safetensors":
        raise UserError(f"{dst}: expected a name that ends in .safetensors")

    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.numpy.save_file(dict(state), path, metadata={"format": "pt"})

    _whole(dst, write, folder=False)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays by Flax path: names, types, shapes and numbers."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return found.hexdigest()


def read_folder(
    folder: Path, *, only: str = ""
) -> tuple[dict[str, dict[str, np.ndarray]], dict]:
    """Arrays by part (or of one) and Flax path, and the lineage, of a converted folder.

    Raises UserError when it is damaged, was changed or is another program's.
    """
    path = folder / LINEAGE
    try:
        lineage = json.loads(path.read_text("utf-8"))
        schema = lineage["schema"]
        names = [name for name in lineage["parts"] if only in ("", name)]
        for name in names if schema == SCHEMA else ():
            lacking = WANTED - lineage["parts"][name].keys()
            if lacking or name not in lineage["modules"]:
                raise KeyError(name, *sorted(lacking))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a whole lineage ({error!r})") from error
    if schema != SCHEMA:
        raise UserError(f"{path}: schema is {schema!r}, expected {SCHEMA!r}")
    parts = {name: flatten(checkpoint.load_weights(folder / name)) for name in names}
    for name, arrays in parts.items():
        made = lineage["parts"][name]
        if made["used"].keys() != arrays.keys() or made["arrays_sha256"] != digest(
            arrays
        ):
            raise UserError(f"{folder}: {LINEAGE} and {name} are not of one making")
    return parts, lineage


def tokenizer_in(folder: Path, *, context: int) -> ClipTokenizer | None:
    """The tokenizer that lies in a folder, None without one."""
    lists = sorted(folder.glob("bpe_simple_vocab*.txt*"))
    if all((folder / name).exists() for name in FILES):
        return ClipTokenizer.from_folder(folder, context)
    if (folder / "tokenizer.json").exists():
        return ClipTokenizer.from_folder(folder, context)
    return ClipTokenizer.from_merges(lists[0], context) if lists else None


def _whole(dst: Path, write: Callable[[Path], None], *, folder: bool) -> None:
    empty = folder and dst.is_dir() and not any(dst.iterdir())
    if dst.is_symlink() or (dst.exists() and not empty):
        raise UserError(f"{dst}: is there already; give another --dst or delete it")
    if empty and dst.samefile("."):
        raise UserError(f"{dst}: this command runs in it; give a --dst of its own")
    half = dst.with_name(f".{dst.name}.{os.getpid()}.tmp")
    try:
        write(half)
        if dst.is_dir():
            dst.rmdir()
        os.replace(half, dst)
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as one
        raise UserError(f"{dst}: could not be written ({error})") from error
    finally:
        if half.is_dir():
            shutil.rmtree(half, ignore_errors=True)
        else:
            half.unlink(missing_ok=True)
