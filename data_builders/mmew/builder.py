"""MMEW: 300 micro-expressions of 30 subjects at 90 fps (Ben et al., 2021).

README.md beside this file: access, layout, oddities.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder
from data_builders.files import DatasetError, find_tree, subfolders
from data_builders.mmew import table
from data_builders.release import Finding, Release, Row, check_counts, gather
from data_builders.tables import emotion_label

# One public reader looks for the clips of "others" in a folder of this name.
OTHERS = "repression"


class Mmew(ClipBuilder):
    """MMEW; config: cropped."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="cropped",
            description="Micro_Expression/: aligned face crops, onset to offset",
        ),
    ]
    CROPPED = frozenset({"cropped"})
    DESCRIPTION = "The micro-expressions of MMEW, with AUs and emotions"
    HOMEPAGE = "http://www.dpailab.com/database.html"
    LICENSE = "the owners' licence agreement; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
MMEW may not be redistributed: each institution applies to its owners.
1. Apply: http://www.dpailab.com/database.html
2. Put the files into one folder, unpacked, for example ~/data/MMEW:
     ~/data/MMEW/MMEW_Final/MMEW_Micro_Exp.xlsx
     ~/data/MMEW/MMEW_Final/Micro_Expression/happiness/S01-01-001/1.jpg ...
   The folder Macro_Expression/ is not needed.
3. Type:
     python -m data_builders.build --dataset=mmew --manual_dir=~/data/MMEW
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        path = table.find(manual_dir)
        tree = find_tree(manual_dir, ["Micro_Expression"])
        if tree is None:
            raise DatasetError(
                f"{manual_dir}: expected a folder Micro_Expression/ with anger/ and so "
                "on inside"
            )
        places = clip_folders(tree)
        rows, findings = table.read(path, places)
        folders, odd = chosen(rows, places)
        return gather(
            cls.name,
            rows,
            folders,
            root=manual_dir,
            layout=f"{tree.relative_to(manual_dir)}/ ({config})",
            table=path.name,
            version=f"{len(rows)} of {sum(table.EMOTIONS.values())} rows",
            findings=[
                *findings,
                *odd,
                *unlisted(places, folders.values()),
                *check_counts(rows, table.EMOTIONS, path.name),
            ],
        )


def clip_folders(tree: Path) -> dict[str, list[Path]]:
    """Clip's name in lower case -> its folders, of whichever emotion."""
    found: dict[str, list[Path]] = {}
    for emotion in subfolders(tree).values():
        for name, path in subfolders(emotion).items():
            found.setdefault(name, []).append(path)
    return found


def chosen(
    rows: Iterable[Row], places: Mapping[str, Sequence[Path]]
) -> tuple[dict[str, Path], list[Finding]]:
    """Clip in lower case -> the folder under its emotion, else any, which is told."""
    folders: dict[str, Path] = {}
    findings: list[Finding] = []
    for row in rows:
        paths = places.get(row.clip.split("/")[1].lower(), [])
        own = [path for path in paths if _emotion(path) == row.emotion]
        if paths:
            folders[row.clip.lower()] = (own or paths)[0]
        if paths and not own:
            said = f"expected its folder under {row.emotion}/, found {paths[0]}"
            where = f"{row.where}, clip {row.clip}"
            findings.append(Finding("misplaced", where, said, row.clip))
    return folders, findings


def unlisted(
    places: Mapping[str, Sequence[Path]], taken: Iterable[Path]
) -> list[Finding]:
    """Folders that no row takes."""
    left = {path for paths in places.values() for path in paths} - set(taken)
    text = "no row of the table that can be read takes this folder"
    return [Finding("unlisted", str(path), text) for path in sorted(left)]


def _emotion(path: Path) -> str:
    label = emotion_label(path.parent.name)
    return "others" if label == OTHERS else label
