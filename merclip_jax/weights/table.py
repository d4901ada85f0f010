"""The provenance of parts as tables that a person can read: `--check`."""

import os
import re
from collections.abc import Mapping, Sequence

from merclip_jax.weights.fitting import describe
from merclip_jax.weights.part import Part, Source
from merclip_jax.weights.provenance import reasons

# The first pattern that fits names the group, so special ones stand above general ones.
GROUPS = (
    (r".*/encoder/block_\d+/lmhra.*", "local MHRA"),
    (r".*/encoder/block_.*", "ViT blocks"),
    (r".*/encoder/global_.*", "global blocks"),
    (r".*/encoder/temporal_\d.*", "temporal blocks"),
    (r".*/encoder/(norm|ln_post)/.*", "pooled norm"),
    (r".*/encoder/.*", "stem"),
    (r".*/frames/block_.*", "frame blocks"),
    (r".*/frames/.*", "frame stem and features"),
    (r"params/(scorer/.*|ranker)", "rank scorer"),
    (r"params/hidden/.*", "emotion head"),
    (r".*/decoder/.*", "image decoder"),
    (r"params/image_projection", "image projection"),
    (r"params/(video_projection|video_norm/.*)", "projector"),
    (r"params/head_.*", "head projector"),
    (r"params/head/.*", "emotion head"),
    (r"params/classifier/.*", "classifier"),
    (r"params/logit_.*", "temperature"),
    (r"params/block_.*", "text blocks"),
    (r"params/.*embedding", "text embeddings"),
    (r"params/ln_final/.*", "text norm"),
    (r"params/.*", "text projection"),
)
HEADER = ("part", "tensors", "parameters", "source -> destination", "init", "unused")


def report(found: Source) -> str:
    """What was taken of the files, tables of all parts, and what modules they are."""
    text = [line for record in found.files for line in _taken(record)]
    for kind, part in found.parts.items():
        text += [f"{kind}: {describe(part.module)}", table(part), ""]
    for why, count in reasons(found.left).items():
        text.append(f"left aside: {count} tensors, {why}")
    if "text" in found.parts:
        kept = "found" if found.tokenizer else "none: give it as a further --src"
        text.append(f"tokenizer: {kept}")
    return "\n".join(text).rstrip()


def _taken(record: Mapping) -> list[str]:
    """What was taken of a file, and what lies in it beside."""
    name, lines = record["name"], []
    if taken := record.get("weights"):
        which, kind = taken
        lines.append(f"{name}: weights taken: {which or 'the whole file'} ({kind})")
    if others := record.get("other_weights"):
        lines.append(
            f"{name}: also holds {', '.join(others)}: --weights=NAME takes them"
        )
    if cut := record.get("prefixes"):
        lines.append(f"{name}: cut from its keys: {' '.join(cut)}")
    if classes := record.get("unknown_classes"):
        lines.append(
            f"{name}: beside them objects of {', '.join(classes[:5])}"
            f"{', ...' if len(classes) > 5 else ''}: not read, nothing of them was run"
        )
    return lines


def table(part: Part) -> str:
    """Where a part's tensors go, what starts anew and what is unused, by group.

    Reasons and problems follow below the table.
    """
    rows = []
    for name in dict.fromkeys(name for _, name in GROUPS):
        used = [path for path in part.used if group(path) == name]
        fresh = [path for path in part.initialised if group(path) == name]
        if not used and not fresh:
            continue
        keys = [key for path in used for key in part.used[path]]
        way = f"{_stem(keys, '.')} -> {_stem(used, '/')}" if used else _stem(fresh, "/")
        size = part.parameters(used)
        rows.append((name, len(keys), f"{size:,}", way, len(fresh), 0))
    if part.dropped:
        rows.append(
            ("left aside", 0, 0, _stem(part.dropped, "."), 0, len(part.dropped))
        )
    keys = sum(map(len, part.used.values()))
    fresh, dropped = len(part.initialised), len(part.dropped)
    rows.append(("total", keys, f"{part.parameters():,}", "", fresh, dropped))
    lines = _columns([HEADER, *(tuple(map(str, row)) for row in rows)])
    lines += _reasons("changed", part.changed)
    lines += _reasons("initialised", part.initialised)
    lines += _reasons("unused", part.dropped)
    if part.problems:
        lines.append(f"UNEXPLAINED: {len(part.problems)}")
        lines += [f"  {problem}" for problem in sorted(part.problems)]
    return "\n".join(lines)


def group(path: str) -> str:
    """The part of the model that a Flax path belongs to."""
    return next(name for pattern, name in GROUPS if re.fullmatch(pattern, path))


def _reasons(word: str, of: Mapping[str, str]) -> list[str]:
    lines = []
    for why in sorted(set(of.values())):
        names = [name for name, reason in of.items() if reason == why]
        shown = ", ".join(sorted({re.sub(r"\d+", "*", name) for name in names})[:4])
        more = ", ..." if len({re.sub(r"\d+", "*", n) for n in names}) > 4 else ""
        lines.append(f"{word}: {len(names)} ({why}): {shown}{more}")
    return lines


# A row for all blocks: their numbers become stars, and the common part stays.
def _stem(names: Sequence[str] | Mapping, separator: str) -> str:
    """What all names begin with, their numbers as stars; one name whole."""
    names = [re.sub(r"^(params|batch_stats)/", "", name) for name in names]
    if len(set(names)) == 1:
        return names[0]
    stem = os.path.commonprefix([re.sub(r"\d+", "*", name) for name in names])
    return stem[: stem.rfind(separator) + 1] + "*"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (1, 2, 4, 5)
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
