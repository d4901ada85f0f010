"""A source of weights, whatever it is: a file, the hub's, a folder made here."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.printable import printable
from merclip_jax.text.tokenizer import CLIP_IDS, ClipTokenizer
from merclip_jax.weights import bundle, hub
from merclip_jax.weights.choice import choose
from merclip_jax.weights.families import clip, clip_text, detect, numbers
from merclip_jax.weights.families.adapters import check_adapters
from merclip_jax.weights.families.detect import FAMILIES, Named, candidates, unknown
from merclip_jax.weights.families.family import Family
from merclip_jax.weights.formats import shards
from merclip_jax.weights.formats.read import arrays, read
from merclip_jax.weights.formats.sets import WeightSet
from merclip_jax.weights.match import checked, place
from merclip_jax.weights.part import PARTS, Part, Source
from merclip_jax.weights.problems import misfit
from merclip_jax.weights.provenance import file_record

_TOLD = 20  # of what lies in a file beside the weights that are taken


def open_all(names: Sequence[str], *, weights: str = "") -> list[Source]:
    """What several sources hold; parts of one file become one source.

    Args:
        names: as the user gives them.
        weights: which set of weights of a file is meant, as for `open_source`.

    Returns:
        The sources, in their order.

    Raises:
        UserError: as `open_source` does, or a part of a file lacks.
    """
    found = []
    for positions in shards.group(names):
        if len(positions) == 1:
            found.append(open_source(names[positions[0]], weights=weights))
            continue
        files = [hub.locate(names[at]) for at in positions]
        shards.whole(files)
        found.append(_from_files(files, files[0].name, weights))
    return found


def open_source(source: str, *, only: str = "", weights: str = "") -> Source:
    """What a path, a folder made here or hf://owner/name/file holds.

    Args:
        source: as the user names it.
        only: the one part that is wanted, which spares reading a folder's others.
        weights: which set of weights of a file is meant: raw, ema, or a name that
            `--check` shows; "" for the training's own.

    Returns:
        Its parts. Arrays that do not fit are told in the parts' problems.

    Raises:
        UserError: it cannot be read, is no family that this project knows, was made by
            an earlier version, or does not hold the set of weights that is meant.
    """
    path = hub.locate(source)
    # Our own folders first: they say what they are, everything else is detected.
    if (path / bundle.SYSTEM).exists():
        return _from_bundle(path, only, weights)
    bundle.refuse_older(path)
    files = hub.files_of(path)
    name = source if source.startswith(hub.HUB) else files[0].name
    if re.search(r"bpe_simple_vocab.*\.txt(\.gz)?$|merges\.txt$", files[0].name):
        tokenizer = ClipTokenizer.from_merges(files[0])
        record = file_record(files[0], name, "CLIP's tokenizer")
        return Source(name, files=[record], tokenizer=tokenizer)
    return _from_files(files, name, weights)


def _from_bundle(path: Path, only: str, weights: str) -> Source:
    found = bundle.read(path, only=only)
    taken = {told for record in found.files for told in record.get("weights", [])}
    if weights and weights not in taken:
        there = " and ".join(sorted(taken)) or "one set, and not said which"
        raise UserError(f"{path}: was made of {there}, not of {weights!r}")
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


def _from_files(files: Sequence[Path], name: str, weights: str) -> Source:
    """The parts of a file, or of one in several parts with its index before them."""
    path, told = files[0], str(files[0])
    tables, classes = _tables(files)
    for table in tables:
        check_adapters(told, table.tensors)
    models = [model for table in tables for model in candidates(told, table)]
    if not models:
        raise unknown(told, tables)
    model = choose(told, models, weights)
    size = sum(file.stat().st_size for file in files)
    named = detect.named(told, model, arrays(told, model.table, size=size))
    family = FAMILIES[named.family]
    if family is clip.FAMILY:  # the one that was trained with GELU too
        hub.check_activation(path)
    placed = _placed(named, family)
    modules = _modules(told, named.family, placed)
    records = _records(files, name, family.title, model, models, classes)
    tokenizer = None
    # A tower of another vocabulary is not of CLIP's tokenizer, whatever lies beside it.
    if "text" in modules and modules["text"]["vocabulary"] == CLIP_IDS:
        tokenizer = bundle.tokenizer_in(path.parent)
    parts, outside = {}, named.dropped
    for kind, module in modules.items():
        other = placed[PARTS[1 - PARTS.index(kind)]]
        if other.kind in modules:
            other = Part()
        # What lies beside an only part, such as a logit scale, is told with it.
        parts[kind] = dataclasses.replace(
            placed[kind],
            name=name,
            module=module,
            sources=records,
            dropped={**placed[kind].dropped, **other.dropped, **outside},
            problems=[*placed[kind].problems, *other.problems],
            tokenizer=tokenizer if kind == "text" else None,
        )
        outside = {}  # told once, with the first part
    return Source(name, parts, records, tokenizer=tokenizer)


def _tables(files: Sequence[Path]) -> tuple[list[WeightSet], list[str]]:
    """The tables of tensors of a file, or one of all its parts."""
    if len(files) == 1:
        return read(files[0])
    keys, parts = {}, files
    if files[0].name.endswith(shards.INDEX):
        keys, parts = shards.indexed(files[0]), files[1:]
    found = {path: read(path) for path in parts}
    classes = sorted({name for _, names in found.values() for name in names})
    tables = {path: of for path, (of, _) in found.items()}
    return [shards.joined(str(files[0]), tables, keys)], classes


def _records(files, name, title, model, models, classes) -> list[dict]:
    """What is kept of the files, and of which of their weights were taken."""
    records = [
        file_record(path, name if path is files[0] else path.name, title)
        for path in files
    ]
    others = [other.shown for other in models if other is not model]
    records[0] |= {
        "nested": list(model.table.names),
        "prefixes": list(model.wrappers),
        # By any of these names `--weights` takes it again.
        "weights": [model.name, "ema" if model.averaged else "raw"],
        "other_weights": others[:_TOLD],
        "unknown_classes": [printable(name) for name in classes[:_TOLD]],
    }
    return records


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
