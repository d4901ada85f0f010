"""`system.json`: what a folder of weights says of itself, checked whole.

Its own checksum tells whether a word of it was changed. It is no signature: who edits a
folder and writes the checksum anew is not noticed, so all that is read is checked to be
of the right kind as well.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from merclip_jax.errors import UserError
from merclip_jax.weights.families import modules
from merclip_jax.weights.formats.shards import load_json
from merclip_jax.weights.part import PARTS, Part, Source

OWN = "description"  # the checksum of the description itself
_RECORD = {"name": str, "family": str, "bytes": int, "sha256": str}


class _Odd(ValueError):
    """What a description cannot say."""


class Told(NamedTuple):
    """A source without its arrays; of its parts SHA-256 and how many numbers."""

    source: Source
    sha256: dict[str, str]
    numbers: dict[str, int]


def to_json(told: Mapping) -> bytes:
    """A description with its own checksum, as the file's content."""
    # Through JSON first: the checksum is of what a reader will see.
    plain = json.loads(json.dumps(told))
    plain["sha256"].pop(OWN, None)
    plain["sha256"][OWN] = _checksum(plain)
    return json.dumps(plain, indent=1, ensure_ascii=False).encode()


def read(path: Path, *, schema: str) -> Told:
    """Parts but for their arrays, and the checksums and sizes of everything else.

    Args:
        path: of the file.
        schema: that it must be of.

    Returns:
        All that it says.

    Raises:
        UserError: it is damaged, was changed, or is of another schema.
    """
    told = load_json(path)
    try:
        # First of all: another schema may lack any of what follows.
        if told["schema"] != schema:
            raise UserError(
                f"{path}: schema is {told['schema']!r}, expected {schema!r}; made by "
                "another version: convert its source again, or train again"
            )
        own = told["sha256"].pop(OWN)
        if own != _checksum(told):
            raise UserError(f"{path}: was changed since it was written")
        return _source(path, told)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not whole ({error!r})") from error


def _source(path: Path, told: Mapping) -> Told:
    lineage, name = told["lineage"], path.parent.name
    kinds = lineage["parts"].keys()
    if not kinds or kinds != told["modules"].keys() or not kinds <= set(PARTS):
        raise _Odd(f"parts {sorted(kinds)}, modules {sorted(told['modules'])}")
    parts = {}
    for kind, kept in lineage["parts"].items():
        modules.check(kind, told["modules"][kind])
        used = kept["used"]
        if not used or not all(map(_texts, used.values())):
            raise _Odd("used: expected the file's keys by path")
        parts[kind] = Part(
            kind=kind,
            name=name,
            module=dict(told["modules"][kind]),
            sources=_records(kept["sources"]),
            used={path: tuple(keys) for path, keys in used.items()},
            changed=_reasons(kept["changed"]),
            initialised=_reasons(kept["initialised"]),
            dropped=_reasons(kept["dropped"]),
        )
    sums = {of: told["sha256"][of] for of in (*parts, "tokenizer", "context")}
    counts = {of: told["numbers"][of] for of in (*parts, "context")}
    if any(type(count) is not int or count < 0 for count in counts.values()):
        raise _Odd(f"numbers {counts}")
    system = told["system"]
    if not (_texts(list(sums.values())) and isinstance(system, dict | None)):
        raise _Odd("sha256 or system: of another kind")
    source = Source(
        name,
        parts,
        files=_records(lineage["sources"]),
        left=_reasons(lineage["left"]),
        system=system,
    )
    return Told(source, sums, counts)


def _checksum(told: Mapping) -> str:
    """Of everything that a description says, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def _reasons(of: Mapping) -> dict[str, str]:
    if not _texts(list(of.values())):
        raise _Odd("a reason that is no text")
    return dict(of)


def _records(found: object) -> list[dict]:
    """What is said of files; each has a name, a family, its size and checksum."""
    if not isinstance(found, list) or not found:
        raise _Odd("no sources")
    for record in found:
        odd = [k for k, kind in _RECORD.items() if not isinstance(record[k], kind)]
        lists = [record.get(k, []) for k in ("earlier", "weights", "other_weights")]
        if odd or not all(map(_texts, lists)):
            raise _Odd(f"a source whose {odd or 'lists'} are of another kind")
        for one in record.get("seen", []):
            if not (isinstance(one["dataset"], str) and _texts(one["subjects"])):
                raise _Odd("a source that has seen what is no dataset")
    return found
