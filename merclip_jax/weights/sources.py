"""A source of weights, whatever it is: a file, the hub's, a converted folder."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax import checkpoint
from merclip_jax.errors import UserError
from merclip_jax.tokenizer import CLIP_IDS, CONTEXT, ClipTokenizer
from merclip_jax.weights import bundle as write
from merclip_jax.weights import hub as locate
from merclip_jax.weights.families import detect as families
from merclip_jax.weights.families import numbers as fit
from merclip_jax.weights.families.rules import Rule
from merclip_jax.weights.formats import read
from merclip_jax.weights.match import Placement, fail, flatten, not_finite, place

PARTS = ("video", "text")


@dataclasses.dataclass
class Opened:
    """What a source holds: parts placed by Flax path, and what each of them is.

    `records` are the names, sizes and checksums of the files of each part; `modules`
    the parts' numbers, their family among them; `initialised` what a converted folder
    leaves out of a part on purpose, path -> why.
    """

    name: str
    records: dict[str, list[dict]]
    parts: dict[str, Placement]
    modules: dict[str, dict]
    tokenizer: ClipTokenizer | None = None
    initialised: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


def open_source(source: str, *, only: str = "") -> Opened:
    """Reads a path, a converted or trained folder, or hf://owner/name/file.

    `only` names the one part that is wanted, which spares reading a folder's others.
    Raises UserError that names the source when it cannot be read or is no family that
    this project knows. Arrays that do not fit are told in the parts' problems.
    """
    path = locate.locate(source)
    if (path / write.LINEAGE).exists():
        return _from_folder(path, only)
    if path.is_dir() and checkpoint.holds_weights(path):
        return _from_training(path, only)
    path = locate.file_of(path)
    name = source if source.startswith(locate.HUB) else path.name
    if re.search(r"bpe_simple_vocab.*\.txt(\.gz)?$|merges\.txt$", path.name):
        tokenizer = ClipTokenizer.from_merges(path)
        record = _record(path, name, "CLIP's tokenizer")
        return Opened(name, {"text": [record]}, {}, {}, tokenizer)
    return _from_file(path, name)


def _from_file(path: Path, name: str) -> Opened:
    found = read.read(path)
    named = families.recognise(str(path), found.state)
    family = families.FAMILIES[named.family]
    if named.family == "clip":
        locate.check_activation(path)
    is_text = [re.compile(pattern) for pattern, _, _ in family.text]
    text, video = {}, {}
    for key, array in named.state.items():
        mine = any(pattern.fullmatch(key) for pattern in is_text)
        (text if mine else video)[key] = array
    parts = {
        "video": _placed(video, family.video, family, named.names),
        "text": _placed(text, family.text, family, named.names),
    }
    modules = _modules(str(path), named.family, parts)
    for part in PARTS:
        if part not in modules:  # what lies beside the other, such as a logit scale
            other = parts[PARTS[1 - PARTS.index(part)]]
            other.dropped |= parts[part].dropped
            other.problems += parts[part].problems
            del parts[part]
    record = _record(path, name, family.title)
    record |= {"nested": list(found.nested), "prefixes": list(named.prefixes)}
    tokenizer = None
    if "text" in parts and modules["text"]["vocabulary"] == CLIP_IDS:
        tokenizer = write.tokenizer_in(path.parent, context=CONTEXT)
    records = {part: [record] for part in parts}
    return Opened(name, records, parts, modules, tokenizer)


def _placed(
    state: Mapping[str, np.ndarray],
    rules: list[Rule],
    family: families.Family,
    names: Mapping[str, tuple[str, ...]],
) -> Placement:
    return place(state, rules, dropped=family.dropped, names=names)


def _modules(name: str, family: str, parts: Mapping[str, Placement]) -> dict[str, dict]:
    """What the parts are; UserError with all problems when they do not tell it."""
    problems = [problem for part in parts.values() for problem in part.problems]
    video, text = parts["video"], parts["text"]
    try:
        video = families.video_module(family, video.arrays)
        text = families.text_module(text.arrays)
    except families.Unclear as error:
        if not any(error.path in part.bad for part in parts.values()):
            keys = parts["video"].keys | parts["text"].keys
            shown = " + ".join(keys.get(error.path, [error.path]))
            problems.append(f"{shown}: {error.why}")
        raise fail(name, problems) from error
    if not (video or text):
        raise fail(name, problems or ["neither a video encoder nor a text tower"])
    if video:
        video |= {"family": family, "size": fit.size_name(video)}
        if video["encoder"] == "uniformer_v2":
            video["structure"] = fit.structure_name(video)
    if text:
        text["family"] = family
    found = {"video": video, "text": text}
    return {part: module for part, module in found.items() if module}


def _from_folder(path: Path, only: str) -> Opened:
    arrays, lineage = write.read_folder(path, only=only)
    made = {part: lineage["parts"][part] for part in arrays}
    parts = {}
    for part, found in arrays.items():
        keys = {p: tuple(k) for p, k in made[part]["used"].items()}
        parts[part] = _checked(found, keys)
    tokenizer = write.tokenizer_in(path, context=CONTEXT)
    known = lineage["parts"].get("text", {}).get("tokenizer_sha256")
    if known and tokenizer and tokenizer.sha256 != known:
        raise UserError(f"{path}: {write.LINEAGE} and its tokenizer are of two makings")
    return Opened(
        path.name,
        {part: account["sources"] for part, account in made.items()},
        parts,
        {part: lineage["modules"][part] for part in arrays},
        tokenizer,
        {part: account["initialised"] for part, account in made.items()},
    )


def _from_training(path: Path, only: str) -> Opened:
    """Weights that a training run of this project kept: a video part."""
    if only == "text":
        return Opened(path.name, {}, {}, {})
    arrays = flatten(checkpoint.load_weights(path))
    video = _checked(arrays, {p: (p,) for p in arrays})
    modules = _modules(str(path), "mer_clip", {"video": video, "text": Placement()})
    record = {
        "name": path.name,
        "family": "MER-CLIP trained here",
        "bytes": sum(array.nbytes for array in arrays.values()),
        "sha256": write.digest(arrays),
        "earlier": _earlier(path),
    }
    return Opened(path.name, {"video": [record]}, {"video": video}, modules)


def _checked(
    arrays: Mapping[str, np.ndarray], keys: Mapping[str, tuple[str, ...]]
) -> Placement:
    """Arrays of this project's own making, which may have been changed since."""
    bad = {path: why for path, array in arrays.items() if (why := not_finite(array))}
    return Placement(
        {path: array for path, array in arrays.items() if path not in bad},
        {path: found for path, found in keys.items() if path not in bad},
        problems=[f"{path}: {why}" for path, why in bad.items()],
        bad=set(bad),
    )


def _earlier(path: Path) -> list[str]:
    """What the weights of a training started from, as its result card says it."""
    origin = path / "origin.json"
    if not origin.exists():
        return []
    try:
        return [str(line) for line in json.loads(origin.read_text("utf-8"))["lineage"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{origin}: not whole ({error!r})") from error


def _record(path: Path, name: str, title: str) -> dict:
    return {
        "name": name,
        "family": title,
        "bytes": path.stat().st_size,
        "sha256": read.sha256(path),
    }
