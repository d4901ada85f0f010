"""Weights in several files: parts, and the index that says which part has which key."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from merclip_jax.errors import UserError
from merclip_jax.files import expect_regular
from merclip_jax.printable import printable
from merclip_jax.weights.formats.bounded import check_size
from merclip_jax.weights.formats.sets import WeightSet
from merclip_jax.weights.problems import misfit

INDEX = ".index.json"
JSON = 2**25  # bytes of an index or of a folder's description
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.(?:safetensors|bin|pt|pth))")


def load_json(path: Path) -> object:
    """A JSON file of moderate size; UserError that names it when it is none."""
    expect_regular(path)
    try:
        check_size(path, path.stat().st_size, JSON, "a JSON file")
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not whole ({printable(str(error))})") from error


def is_part(path: Path) -> bool:
    """Whether a name says that a file is one of several: `x-00001-of-00002.bin`."""
    return bool(_PART.fullmatch(path.name))


def indexed(index: Path) -> dict[str, str]:
    """Key -> the name of its part, as an index says it.

    Raises UserError when it is no index, or names files outside of its own folder.
    """
    found = load_json(index)
    keys = found.get("weight_map") if isinstance(found, Mapping) else None
    if not isinstance(keys, dict) or not keys:
        raise UserError(f"{index}: not an index of weights; it has no weight_map")
    for name in keys.values():
        # A name and no path: an index may not lead out of its own folder.
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise UserError(f"{index}: {name!r}: expected a file beside the index")
    return keys


def parts_of(index: Path) -> list[Path]:
    """The parts that an index names; UserError that lists those that lack."""
    names = sorted(set(indexed(index).values()))
    lacking = [name for name in names if not (index.parent / name).is_file()]
    if lacking:
        raise UserError(
            f"{index}: of a file in {len(names)} parts these lack: {', '.join(lacking)}"
        )
    return [index.with_name(name) for name in names]


def whole(parts: Sequence[Path]) -> None:
    """UserError unless some parts are all of one file, naming those that lack."""
    told = [_PART.fullmatch(path.name) for path in parts]
    stem, _, count, suffix = told[0].groups()
    given = {path.name for path in parts}
    # Not a list of what lacks when a name claims ten thousand of them.
    wanted = [f"{stem}-{i + 1:05}-of-{count}{suffix}" for i in range(int(count))]
    lacking = [name for name in wanted if name not in given]
    if not lacking:
        return
    shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
    raise UserError(
        f"{parts[0]}: a part of a file in {int(count)} parts; {shown} "
        f"{'lacks' if len(lacking) == 1 else 'lack'}. Give the folder, its index "
        f"(...{INDEX}), or every part with a --src of its own"
    )


def group(names: Sequence[str]) -> list[list[int]]:
    """The positions of names that are parts of one file together.

    Others stand alone; a group has the place of its first.
    """
    found: dict[object, list[int]] = {}
    for at, name in enumerate(names):
        path = PurePath(name)
        match = _PART.fullmatch(path.name)
        key = (path.parent, match[1], match[3], match[4]) if match else at
        found.setdefault(key, []).append(at)
    return list(found.values())


def joined(
    name: str, tables: Mapping[Path, list[WeightSet]], keys: Mapping[str, str]
) -> WeightSet:
    """The tables of all parts as one.

    Args:
        name: of the whole, for errors.
        tables: of every part.
        keys: key -> the part that the index says, {} without an index.

    Returns:
        One table.

    Raises:
        UserError: a key lies in two parts, or not where the index says.
    """
    tensors, others, problems = {}, {}, []
    where = {}
    for path, found in tables.items():
        if len(found) != 1 or found[0].names:
            raise UserError(f"{path}: expected tensors by name, as parts have them")
        for key, tensor in found[0].tensors.items():
            if key in tensors:
                problems.append(f"{key}: in {where[key]} and in {path.name}")
            elif keys and keys.get(key) != path.name:
                told = keys.get(key, "no part")
                problems.append(f"{key}: in {path.name}; the index says {told}")
            tensors[key], where[key] = tensor, path.name
        others |= found[0].others
    lost = keys.keys() - tensors.keys()
    problems += [f"{key}: not in {keys[key]}" for key in lost]
    if problems:
        raise misfit(name, problems)
    return WeightSet((), tensors, others)
