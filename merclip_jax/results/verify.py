"""Whether a card says what its run answered: every number made again, and compared."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.results import answers, card
from merclip_jax.scoring.predictions import Predictions
from merclip_jax.training import members
from merclip_jax.training.members import MemberResult

# Sums of another NumPy, on another processor, differ in the last bits.
_CLOSE = 1e-9


def verify(path: Path, *, tasks: Mapping[str, type] = answers.TASKS) -> list[str]:
    """What of a card, its predictions and its members does not agree.

    The files beside the card are those of its run: predictions.npz, predictions.csv,
    members/.

    Args:
        path: of the card.
        tasks: name -> class of the tasks that a run may be of.

    Returns:
        A line for each difference, naming the file or the card's key; [] for none.
    """
    try:
        given = card.read_card(path)
        found = answers.read(path.parent / answers.FILE, tasks=tasks)
    except (card.CardError, answers.AnswersError) as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]
    lines = list(_numbers(given, found))
    lines += _table(path.parent / "predictions.csv", found.predictions)
    return lines + list(_members(path.parent / "members", given, found))


def _numbers(given: Mapping, found: answers.Answers) -> Iterator[str]:
    """What of the card is not what its predictions give."""
    made = card.computed(found)
    for remark in made.pop("remarks"):
        if remark not in given["notes"]:
            yield f"notes: lacks {remark!r}"
    for name, part in made.items():
        if name in ("task", "protocol"):  # of these a part alone follows
            for key, value in part.items():
                yield from _differences(given[name].get(key), value, f"{name}.{key}")
        else:
            yield from _differences(given[name], part, name)


def _differences(given: object, made: object, where: str) -> Iterator[str]:
    """Lines for all leaves that differ; rows and blocks are named, not counted."""
    if isinstance(made, Mapping) and isinstance(given, Mapping):
        for key in dict.fromkeys([*made, *given]):
            if key not in given or key not in made:
                yield f"{where}.{key}: {'lacks' if key not in given else 'unknown'}"
            else:
                yield from _differences(given[key], made[key], f"{where}.{key}")
    elif isinstance(made, list) and isinstance(given, list):
        if len(made) != len(given):
            yield f"{where}: {len(given)} there, the predictions give {len(made)}"
        for i, (theirs, own) in enumerate(zip(given, made, strict=False)):
            yield from _differences(theirs, own, f"{where}.{_name(own, i)}")
    elif not _same(given, made):
        yield f"{where}: {given!r}, the predictions give {made!r}"


def _name(value: object, position: int) -> str:
    """A row by its key, a block by its title, else by its place."""
    if isinstance(value, Mapping):
        return str(value.get("key") or value.get("title") or position)
    return str(position)


def _same(given: object, made: object) -> bool:
    numbers = (int, float)
    if isinstance(made, bool) or not isinstance(made, numbers):
        return type(given) is type(made) and given == made
    if isinstance(given, bool) or not isinstance(given, numbers):
        return False
    return math.isclose(given, made, rel_tol=_CLOSE, abs_tol=_CLOSE)


def _table(path: Path, predictions: Predictions) -> list[str]:
    """The rows of the table for people that are not those of the predictions."""
    if not path.exists():
        return [f"{path}: is not there"]
    theirs = path.read_text(errors="replace").splitlines()
    own = predictions.csv().splitlines()
    lines = [
        f"{path}, line {i}: {a!r}, the predictions give {b!r}"
        for i, (a, b) in enumerate(zip(theirs, own, strict=False), 1)
        if a != b
    ]
    if len(theirs) != len(own):
        lines.append(f"{path}: {len(theirs)} lines, the predictions give {len(own)}")
    return lines


def _members(folder: Path, given: Mapping, found: answers.Answers) -> Iterator[str]:
    """Members whose files are not what was pooled."""
    predictions, there = found.predictions, set()
    chosen = given["selection"] == "inner"
    for path in sorted(folder.glob("*.npz")):
        try:
            seal, result = members.unsealed(path)
        except UserError as error:
            yield str(error)
            continue
        if seal["run"] != given["run_sha256"]:
            yield f"{path}: of another run than the card"
            continue
        there.add((seal["fold"], seal["seed"]))
        of_fold = predictions.fold == seal["fold"]
        rows = np.flatnonzero(of_fold & (predictions.seed == seal["seed"]))
        said = {"": (result.best if chosen else result.outputs, predictions.outputs)}
        if found.bound:
            said[" (of the best epoch)"] = (result.best, found.bound.outputs)
        for which, (own, pooled) in said.items():
            if not _agree(result, own, predictions.clip[rows], rows, pooled):
                yield f"{path}: answers other than in {answers.FILE}{which}"
    pairs = zip(predictions.fold.tolist(), predictions.seed.tolist(), strict=True)
    for fold, seed in sorted(set(pairs) - there):
        yield f"{folder}: no whole file of this run's fold {fold}, seed {seed}"


def _agree(
    result: MemberResult,
    own: Mapping[str, np.ndarray],
    clips: np.ndarray,
    rows: np.ndarray,
    pooled: Mapping[str, np.ndarray],
) -> bool:
    """Whether a member's outputs are, bit for bit, those of its rows."""
    order = np.argsort(result.clip)
    if result.clip[order].tolist() != np.sort(clips).tolist():
        return False
    rows = rows[np.argsort(clips)]
    return all(
        name in own and np.array_equal(own[name][order], values[rows])
        for name, values in pooled.items()
    )


def told(lines: Sequence[str], path: Path) -> str:
    """What `verify` found, in lines for a person.

    Args:
        lines: of `verify`.
        path: of the card.
    """
    if not lines:
        return (
            f"{path}: every number follows from the predictions beside it, and these "
            "are what its members answered"
        )
    shown = [f"  {line}" for line in lines[:20]]
    more = [f"  and {len(lines) - 20} more"] if len(lines) > 20 else []
    return "\n".join([f"{path}: does not hold", *shown, *more])
