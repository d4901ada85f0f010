"""Where weights come from: kept in bundles, told on the card as their lineage."""

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from merclip_jax.weights.part import Part, Source


@dataclasses.dataclass(frozen=True)
class Seen:
    """Subjects of a dataset that weights were trained on; () where none is named."""

    dataset: str
    subjects: tuple[str, ...] = ()


# Families whose published weights have seen no micro-expression: photographs, actions.
PUBLIC = ("clip", "uniformer_v2", "viclip")
RANDOM = "random initialisation (no pretrained weights)"
RANDOM_VIDEO = "video: random initialisation"
RANDOM_TEXT = "text: random tower (no published weights)"
TRAINED = "{} trained here"  # a system's title
# What a bundle keeps of a part, beside its arrays, module and tokenizer. No problems:
# a part that has any is not written.
KEPT = ("sources", "used", "changed", "initialised", "dropped")


def file_record(path: Path, name: str, title: str) -> dict:
    """What is kept of a file.

    Args:
        path: where it lies.
        name: what the user calls it.
        title: what it holds.

    Returns:
        Name, family, bytes and sha256.
    """
    with open(path, "rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": name,
        "family": title,
        "bytes": path.stat().st_size,
        "sha256": checksum,
    }


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays by Flax path: names, types, shapes and numbers."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        # With names and shapes, or two arrays that exchanged places would pass.
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return found.hexdigest()


def of_source(source: Source) -> dict:
    """The provenance of all parts as a plain JSON object, for `bundle.write`."""
    parts = {}
    for kind, part in source.parts.items():
        kept = {name: getattr(part, name) for name in KEPT}
        kept["used"] = {path: list(keys) for path, keys in part.used.items()}
        parts[kind] = kept | {"parameters": part.parameters()}
    return {"sources": list(source.files), "parts": parts, "left": source.left}


def of_training(
    name: str,
    arrays: Mapping[str, np.ndarray],
    *,
    title: str,
    earlier: Sequence[str] = (),
    seen: Sequence[Seen] = (),
) -> dict:
    """The provenance of a video part that a training here made.

    Args:
        name: of the trained member.
        arrays: its variables by Flax path.
        title: of the system that was trained.
        earlier: what that training started from, as its card says it.
        seen: whom it, and what it started from, was trained on.

    Returns:
        A plain JSON object, for `bundle.write`.
    """
    record = {
        "name": name,
        "family": TRAINED.format(title),
        "bytes": sum(array.nbytes for array in arrays.values()),
        "sha256": digest(arrays),
        "earlier": list(earlier),
        "seen": [
            {"dataset": one.dataset, "subjects": list(one.subjects)} for one in seen
        ],
    }
    # Nothing was renamed: every array is its own source.
    part = Part(sources=[record], arrays=arrays, used={p: (p,) for p in arrays})
    return of_source(Source(name, {"video": part}, [record]))


def lineage_lines(parts: Sequence[Part]) -> list[str]:
    """Sentences for the result card on what the weights started from."""
    if not parts:
        return [RANDOM]
    kinds = {part.kind for part in parts}
    # What is random is said too: a reader should not have to notice an absence.
    lines = [] if "video" in kinds else [RANDOM_VIDEO]
    lines += [_line(part) for part in parts]
    return lines + ([] if "text" in kinds else [RANDOM_TEXT])


def identity(parts: Sequence[Part]) -> dict[str, object]:
    """What a run's manifest says of its start: checksums of the files."""
    found: dict[str, object] = {}
    for part in parts:
        # Checksums, not paths: a run may go on after its files were moved.
        sums = [record["sha256"] for record in part.sources]
        found[f"init.{part.kind}_sha256"] = sums
        if part.tokenizer:
            found["init.tokenizer_sha256"] = part.tokenizer.sha256
    return found


def seen_by(parts: Sequence[Part], declared: Sequence[str] = ()) -> list[Seen]:
    """Whom the weights that a run starts from were trained on, so far as is known.

    Args:
        parts: of the run's start.
        declared: datasets that the config says its weights have seen.
    """
    kept = [one for part in parts for record in part.sources for one in _seen(record)]
    return [*kept, *(Seen(name.partition("/")[0]) for name in declared)]


def untold(parts: Sequence[Part]) -> list[str]:
    """Sources of a run's start that may have seen any dataset: none of them says."""
    return [
        record["name"]
        for part in parts
        for record in part.sources
        # A text tower is frozen: it has seen no face.
        if part.kind == "video"
        and not _seen(record)
        and part.module.get("family") not in PUBLIC
    ]


def overlap(seen: Sequence[Seen], subjects: Collection[str]) -> list[str]:
    """Test subjects that weights have seen, or may have, in words; [] for none.

    Args:
        seen: of `seen_by`.
        subjects: of all test clips, each beginning with its dataset's name.
    """
    lines = []
    for one in seen:
        tested = {name for name in subjects if name.partition("/")[0] == one.dataset}
        if tested and not one.subjects:
            lines.append(f"{one.dataset}, of which no subject is named")
        elif both := sorted(tested & set(one.subjects)):
            more = f" and {len(both) - 3} more" if len(both) > 3 else ""
            lines.append(f"{', '.join(both[:3])}{more}")
    return list(dict.fromkeys(lines))


def _seen(record: Mapping) -> list[Seen]:
    return [
        Seen(one["dataset"], tuple(one["subjects"])) for one in record.get("seen", [])
    ]


def reasons(of: Mapping[str, str]) -> dict[str, int]:
    """How often each reason occurs."""
    return {why: list(of.values()).count(why) for why in sorted(set(of.values()))}


def _line(part: Part) -> str:
    files = "; ".join(map(_record, part.sources))
    line = f"{part.kind}: {files}: {len(part.used)} tensors, "
    line += f"{part.parameters()} parameters"
    # Reasons with their counts: a line on the card, not a list of tensors.
    if part.tokenizer:
        line += f"; tokenizer of sha256 {part.tokenizer.sha256}"
    for word in ("changed", "initialised", "dropped"):
        for why, count in reasons(getattr(part, word)).items():
            line += f"; {count} {word}: {why}"
    for record in part.sources:
        for one in _seen(record):
            line += f"; has seen {len(one.subjects)} subjects of {one.dataset}"
    earlier = [e for r in part.sources for e in r.get("earlier", [])]
    return line + "".join(f"; trained from {e}" for e in earlier)


def _record(record: Mapping) -> str:
    """A file, and which of its weights were taken where it holds several."""
    line = f"{record['family']} in {record['name']} ({record['bytes']} bytes, "
    line += f"sha256 {record['sha256']}"
    if others := record.get("other_weights"):
        which, kind = record["weights"]
        line += f", of its weights {which} ({kind}) and not {', '.join(others)}"
    return line + ")"
