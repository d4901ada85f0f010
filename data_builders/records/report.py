"""What is said of a dataset: its metadata, and the lines that people see."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.readers.findings import KINDS, Finding, words
from data_builders.readers.release import Release
from data_builders.records import counts
from data_builders.records.contents import Contents
from data_builders.records.crop import Crop
from data_builders.terminal import say

_SHOWN = 3  # findings of a kind that are printed; JSON files hold all
# What is so by a table's nature: three examples of what holds for most clips teach
# nothing, so from this share of the clips on they are counted alone.
_COMMON = 0.1
_COMMONLY = ("apex_missing", "long", "short", "no_aus", "no_label")


def describe(release: Release, config: str, crop: Crop | None) -> dict[str, object]:
    """Says in metadata what is known of a release.

    Args:
        release: What was found.
        config: The config's name.
        crop: How faces are cut out, None for pictures as they are.

    Returns:
        Plain JSON values. layout, table, table_version: what was read; rows: how many
        can be read; seconds: how long they last; crop: how faces are cut out; tasks:
        see `counts.report`; findings: kind -> all that is odd.
    """
    seconds = sorted((row.offset - row.onset + 1) / row.fps for row in release.rows)
    return {
        "layout": release.layout,
        "table": release.table,
        "table_version": release.version,
        "rows": len(release.rows),
        "seconds": {
            "median": round(seconds[len(seconds) // 2], 3) if seconds else 0.0,
            "longest": round(seconds[-1], 3) if seconds else 0.0,
        },
        "crop": crop.name if crop else "",
        "tasks": counts.report(release, config),
        "findings": grouped(release.findings),
    }


def grouped(findings: Iterable[Finding]) -> dict[str, list[dict[str, str]]]:
    """Returns findings by kind, in the order of `KINDS`, as plain JSON values."""
    lists: dict[str, list[dict[str, str]]] = {kind: [] for kind in KINDS}
    for finding in findings:
        lists[finding.kind].append(
            {"clip": finding.clip, "where": finding.where, "text": finding.text}
        )
    return {kind: found for kind, found in lists.items() if found}


def lines(found: Mapping[str, object], *, everything: bool = False) -> list[str]:
    """Says in lines what `describe` holds.

    Args:
        found: What it holds.
        everything: Whether all findings are shown, not a few of each kind.
    """
    shown = [
        f"layout       {found['layout']}",
        f"table        {found['table']} ({found['table_version'] or 'one version'})",
        f"faces        {found['crop'] or 'pictures as they are'}",
        "",
    ]
    shown += [*counts.table(found["tasks"], everything=everything), ""]
    rows, seconds = found.get("rows", 0), found.get("seconds", {})
    for kind, odd in found["findings"].items():
        common = kind in _COMMONLY and len(odd) > max(_SHOWN, _COMMON * rows)
        of = f" of {rows}" if common else ""
        line = f"{len(odd):6}{of} {words(kind, len(odd))}"
        if kind == "long" and seconds:
            line += f" (median of all {seconds['median']:.2f} s, longest "
            line += f"{seconds['longest']:.2f} s)"
        shown.append(line)
        few = odd if everything else odd[: 0 if common else _SHOWN]
        shown += [f"         {_one_line(one)}" for one in few]
        if few and len(odd) > len(few):
            shown.append(f"         and {len(odd) - len(few)} more")
    return shown


def _one_line(one: Mapping[str, str]) -> str:
    return str(Finding("table", one["where"], one["text"]))


def print_summary(folder: Path, found: Contents) -> None:
    """Prints what a built dataset holds.

    Args:
        folder: Where it is.
        found: Its contents.
    """
    # First what is in the records, then what the owners' files were like.
    emotions = ", ".join(f"{name} {n}" for name, n in found.emotions.items())
    say(f"clips        {found.clips}")
    say(f"subjects     {found.subjects}")
    say(f"frames       {found.frames}")
    say(f"emotions     {emotions}")
    say(f"folder       {folder}")
    say(f"fingerprint  {found.fingerprint}")
    say(f"records      {found.records}")
    metadata = tfds.builder_from_directory(folder).info.metadata
    if "findings" in metadata:
        say("\n".join(lines(metadata)))
        if metadata["findings"]:
            say(f"{folder / 'metadata.json'} lists all of them")
