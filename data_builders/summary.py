"""What a built dataset says of itself: its metadata, and the lines printed of it."""

from pathlib import Path

import tensorflow_datasets as tfds

from data_builders import counts, write
from data_builders.examples import Crop
from data_builders.release import Release

_SHOWN = 20  # notes that are printed; metadata.json holds all


def describe(release: Release, crop: Crop | None) -> dict[str, object]:
    """What the metadata say of a release: source, tasks, everything odd, what is out.

    notes: one line each; excluded: clips that could not be built, with the reason.
    """
    return {
        "table": release.table,
        "table_version": release.version,
        "layout": release.layout,
        "crop": crop.name if crop else "",
        "tasks": counts.report(release),
        "excluded": [str(f) for f in release.findings if f.stops and f.clip],
        "notes": [str(f) for f in release.findings if not (f.stops and f.clip)],
    }


def print_summary(folder: Path, found: write.Contents) -> None:
    """Say what a built dataset holds."""
    metadata = tfds.builder_from_directory(folder).info.metadata
    emotions = ", ".join(f"{name} {n}" for name, n in found.emotions.items())
    print(f"clips        {found.clips}")
    print(f"subjects     {found.subjects}")
    print(f"frames       {found.frames}")
    print(f"emotions     {emotions}")
    print(f"folder       {folder}")
    print(f"fingerprint  {found.fingerprint}")
    print(f"records      {found.records}")
    if "table" not in metadata:
        return
    print(f"table        {metadata['table']} {metadata['table_version']}".rstrip())
    print(f"faces        {metadata['crop'] or 'pictures as they came'}")
    for name, task in metadata["tasks"].items():
        print(f"task         {counts.line(name, task)}")
        for line in [*task["differences"], *task["explained"]]:
            print(f"               {line}")
    for title in ("excluded", "notes"):
        lines = metadata[title]
        for line in lines[:_SHOWN]:
            print(f"{title:12} {line}")
        if len(lines) > _SHOWN:
            print(
                f"{title:12} and {len(lines) - _SHOWN} more, in {folder}/metadata.json"
            )
