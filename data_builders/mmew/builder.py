"""MMEW: 300 micro-expressions of 30 subjects at 90 fps (Ben et al., 2021).

README.md beside this file: access, layout, oddities.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.readers.declaration import (
    Cells,
    Columns,
    Edition,
    Folders,
    Mended,
    Named,
    Table,
    Tree,
)
from data_builders.readers.findings import DatasetError
from data_builders.readers.folders import folders_in, frame_files
from data_builders.readers.release import Row
from data_builders.readers.table import Record, emotion_label, integer, is_empty

# One public reader looks for the clips of "others" in a folder of this name.
OTHERS = "repression"


def subject_of(clip: str) -> str:
    """Returns the subject in a clip's name, such as "S01" of S01-01-001, or ""."""
    parts = re.fullmatch("S([0-9]+)-[0-9]+-[0-9]+", clip, re.IGNORECASE)
    return f"S{int(parts[1]):02d}" if parts else ""


def name(cells: Cells) -> Named:
    """Returns the clip of a row, such as "S01/S01-01-001".

    Where the column Subject says otherwise, the clip's name is believed: its folder
    bears it.
    """
    clip = cells["Filename"]
    subject = subject_of(clip)
    if not subject:
        wrong = {"Filename": "a name such as S01-01-001"}
        return Named(subject=cells["Subject"], name=clip, wrong=wrong)
    told = {}
    if integer(cells["Subject"].upper().removeprefix("S")) != int(subject[1:]):
        told["Subject"] = f"read as {subject}, as in the clip's name"
    return Named(subject=subject, name=clip, told=told)


def mend(record: Record, folders: Sequence[Path]) -> Mended | None:
    """Takes the last frame on disk for an offset that is missing or before the onset.

    Args:
        record: The row's cells.
        folders: The clip's folders; of several none says where the clip ends.

    Returns:
        The offset, None where there is nothing to mend or to mend it with.
    """
    onset, offset = integer(record["OnsetFrame"]), integer(record["OffsetFrame"])
    before = onset is not None and offset is not None and offset < onset
    if len(folders) != 1 or not (before or is_empty(record["OffsetFrame"])):
        return None
    try:
        last = max(frame_files(folders[0]), default=0)
    except DatasetError:  # told when the frames are gathered
        return None
    text = f"offset {record['OffsetFrame']!r} read as {last}, the last frame"
    return Mended({"OffsetFrame": last}, text) if last else None


def clips(top: Path) -> Iterator[tuple[str, Path]]:
    """Yields (clip, folder) of a tree with a folder per emotion and clips inside."""
    for emotion in folders_in(top):
        for path in folders_in(emotion):
            yield f"{subject_of(path.name)}/{path.name}", path


def take(row: Row, top: Path, folders: Folders) -> tuple[Path | None, str]:
    """Takes the folder under the row's emotion, else any; see `Tree.take`."""
    del top
    paths = folders.get(row.clip.lower(), ())
    own = [path for path in paths if _emotion(path) == row.emotion]
    if own or not paths:
        return next(iter(own), None), ""
    return paths[0], f"expected its folder under {row.emotion}/, found {paths[0]}"


def _emotion(path: Path) -> str:
    label = emotion_label(path.parent.name)
    return "others" if label == OTHERS else label


TABLE = Table(
    called="the coding table MMEW_Micro_Exp.xlsx",
    editions=(
        Edition(
            pattern="mmew_micro_exp.*[.](xlsx|csv)",
            emotions={
                "anger": 8,
                "disgust": 72,
                "fear": 16,
                "happiness": 36,
                "others": 66,
                "sadness": 13,
                "surprise": 89,
            },
        ),
    ),
    columns=Columns(
        names=("Subject", "Filename"),
        frames=("OnsetFrame", "ApexFrame", "OffsetFrame"),
        emotion="Estimated Emotion",
        aus="Action Units",
    ),
    fps=90.0,
    name=name,
    mend=mend,
)
TREES = {
    "cropped": Tree(
        folder="Micro_Expression",
        inside="anger/",
        description="Micro_Expression/: aligned face crops, onset to offset",
        cropped=True,
        several=True,  # of whichever emotion
        clips=clips,
        take=take,
    )
}


class Mmew(ClipBuilder):
    """MMEW; config: cropped."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configs_of(TREES)
    TABLE, TREES = TABLE, TREES
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
