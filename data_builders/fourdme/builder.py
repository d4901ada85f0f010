"""4DME: 267 micro-expressions, here the grey videos (Li et al., 2022).

README.md beside this file: access, layout, oddities.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders import files
from data_builders.base import ClipBuilder
from data_builders.files import DatasetError, find_tree, frame_files
from data_builders.fourdme import table
from data_builders.release import Finding, Release, Row, gather

TREES = {"crop": "gray_micro_crop", "gray": "gray_micro"}


class Fourdme(ClipBuilder):
    """4DME; configs: crop (default), gray."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="crop", description="gray_micro_crop/: grey face crops"
        ),
        tfds.core.BuilderConfig(
            name="gray", description="gray_micro/: grey camera frames"
        ),
    ]
    CROPPED = frozenset({"crop"})
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

    @classmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        path = table.find(manual_dir)
        rows, findings = table.read(path)
        tree = find_tree(manual_dir, [TREES[config]])
        if tree is None:
            raise DatasetError(
                f"{manual_dir}: expected a folder {TREES[config]}/ with a folder per "
                "sub_ID inside"
            )
        folders = clip_folders(tree)
        listed = {row.clip.lower() for row in rows}
        version = f"{len(rows)} of {table.ROWS} rows"
        shifted = [as_numbered(row, folders, manual_dir.resolve()) for row in rows]
        return gather(
            cls.name,
            [row for row, _ in shifted],
            folders,
            root=manual_dir,
            layout=f"{tree.relative_to(manual_dir)}/ ({config})",
            table=path.name,
            version=version,
            findings=[
                *findings,
                *(finding for _, found in shifted for finding in found),
                *(
                    Finding("unlisted", str(path), "no row that can be read lists it")
                    for clip, path in folders.items()
                    if clip not in listed
                ),
            ],
        )


def clip_folders(tree: Path) -> dict[str, Path]:
    """Clip such as "<sub_ID>/<fold_name>", in lower case -> its folder."""
    return files.clip_folders(
        (f"{folder.name}/{path.name}", path)
        for folder in files.folders_in(tree)
        for path in files.folders_in(folder)
    )


def as_numbered(
    row: Row, folders: Mapping[str, Path], root: Path
) -> tuple[Row, list[Finding]]:
    """The row in its files' numbers, if these count onset..offset from elsewhere.

    So it is when they are not onset..offset, but just as many and without a gap.
    """
    folder = folders.get(row.clip.lower())
    try:
        numbers = list(frame_files(folder, root=root)) if folder else []
    except DatasetError:  # named when the frames are gathered
        return row, []
    length = row.offset - row.onset + 1
    if len(numbers) != length or numbers[0] == row.onset:
        return row, []
    if numbers[-1] - numbers[0] + 1 != length:
        return row, []
    shift = numbers[0] - row.onset
    apex = None if row.apex is None else row.apex + shift
    new = replace(row, onset=row.onset + shift, apex=apex, offset=row.offset + shift)
    said = (
        f"onset, apex, offset {row.onset}, {row.apex}, {row.offset} read as "
        f"{new.onset}, {new.apex}, {new.offset}: the {length} files begin at "
        f"{numbers[0]}"
    )
    return new, [Finding("repaired", f"{row.where}, clip {row.clip}", said, row.clip)]
