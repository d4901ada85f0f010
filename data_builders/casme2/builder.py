"""CASME II: 255 micro-expressions of 26 subjects at 200 fps (Yan et al., 2014).

README.md beside this file: access, layout, oddities.
"""

import re
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders import files
from data_builders.base import ClipBuilder
from data_builders.casme2 import table
from data_builders.files import DatasetError, find_tree
from data_builders.release import Release, check_counts, gather, unlisted

TREES: dict[str, tuple[str, ...]] = {
    "cropped": ("Cropped",),
    "selected": ("CASME2_RAW_selected",),
    "raw": ("CASME2-RAW",),
}


class Casme2(ClipBuilder):
    """CASME II; configs: cropped (default), selected, raw."""

    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="cropped", description="Cropped/: aligned face crops, onset to offset"
        ),
        tfds.core.BuilderConfig(
            name="selected",
            description="CASME2_RAW_selected/: camera frames, onset to offset, 640x480",
        ),
        tfds.core.BuilderConfig(
            name="raw", description="CASME2-RAW/: whole recordings, 640x480"
        ),
    ]
    CROPPED = frozenset({"cropped"})
    DESCRIPTION = "CASME II spontaneous micro-expressions, with AUs and emotions"
    HOMEPAGE = "http://casme.psych.ac.cn/casme/e2"
    LICENSE = "signed licence agreement; academic use; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
CASME II may not be redistributed: each institution applies to its owners.
1. Apply: http://casme.psych.ac.cn/casme/e2 (a licence agreement signed by a member of
   staff of your institution; academic use only).
2. Put the files into one folder, unpacked, for example ~/data/CASME2:
     ~/data/CASME2/CASME2-coding-20190701.xlsx   (or CASME2-coding-20140508.xlsx)
     ~/data/CASME2/Cropped/sub01/EP02_01f/reg_img46.jpg ...              casme2/cropped
     ~/data/CASME2/CASME2_RAW_selected/sub01/EP02_01f/img46.jpg ...      casme2/selected
     ~/data/CASME2/CASME2-RAW/sub01/EP02_01f/img1.jpg ...                casme2/raw
   One of the three trees is enough.
3. Type:
     python -m data_builders.build --dataset=casme2/cropped --manual_dir=~/data/CASME2
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        path, version = table.find(manual_dir)
        rows, findings = table.read(path)
        tree = find_tree(manual_dir, TREES[config])
        if tree is None:
            raise DatasetError(
                f"{manual_dir}: expected a folder {TREES[config][0]}/ with sub01/ and "
                "so on inside"
            )
        folders = clip_folders(tree)
        findings += unlisted(folders, rows, findings)
        findings += check_counts(rows, table.EMOTIONS[version], path.name)
        return gather(
            cls.name,
            rows,
            folders,
            root=manual_dir,
            layout=f"{tree.relative_to(manual_dir)}/ ({config})",
            table=path.name,
            version=version,
            findings=findings,
            whole=config == "raw",
        )


def clip_folders(tree: Path) -> dict[str, Path]:
    """Clip such as "sub01/EP02_01f", in lower case -> its folder."""
    return files.clip_folders(
        (f"sub{int(digits[1]):02d}/{path.name}", path)
        for folder in files.folders_in(tree)
        if (digits := re.fullmatch("sub0*([0-9]+)", folder.name.lower()))
        for path in files.folders_in(folder)
    )
