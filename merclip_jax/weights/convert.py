"""Sources to a folder that trainings start from."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from merclip_jax.errors import UserError
from merclip_jax.weights import bundle, provenance
from merclip_jax.weights.fitting import fit_into, fit_text, fit_whole
from merclip_jax.weights.part import Part, Source
from merclip_jax.weights.problems import misfit
from merclip_jax.weights.sources import open_all

# UniFormerV2's classifier or MER-CLIP's, whichever the file has.
_LAST = (
    "params/(head/)?classifier/.*",
    "the last layer starts anew (--new_head)",
)


def convert(
    names: Sequence[str], *, into: str = "", new_head: bool = False, weights: str = ""
) -> Source:
    """The first video part and the first text part of some sources, fitted.

    Args:
        names: of the sources.
        into: fits a CLIP image tower into a video encoder of its size; without, every
            part keeps the file's own structure.
        new_head: leaves the last layer out.
        weights: which set of weights of a file is meant (`sources.open_source`).

    Returns:
        The parts. What does not fit stands in their problems.

    Raises:
        UserError: a source cannot be read, or the options do not go with them.
    """
    found = _first_parts(open_all(names, weights=weights))
    if not found.parts:
        raise UserError(f"{', '.join(names)}: no weights, only a tokenizer")
    if new_head and not _has_last(found.parts.get("video")):
        raise UserError(f"--new_head: {', '.join(names)}: no last layer to leave out")
    parts = {}
    for kind, part in found.parts.items():
        if kind == "text":
            parts[kind] = fit_text(part)
        elif into or "into" in part.module:
            parts[kind] = fit_into(part, into or part.module["into"])
        else:
            parts[kind] = fit_whole(part, without=[_LAST] if new_head else [])
    # Found out at the first training otherwise, far from the command that did it.
    size = parts["text"].module["vocabulary"] if "text" in parts else None
    if found.tokenizer and size not in (None, found.tokenizer.size):
        raise UserError(
            f"the tokenizer has {found.tokenizer.size} ids, the text tower {size}"
        )
    # A model that lost its last layer is not the one that the trainer described.
    system, context = (None, {}) if new_head else (found.system, found.context)
    return dataclasses.replace(found, parts=parts, system=system, context=context)


def write_folder(found: Source, dst: Path) -> None:
    """A bundle of what `convert` found.

    Args:
        found: the parts.
        dst: the folder.

    Raises:
        UserError: lists the problems, or `dst` cannot be written; nothing is left.
    """
    if found.problems:
        raise misfit(found.name, found.problems)
    bundle.write(
        dst,
        {kind: part.arrays for kind, part in found.parts.items()},
        modules=found.modules,
        system=found.system,
        context=found.context,
        lineage=provenance.of_source(found),
        tokenizer=found.tokenizer,
    )


def _first_parts(sources: Sequence[Source]) -> Source:
    """All sources as one: of every kind the first part, the others left aside."""
    parts: dict[str, Part] = {}
    files, left, tokenizer, vocabularies = [], {}, None, []
    system, context = None, {}
    for source in sources:
        files += [record for record in source.files if record not in files]
        left |= source.left
        tokenizer = tokenizer or source.tokenizer  # the first, as with the parts
        if not source.parts:  # a tokenizer alone belongs to the text, whosever it is
            vocabularies += source.files
        for kind, part in source.parts.items():
            if kind in parts:
                left |= _aside(part, parts[kind].name)
                continue
            parts[kind] = part
            if kind == "video":
                system, context = source.system, source.context
    if "text" in parts:
        text = parts["text"]
        records = [*text.sources, *vocabularies]
        parts["text"] = dataclasses.replace(text, sources=records, tokenizer=tokenizer)
    name = ", ".join(record["name"] for record in files)
    return Source(name, parts, files, left, tokenizer, system, context)


def _aside(part: Part, taken: str) -> dict[str, str]:
    """Why nothing of a part is used: an earlier source has its like."""
    why = f"the {part.kind} part comes from {taken}"
    keys = [key for keys in part.used.values() for key in keys]
    # They do not stop the conversion, and yet are told.
    problems = dict.fromkeys(part.problems, f"{why}; not checked")
    return {**part.dropped, **dict.fromkeys(keys, why), **problems}


def _has_last(part: Part | None) -> bool:
    paths = [*part.arrays, *part.initialised] if part else []
    return any(re.fullmatch(_LAST[0], path) for path in paths)
