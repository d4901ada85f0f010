"""Sources to a converted folder, and folders back to PyTorch's names."""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.models import mer_clip
from merclip_jax.tokenizer import ClipTokenizer
from merclip_jax.weights import bundle as write
from merclip_jax.weights import load as start
from merclip_jax.weights import provenance as lineage
from merclip_jax.weights import sources, table
from merclip_jax.weights.families import detect as families
from merclip_jax.weights.families import numbers as fit
from merclip_jax.weights.families.numbers import Fit
from merclip_jax.weights.match import ConversionError, Why, fail, to_torch
from merclip_jax.weights.sources import Opened

INTO = ("uniformer_v2", "factorized_vit")
_CLASSIFIER = (
    "params/(head/)?classifier/.*",
    "the last layer starts anew (--new_head)",
)


@dataclasses.dataclass
class Converted:
    """Fitted parts with the source that each comes from, and the tokenizer.

    `records` are all sources' files, `left` what is left aside of them, and why.
    """

    fits: dict[str, Fit]
    opened: dict[str, Opened]
    records: list[dict]
    left: dict[str, str]
    tokenizer: ClipTokenizer | None

    @property
    def problems(self) -> list[str]:
        """What nobody can explain, over all parts."""
        return [problem for fitted in self.fits.values() for problem in fitted.problems]

    def modules(self) -> dict[str, dict]:
        """The numbers of every part's module as it is written."""
        found = {name: dict(o.modules[name]) for name, o in self.opened.items()}
        if "text" in found:
            found["text"] = start.padded(found["text"])
        return found


def convert(
    names: Sequence[str], *, into: str = "", new_head: bool = False
) -> Converted:
    """The first video part and the first text part of some sources, fitted.

    A part keeps the file's own structure; `into` fits a CLIP image tower into a video
    encoder of its size. `new_head` leaves the last layer out. Raises UserError for what
    cannot be read; what does not fit stands in the parts' problems.
    """
    found = Converted({}, {}, [], {}, None)
    vocabularies = []
    for name in names:
        opened = sources.open_source(name)
        _take(found, opened)
        vocabularies += [] if opened.parts else opened.records["text"]
    if not found.opened:
        raise UserError(f"{', '.join(names)}: no weights, only a tokenizer")
    if "text" in found.opened:
        text = found.opened["text"]
        records = {"text": [*text.records["text"], *vocabularies]}
        found.opened["text"] = dataclasses.replace(
            text, records=text.records | records, tokenizer=found.tokenizer
        )
    if new_head and not _has_last(found.opened.get("video")):
        raise UserError(f"--new_head: {', '.join(names)}: no last layer to leave out")
    for part, opened in found.opened.items():
        if part == "text":
            found.fits[part] = start.fit_text(opened, opened.modules[part])
        else:
            found.fits[part] = _fit_video(opened, into, new_head)
    size = found.modules().get("text", {}).get("vocabulary")
    if found.tokenizer and size not in (None, found.tokenizer.size):
        raise UserError(
            f"the tokenizer has {found.tokenizer.size} ids, the text tower {size}"
        )
    return found


def _take(found: Converted, opened: Opened) -> None:
    """Adds a source: its parts that are new, the rest left aside."""
    for records in opened.records.values():
        found.records += [r for r in records if r not in found.records]
    found.tokenizer = found.tokenizer or opened.tokenizer
    for part, placed in opened.parts.items():
        if part not in found.opened:
            found.opened[part] = opened
            continue
        why = f"the {part} part comes from {found.opened[part].name}"
        keys = [key for names in placed.keys.values() for key in names]
        found.left |= placed.dropped | dict.fromkeys(keys, why)
        found.left |= dict.fromkeys(placed.problems, f"{why}; not checked")


def write_folder(found: Converted, dst: Path) -> None:
    """The converted folder; UserError lists the problems, and nothing is written."""
    if found.problems:
        raise fail(", ".join(r["name"] for r in found.records), found.problems)
    made = {
        "sources": found.records,
        "modules": found.modules(),
        "parts": {},
        "left": found.left,
    }
    for part, fitted in found.fits.items():
        account = lineage.account(found.opened[part], fitted, part)
        kept = {k: v for k, v in account.items() if k not in ("part", "module")}
        made["parts"][part] = kept | {"arrays_sha256": write.digest(fitted.arrays)}
    arrays = {part: fitted.arrays for part, fitted in found.fits.items()}
    write.write_folder(dst, arrays, made, found.tokenizer)


def write_torch(name: str, dst: Path) -> int:
    """A source's weights under the authors' names, as safetensors; tensors written.

    A MER-CLIP whose temperature is not learned gets the fixed one. Raises UserError
    that lists what lacks, is not finite or has no name there.
    """
    opened = sources.open_source(name)
    video = opened.modules.get("video", {})
    whole = video.get("family") == "mer_clip"
    encoder = video.get("into", video.get("encoder", ""))
    if "into" in video or encoder == "factorized_vit":
        of = "factorized_vit" if encoder == "factorized_vit" else f"CLIP in {encoder}"
        raise UserError(
            f"{name}: its encoder is {of}; the authors' code has none such, "
            "so there are no names for it"
        )
    left = [
        f"{p}: {w}" for part in opened.initialised.values() for p, w in part.items()
    ]
    if left:
        raise fail(f"{name}: not all of it is in the folder", left)
    state: dict[str, np.ndarray] = {}
    for part, placed in opened.parts.items():
        module = opened.modules[part]
        fitted = (
            _fit_whole(opened) if part == "video" else start.fit_text(opened, module)
        )
        if fitted.problems:
            raise fail(name, fitted.problems)
        family = families.FAMILIES["mer_clip" if whole else module["family"]]
        rules = family.video if part == "video" else family.text
        try:
            named = to_torch(placed.arrays, rules)
        except ConversionError as error:
            raise UserError(f"{name}: {error}") from error
        both = sorted(named.keys() & state.keys())
        if both:
            raise fail(name, [f"{key}: a key of both parts" for key in both])
        state |= named
    if whole and video["classes"] and "logit_scale" not in state:
        fixed = math.log(1 / mer_clip.TEMPERATURE)
        state["logit_scale"] = np.asarray(fixed, np.float32)
    write.write_torch(dst, state)
    return len(state)


def report(found: Converted) -> str:
    """Tables of all parts, and what modules they are."""
    text = []
    for part, fitted in found.fits.items():
        text.append(f"{part}: {describe(found.modules()[part])}")
        text.append(table.table(fitted))
        text.append("")
    for why, count in lineage.reasons(found.left).items():
        text.append(f"left aside: {count} tensors, {why}")
    kept = "none: give it as a further --src" if not found.tokenizer else "found"
    if "text" in found.fits:
        text.append(f"tokenizer: {kept}")
    return "\n".join(text).rstrip()


def describe(module: dict) -> str:
    """One line on a module: family, encoder, size, structure, classes."""
    title = families.FAMILIES[module["family"]].title
    if "vocabulary" in module:
        return (
            f"{title} text tower, {module['layers']} layers of {module['width']}, "
            f"{module['vocabulary']} ids, context {module['context']}"
        )
    size = module["size"] or f"{module['layers']} layers of {module['width']}"
    line = f"{title}, {module['encoder']} {size}, patch {module['patch_size']}"
    line += f", {module['image_size']} pixels"
    if "structure" in module:
        line += (
            f", structure {module['structure'] or 'unknown'}: temporal kernel "
            f"{module['taps']}, {module['local_mhra'] or 'no'} local MHRA a block, "
            f"{module['global_blocks']} global blocks"
        )
    line += f", {module['classes']} classes" if module["classes"] else ""
    return line + (f", fitted into {module['into']}" if "into" in module else "")


def _fit_video(opened: Opened, into: str, new_head: bool) -> Fit:
    module = opened.modules["video"]
    if into or "into" in module:
        return _fit_into(opened, into or module["into"])
    return _fit_whole(opened, [_CLASSIFIER] if new_head else [])


def _fit_into(opened: Opened, into: str) -> Fit:
    module = opened.modules["video"]
    if into not in INTO:
        raise UserError(f"--into={into}: expected one of {', '.join(INTO)}")
    known = module["family"] == "clip" and module["size"]
    if not known or module.get("into", into) != into:
        raise UserError(
            f"--into={into} takes CLIP's image towers of the sizes "
            f"{', '.join(mer_clip.SIZES)}; {opened.name} is {describe(module)}"
        )
    model = mer_clip.mer_clip(mer_clip.SIZES[module["size"]], classes=1, video=into)
    frames = 16 if into == "factorized_vit" else 1
    shapes = fit.shapes_of(model, module["image_size"], frames=frames)
    own = {path: s for path, s in shapes.items() if "/encoder/" in path}
    module |= {"into": into}
    return start.fit_vision(opened, own)


def _fit_whole(opened: Opened, last: Sequence[Why] = ()) -> Fit:
    """The video part in the module that its own numbers describe.

    What a folder leaves out on purpose, and `last`, need not be there.
    """
    module = opened.modules["video"]
    try:
        shapes = fit.video_shapes(module["family"], module)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise UserError(
            f"{opened.name}: no module has these numbers ({error}): {module}"
        ) from error
    left = opened.initialised.get("video", {}).items()
    fresh = [*last, *((re.escape(path), why) for path, why in left)]
    return fit.fit(opened.parts["video"], shapes, fresh=fresh, unused=last)


def _has_last(opened: Opened | None) -> bool:
    if opened is None:
        return False
    paths = [*opened.parts["video"].arrays, *opened.initialised.get("video", {})]
    return any(re.fullmatch(_CLASSIFIER[0], path) for path in paths)
