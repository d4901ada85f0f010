"""4DME: 267 micro-expressions, here the grey videos (Li et al., 2022).

README.md beside this file: access, layout, oddities.
"""

from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.readers.cells import Record, integer
from data_builders.readers.declaration import (
    Cells,
    Columns,
    Edition,
    Mended,
    Named,
    Table,
    Tree,
)
from data_builders.readers.findings import DatasetError
from data_builders.readers.folders import frame_files

FRAMES = ("Onset", "Apex", "Offset")


def name(cells: Cells) -> Named:
    """Returns the clip of a row: its sub_ID and its fold_name."""
    wrong = {column: "a name" for column, cell in cells.items() if not cell}
    return Named(subject=cells["sub_ID"], name=cells["fold_name"], wrong=wrong)


def mend(record: Record, folders: Sequence[Path]) -> Mended | None:
    """Moves onset, apex and offset where the files count the frames from elsewhere.

    So it is when they are not onset..offset, but just as many and without a gap.

    Args:
        record: The row's cells.
        folders: The clip's folder, if it has one.

    Returns:
        The numbers as the files have them, None where they are the same.
    """
    onset, apex, offset = (integer(record[column]) for column in FRAMES)
    if onset is None or offset is None or offset < onset or not folders:
        return None
    try:
        numbers = list(frame_files(folders[0]))
    except DatasetError:  # told when the frames are gathered
        return None
    length = offset - onset + 1
    if len(numbers) != length or numbers[-1] - numbers[0] + 1 != length:
        return None
    shift = numbers[0] - onset
    if not shift:
        return None
    cells = {FRAMES[0]: onset + shift, FRAMES[2]: offset + shift}
    if apex is not None:  # else the cell stays: it may say none, or be unreadable
        cells[FRAMES[1]] = apex + shift
    moved = ", ".join(str(cells.get(column)) for column in FRAMES)
    text = (
        f"onset, apex, offset {onset}, {apex}, {offset} read as {moved}: the {length} "
        f"files begin at {numbers[0]}"
    )
    return Mended(cells, text)


TABLE = Table(
    called="the table 4DME_Labelling_Micro_release v1.xlsx",
    editions=(
        Edition(
            pattern="4dme_labelling_micro.*[.](xlsx|csv)",
            # How many rows are of each emotion is not published.
            emotions=dict.fromkeys(
                ("negative", "positive", "surprise", "repression", "others")
            ),
            rows=267,
        ),
    ),
    # Behind these the sheet repeats its emotions and AUs, a column each; not read.
    columns=Columns(
        names=("sub_ID", "fold_name"), frames=FRAMES, emotion="Emotion", aus="AUs"
    ),
    # Believed to be the camera's rate: no source states it.
    fps=60.0,
    name=name,
    mend=mend,
    combined=True,
)
TREES = {
    "crop": Tree(
        folder="gray_micro_crop",
        inside="SUB/FOLD/",
        description="gray_micro_crop/: grey face crops",
        cropped=True,
    ),
    "gray": Tree(
        folder="gray_micro",
        inside="SUB/FOLD/",
        description="gray_micro/: grey camera frames",
    ),
}


class Fourdme(ClipBuilder):
    """4DME; configs: crop (default), gray."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configs_of(TREES)
    TABLE, TREES = TABLE, TREES
    DESCRIPTION = "The micro-expressions of 4DME in grey, with AUs and emotions"
    HOMEPAGE = "https://doi.org/10.1109/TAFFC.2022.3182342"
    LICENSE = "signed licence agreement with the University of Oulu; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
4DME may not be redistributed: each institution applies to its owners.
1. Apply to the Center for Machine Vision and Signal Analysis, University of Oulu.
2. Put the files into one folder, unpacked, for example ~/data/4DME; below, SUB and FOLD
   stand for a sub_ID and a fold_name of the table:
     ~/data/4DME/4DME_Labelling_Micro_release v1.xlsx
     ~/data/4DME/gray_micro_crop/SUB/FOLD/1.jpg ...    fourdme/crop
     ~/data/4DME/gray_micro/SUB/FOLD/1.jpg ...         fourdme/gray
   One of the two trees is enough.
3. Type:
     python -m data_builders.build --dataset=fourdme --manual_dir=~/data/4DME
"""
