"""What is said of a dataset: its metadata, and the lines that people see."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.readers.findings import KINDS, Finding
from data_builders.readers.release import Release
from data_builders.records import counts
from data_builders.records.contents import Contents
from data_builders.records.encode import Crop

_SHOWN = 3  # findings of a kind that are printed; JSON files hold all


def describe(release: Release, config: str, crop: Crop | None) -> dict[str, object]:
    """Says in metadata what is known of a release.

    Args:
        release: What was found.
        config: The config's name.
        crop: How faces are cut out, None for pictures as they are.

    Returns:
        Plain JSON values. layout, table, table_version: what was read; crop: how faces
        are cut out; tasks: see `counts.report`; findings: kind -> all that is odd.
    """
    return {
        "layout": release.layout,
        "table": release.table,
        "table_version": release.version,
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
    shown += [*counts.table(found["tasks"]), ""]
    for kind, odd in found["findings"].items():
        few = odd if everything else odd[:_SHOWN]
        shown.append(f"{len(odd):6} {KINDS[kind]}")
        shown += [f"         {one['where']}: {one['text']}" for one in few]
        if len(odd) > len(few):
            shown.append(f"         and {len(odd) - len(few)} more")
    return shown


def print_summary(folder: Path, found: Contents) -> None:
    """Prints what a built dataset holds.

    Args:
        folder: Where it is.
        found: Its contents.
    """
    # First what is in the records, then what the owners' files were like.
    emotions = ", ".join(f"{name} {n}" for name, n in found.emotions.items())
    print(f"clips        {found.clips}")
    print(f"subjects     {found.subjects}")
    print(f"frames       {found.frames}")
    print(f"emotions     {emotions}")
    print(f"folder       {folder}")
    print(f"fingerprint  {found.fingerprint}")
    print(f"records      {found.records}")
    metadata = tfds.builder_from_directory(folder).info.metadata
    if "findings" in metadata:
        print("\n".join(lines(metadata)))
        if metadata["findings"]:
            print(f"{folder / 'metadata.json'} lists all of them")
