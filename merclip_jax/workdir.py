"""What a run leaves on disk: its claim on a workdir, members' finished predictions."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.files import write_atomically


@dataclasses.dataclass(frozen=True)
class MemberResult:
    """A finished member: its test clips' scores and the story of its training.

    clip: [n] str; logits: [n, k]; video: [n, e] embeddings; history: scalars [epochs].
    best_logits: [n, k] at the selected epoch, equal to `logits` when that is the last.
    """

    clip: np.ndarray
    logits: np.ndarray
    video: np.ndarray
    best_logits: np.ndarray
    history: Mapping[str, np.ndarray]


def claim(workdir: Path, identity: Mapping[str, object]) -> None:
    """Make `workdir` this run's, or check that it already is.

    `identity` is a flat dict of everything that the results depend on. Raises
    UserError, listing what differs, when the folder belongs to another run.
    """
    path = workdir / "run.json"
    ours = json.loads(json.dumps(identity))
    if not path.exists():
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{workdir}: {error.strerror}") from error
        if any(p for p in workdir.iterdir() if not p.name.startswith(".")):
            raise UserError(
                f"{workdir} is not empty and was not made by this program; give "
                "another --workdir"
            )
        write_atomically(path, json.dumps(ours, indent=1, sort_keys=True).encode())
        return
    try:
        theirs = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(theirs, dict):
        raise UserError(f"{path}: not this program's; give another --workdir")
    keys = sorted(k for k in ours.keys() | theirs.keys() if _differ(ours, theirs, k))
    if keys:
        absent = "(absent)"
        listing = "\n".join(
            f"  {k}: there {theirs.get(k, absent)!r}, now {ours.get(k, absent)!r}"
            for k in keys
        )
        raise UserError(
            f"{workdir} was made with other settings; nothing in it was touched:\n"
            f"{listing}\nGive another --workdir, or the settings it was made with."
        )


def _differ(ours: Mapping, theirs: Mapping, key: str) -> bool:
    return key not in ours or key not in theirs or ours[key] != theirs[key]


def save_member(path: Path, result: MemberResult) -> None:
    """Write a member's result atomically."""
    arrays = {f"history/{k}": np.asarray(v) for k, v in result.history.items()}
    for field in ("clip", "logits", "video", "best_logits"):
        arrays[field] = np.asarray(getattr(result, field))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def load_member(path: Path, clips: np.ndarray) -> MemberResult:
    """Read a member's result; `clips` [n] are the test clips it must hold.

    Raises UserError for a damaged file or one that holds other clips: neither is
    ever used or replaced in silence.
    """
    remedy = "delete it to train this member again"
    try:
        # np.load does not close a damaged file that it opened itself.
        with open(path, "rb") as file, np.load(file) as data:
            arrays = {k: data[k] for k in data.files}
        result = MemberResult(
            **{k: arrays.pop(k) for k in ("clip", "logits", "video", "best_logits")},
            history={k.removeprefix("history/"): v for k, v in arrays.items()},
        )
    except (
        OSError,
        EOFError,
        KeyError,
        TypeError,  # an array that is no archive
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        raise UserError(f"{path}: damaged ({error}); {remedy}") from error
    if result.clip.tolist() != list(clips):
        raise UserError(f"{path}: holds other clips than this fold tests; {remedy}")
    if not np.isfinite(result.logits).all():
        raise UserError(f"{path}: holds logits that are not finite; {remedy}")
    return result
