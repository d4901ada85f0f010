"""A source of weights, whatever it is: a file, the hub's, a folder made here."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax.text.tokenizer import CLIP_IDS, ClipTokenizer
from merclip_jax.weights import bundle, hub
from merclip_jax.weights.families import clip, clip_text, numbers
from merclip_jax.weights.families.detect import FAMILIES, Named, recognise
from merclip_jax.weights.families.family import Family
from merclip_jax.weights.formats.read import read
from merclip_jax.weights.match import checked, place
from merclip_jax.weights.part import PARTS, Part, Source
from merclip_jax.weights.problems import misfit
from merclip_jax.weights.provenance import file_record


def open_source(source: str, *, only: str = "") -> Source:
    """What a path, a folder made here or hf://owner/name/file holds.

    Args:
        source: as the user names it.
        only: the one part that is wanted, which spares reading a folder's others.

    Returns:
        Its parts. Arrays that do not fit are told in the parts' problems.

    Raises:
        UserError: it cannot be read, is no family that this project knows, or was made
            by an earlier version.
    """
    path = hub.locate(source)
    # Our own folders first: they say what they are, everything else is detected.
    if (path / bundle.SYSTEM).exists():
        return _from_bundle(path, only)
    bundle.refuse_older(path)
    path = hub.file_of(path)
    name = source if source.startswith(hub.HUB) else path.name
    if re.search(r"bpe_simple_vocab.*\.txt(\.gz)?$|merges\.txt$", path.name):
        tokenizer = ClipTokenizer.from_merges(path)
        record = file_record(path, name, "CLIP's tokenizer")
        return Source(name, files=[record], tokenizer=tokenizer)
    return _from_file(path, name)


def _from_bundle(path: Path, only: str) -> Source:
    found = bundle.read(path, only=only)
    known = ", ".join(FAMILIES)
    unknown = [
        f"{kind}: family {module.get('family')!r}, expected one of {known}"
        for kind, module in found.modules.items()
        if module.get("family") not in FAMILIES
    ]
    if unknown:
        raise misfit(str(path), unknown)
    # The checksum says that the arrays are those written, not that they are numbers.
    parts = {kind: checked(part) for kind, part in found.parts.items()}
    return dataclasses.replace(found, parts=parts)


def _from_file(path: Path, name: str) -> Source:
    state, nested = read(path)
    named = recognise(str(path), state)
    family = FAMILIES[named.family]
    if family is clip.FAMILY:  # the one that was trained with GELU too
        hub.check_activation(path)
    placed = _placed(named, family)
    modules = _modules(str(path), named.family, placed)
    record = file_record(path, name, family.title)
    record |= {"nested": list(nested), "prefixes": list(named.prefixes)}
    tokenizer = None
    # A tower of another vocabulary is not of CLIP's tokenizer, whatever lies beside it.
    if "text" in modules and modules["text"]["vocabulary"] == CLIP_IDS:
        tokenizer = bundle.tokenizer_in(path.parent)
    parts = {}
    for kind, module in modules.items():
        other = placed[PARTS[1 - PARTS.index(kind)]]
        if other.kind in modules:
            other = Part()
        # What lies beside an only part, such as a logit scale, is told with it.
        parts[kind] = dataclasses.replace(
            placed[kind],
            name=name,
            module=module,
            sources=[record],
            dropped={**placed[kind].dropped, **other.dropped},
            problems=[*placed[kind].problems, *other.problems],
            tokenizer=tokenizer if kind == "text" else None,
        )
    return Source(name, parts, [record], tokenizer=tokenizer)


def _placed(named: Named, family: Family) -> dict[str, Part]:
    """Both parts by their rules; what no rule of the text knows is the video's."""
    is_text = [re.compile(pattern) for pattern, _, _ in family.text]
    of: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in PARTS}
    for key, array in named.state.items():
        mine = any(pattern.fullmatch(key) for pattern in is_text)
        of["text" if mine else "video"][key] = array
    rules = {"video": family.video, "text": family.text}
    return {
        kind: place(
            of[kind],
            rules[kind],
            kind=kind,
            dropped=family.dropped,
            names=named.names,
        )
        for kind in PARTS
    }


def _modules(name: str, family: str, placed: Mapping[str, Part]) -> dict[str, dict]:
    """The numbers of the parts that are there.

    UserError with all problems when the arrays do not tell them.
    """
    video, text = placed["video"], placed["text"]
    problems = [*video.problems, *text.problems]
    found = {}
    try:
        if any(path.startswith("params/") for path in video.arrays):
            found["video"] = FAMILIES[family].numbers(video.arrays)
        if text.arrays:
            found["text"] = clip_text.text_numbers(text.arrays)
    except numbers.Unclear as error:
        # An array that was unusable is among the problems already.
        if error.path not in video.unusable | text.unusable:
            shown = (video.used | text.used).get(error.path, [error.path])
            problems.append(f"{' + '.join(shown)}: {error.why}")
        raise misfit(name, problems) from error
    if not found:
        raise misfit(name, problems or ["neither a video encoder nor a text tower"])
    return {kind: module | {"family": family} for kind, module in found.items()}
