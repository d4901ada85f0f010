"""Files of finished members: whose they are, their arrays, and a checksum of both."""

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax.data.folds import Member
from merclip_jax.errors import UserError
from merclip_jax.files import expect_regular

_SEAL, _CLIP, _BEST, _HISTORY = "seal", "clip", "best/", "history/"


@dataclasses.dataclass(frozen=True)
class MemberResult:
    """A finished member: its outputs for the test clips, and how training went.

    clip: [n] str; outputs: name -> [n, ...]; best: those that the task reads, of the
    selected epoch, equal to `outputs` when that is the last; history: name -> [epochs];
    machines: the names of all that trained it, one after another.
    """

    clip: np.ndarray
    outputs: Mapping[str, np.ndarray]
    best: Mapping[str, np.ndarray]
    history: Mapping[str, np.ndarray]
    machines: tuple[str, ...] = ()


def encode(result: MemberResult, member: Member, run: str) -> bytes:
    """A member's file.

    Args:
        result: what it holds.
        member: whose fold and seed it is.
        run: hash of all that the run's numbers depend on.

    Raises:
        ValueError: an output is named like something else in the file.
    """
    outputs = {name: np.asarray(values) for name, values in result.outputs.items()}
    if wrong := [n for n in outputs if n in (_SEAL, _CLIP) or "/" in n]:
        raise ValueError(f"outputs may not be called {wrong}")
    arrays = {_CLIP: np.asarray(result.clip), **outputs}
    arrays |= {f"{_BEST}{k}": np.asarray(v) for k, v in result.best.items()}
    arrays |= {f"{_HISTORY}{k}": np.asarray(v) for k, v in result.history.items()}
    seal = _whose(member, run) | {"machines": list(result.machines)}
    seal["sha256"] = _digest(arrays, seal)
    # Into memory first: a file must appear with all of its arrays.
    buffer = io.BytesIO()
    np.savez(buffer, **{_SEAL: np.asarray(json.dumps(seal))}, **arrays)
    return buffer.getvalue()


def decode(path: Path, member: Member, run: str, clips: np.ndarray) -> MemberResult:
    """Reads a member's file.

    Args:
        path: where it is.
        member: whose it must be.
        run: hash of the run that must have written it.
        clips: names [n] of the test clips that it must hold.

    Raises:
        UserError: it is damaged, altered, of another run, fold or seed, or holds other
            clips; it is neither used nor replaced.
    """
    remedy = "delete it to train this member again"
    expect_regular(path)
    try:
        seal, result = unsealed(path)
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from error
    for key, expected in _whose(member, run).items():
        if seal.get(key) != expected:
            raise UserError(
                f"{path}: of another {key}: {seal.get(key)!r}, expected {expected!r}; "
                f"{remedy}"
            )
    if result.clip.tolist() != list(clips):
        raise UserError(f"{path}: holds other clips than this fold tests; {remedy}")
    for name, values in [*result.outputs.items(), *result.best.items()]:
        if len(values) != len(clips) or not np.isfinite(values).all():
            raise UserError(f"{path}: holds {name} that are not finite; {remedy}")
    return result


def unsealed(path: Path) -> tuple[dict[str, object], MemberResult]:
    """A member's file, whoever's it is: its seal (run, fold, seed), and the rest.

    Args:
        path: where it is.

    Raises:
        UserError: it is damaged, or holds other than what was written.
    """
    try:
        arrays = _read(path)
        seal = json.loads(str(arrays.pop(_SEAL)[()]))
        intact = seal.pop("sha256") == _digest(arrays, seal)
        result = _result(arrays, tuple(map(str, seal["machines"])))
    except Exception as error:  # zip, NumPy and JSON raise about ten kinds
        raise UserError(f"{path}: damaged ({type(error).__name__}: {error})") from error
    if not intact:
        raise UserError(f"{path}: what it holds is not what was written")
    return seal, result


def _whose(member: Member, run: str) -> dict[str, object]:
    return {"run": run, "fold": member.fold.name, "seed": member.seed}


def _digest(arrays: Mapping[str, np.ndarray], about: Mapping[str, object]) -> str:
    """SHA-256 of facts and of arrays: names, types, shapes, values."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive that is as `np.savez` writes it."""
    # np.load does not close a damaged file that it opened itself.
    with open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:
            # Ours are stored as they are: one that is packed may be of any size.
            if any(x.compress_type != zipfile.ZIP_STORED for x in archive.infolist()):
                raise ValueError("a packed archive")
        file.seek(0)
        with np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}


def _result(arrays: dict[str, np.ndarray], machines: tuple[str, ...]) -> MemberResult:
    """Sort a file's arrays by their names; ValueError when some lack."""
    clip = arrays.pop(_CLIP)
    history = _taken(arrays, _HISTORY)
    best = _taken(arrays, _BEST)
    if not arrays or not history or not best:
        raise ValueError("no outputs, no best outputs or no history in it")
    return MemberResult(clip, arrays, best, history, machines)


def _taken(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
