"""A source of weights, whatever it is: a file, the hub's, a converted folder."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax import checkpoint
from merclip_jax.convert import families, fit, read, write
from merclip_jax.convert.apply import Placement, fail, flatten, place
from merclip_jax.convert.rules import Rule
from merclip_jax.errors import UserError
from merclip_jax.tokenizer import CONTEXT, ClipTokenizer

PARTS = ("video", "text")


@dataclasses.dataclass
class Opened:
    """What a source holds: parts placed by Flax path, and what each of them is.

    `records` are the files' names, sizes and checksums; `modules` the parts' numbers,
    their family among them.
    """

    name: str
    records: list[dict]
    parts: dict[str, Placement]
    modules: dict[str, dict]
    tokenizer: ClipTokenizer | None = None


def open_source(source: str, *, only: str = "") -> Opened:
    """Reads a path, a converted or trained folder, or hf://owner/name/file.

    `only` names the one part that is wanted, which spares reading a folder's others.
    Raises UserError that names the source when it cannot be read or is no family that
    this project knows. Arrays that do not fit are told in the parts' problems.
    """
    path = read.locate(source)
    if (path / write.LINEAGE).exists():
        return _from_folder(path, only)
    if path.is_dir() and checkpoint.holds_weights(path):
        return _from_training(path)
    path = read.file_of(path)
    if re.search(r"bpe_simple_vocab.*\.txt(\.gz)?$|merges\.txt$", path.name):
        tokenizer = ClipTokenizer.from_merges(path)
        return Opened(path.name, [_record(path, "CLIP's tokenizer")], {}, {}, tokenizer)
    return _from_file(path)


def _from_file(path: Path) -> Opened:
    found = read.read(path)
    named = families.recognise(str(path), found.state)
    family = families.FAMILIES[named.family]
    if named.family == "clip":
        _check_activation(path)
    is_text = [re.compile(pattern) for pattern, _, _ in family.text]
    text, video = {}, {}
    for key, array in named.state.items():
        mine = any(pattern.fullmatch(key) for pattern in is_text)
        (text if mine else video)[key] = array
    parts = {
        "video": _placed(video, family.video, family, named.names),
        "text": _placed(text, family.text, family, named.names),
    }
    record = _record(path, family.title)
    record |= {"nested": list(found.nested), "prefixes": list(named.prefixes)}
    try:
        modules = _modules(named.family, parts)
    except (KeyError, ValueError) as error:  # what tells the structure lacks or is odd
        problems = [p for part in parts.values() for p in part.problems]
        if not any(error.args[0] in part.bad for part in parts.values()):
            problems.append(f"{error.args[0]}: missing from the file")
        raise fail(str(path), problems) from error
    for name in PARTS:
        if (
            name not in modules
        ):  # what lies beside the other part, such as a logit scale
            other = parts[PARTS[1 - PARTS.index(name)]]
            other.dropped |= parts[name].dropped
            other.problems += parts[name].problems
            del parts[name]
    if not parts:
        raise UserError(f"{path}: neither a video encoder nor a text tower is in it")
    tokenizer = None
    if "text" in parts and modules["text"]["vocabulary"] > 49_000:
        tokenizer = write.tokenizer_in(path.parent, context=CONTEXT)
    return Opened(path.name, [record], parts, modules, tokenizer)


def _placed(
    state: Mapping[str, np.ndarray],
    rules: list[Rule],
    family: families.Family,
    names: Mapping[str, tuple[str, ...]],
) -> Placement:
    return place(state, rules, dropped=family.dropped, names=names)


def _modules(family: str, parts: Mapping[str, Placement]) -> dict[str, dict]:
    video = families.video_module(family, parts["video"].arrays)
    text = families.text_module(parts["text"].arrays)
    if video:
        video |= {"family": family, "size": fit.size_name(video)}
        if video["encoder"] == "uniformer_v2":
            video["structure"] = fit.structure_name(video)
    if text:
        text["family"] = family
    found = {"video": video, "text": text}
    return {name: module for name, module in found.items() if module}


def _from_folder(path: Path, only: str) -> Opened:
    arrays, lineage = write.read_folder(path, only=only)
    parts = {}
    for name, found in arrays.items():
        keys = {p: tuple(k) for p, k in lineage["parts"][name]["used"].items()}
        if keys.keys() != found.keys():
            raise UserError(f"{path}: {write.LINEAGE} and {name} are not of one making")
        parts[name] = Placement(found, keys)
    tokenizer = write.tokenizer_in(path, context=CONTEXT)
    return Opened(path.name, lineage["sources"], parts, lineage["modules"], tokenizer)


def _from_training(path: Path) -> Opened:
    """Weights that a training run of this project kept."""
    arrays = flatten(checkpoint.load_weights(path))
    video = Placement(arrays, {p: (p,) for p in arrays})
    parts = {"video": video, "text": Placement()}
    try:
        modules = _modules("mer_clip", parts)
    except KeyError as error:
        raise UserError(f"{path}: not this project's weights, {error} lacks") from error
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    size = sum(array.nbytes for array in arrays.values())
    record = {
        "name": path.name,
        "family": "MER-CLIP trained here",
        "bytes": size,
        "sha256": digest.hexdigest(),
        "earlier": _earlier(path),
    }
    return Opened(path.name, [record], {"video": video}, modules)


def _earlier(path: Path) -> list[str]:
    """What the weights of a training started from, as its result card says it."""
    origin = path / "origin.json"
    if not origin.exists():
        return []
    try:
        return [str(line) for line in json.loads(origin.read_text("utf-8"))["lineage"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{origin}: not whole ({error!r})") from error


def _record(path: Path, title: str) -> dict:
    return {
        "name": path.name,
        "family": title,
        "bytes": path.stat().st_size,
        "sha256": read.sha256(path),
    }


def _check_activation(path: Path) -> None:
    """UserError when a file's own configuration names another activation than ours."""
    for name in ("config.json", "open_clip_config.json"):
        beside = path.with_name(name)
        if not beside.exists():
            continue
        try:
            config = json.loads(beside.read_text("utf-8"))
            towers = [config.get(f"{t}_config") or {} for t in ("vision", "text")]
            used = {t.get("hidden_act", "quick_gelu") for t in towers}
            if "model_cfg" in config and not config["model_cfg"].get("quick_gelu"):
                used.add("gelu")
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(
                f"{beside}: not a model's configuration ({error})"
            ) from error
        if used != {"quick_gelu"}:
            raise UserError(
                f"{path}: {name} beside it says that its towers use "
                f"{' and '.join(sorted(used - {'quick_gelu'}))}; the towers here use "
                "quick_gelu, as OpenAI's do, and would compute something else"
            )
