"""The account of a conversion as a table that a person can read."""

import os
import re
from collections.abc import Mapping, Sequence

from merclip_jax.weights.families.numbers import Fit

GROUPS = (
    (r".*/encoder/block_\d+/lmhra.*", "local MHRA"),
    (r".*/encoder/block_.*", "ViT blocks"),
    (r".*/encoder/global_.*", "global blocks"),
    (r".*/encoder/temporal_\d.*", "temporal blocks"),
    (r".*/encoder/(norm|ln_post)/.*", "pooled norm"),
    (r".*/encoder/.*", "stem"),
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


def table(fitted: Fit, unplaced: Mapping[str, str] | None = None) -> str:
    """Part, tensors, parameters, source -> destination, initialised, unused.

    `unplaced` are further keys that are left aside, and why. Reasons and problems
    follow below the table.
    """
    dropped = dict(fitted.dropped) | dict(unplaced or {})
    rows = []
    for name in dict.fromkeys(name for _, name in GROUPS):
        used = [path for path in fitted.used if group(path) == name]
        fresh = [path for path in fitted.initialised if group(path) == name]
        if not used and not fresh:
            continue
        keys = [key for path in used for key in fitted.used[path]]
        size = fitted.parameters(used)
        way = f"{_stem(keys, '.')} -> {_stem(used, '/')}" if used else _stem(fresh, "/")
        rows.append((name, str(len(keys)), f"{size:,}", way, str(len(fresh)), "0"))
    if dropped:
        rows.append(
            ("left aside", "0", "0", _stem(dropped, "."), "0", str(len(dropped)))
        )
    keys = sum(len(k) for k in fitted.used.values())
    size = fitted.parameters(fitted.used)
    total = (
        str(keys),
        f"{size:,}",
        "",
        str(len(fitted.initialised)),
        str(len(dropped)),
    )
    lines = _columns([HEADER, *rows, ("total", *total)])
    lines += _reasons("changed", fitted.changed)
    lines += _reasons("initialised", fitted.initialised)
    lines += _reasons("unused", dropped)
    if fitted.problems:
        lines.append(f"UNEXPLAINED: {len(fitted.problems)}")
        lines += [f"  {problem}" for problem in sorted(fitted.problems)]
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
