"""SAMM: 159 micro-expressions of 29 subjects at 200 fps (Davison et al., 2018).

README.md beside this file: access, layout, oddities.
"""

import re
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders import files
from data_builders.base import ClipBuilder
from data_builders.files import DatasetError, folders_holding
from data_builders.release import Release, check_counts, gather, unlisted
from data_builders.samm import table

SUBJECT = "[0-9]{3}"
TREES: dict[str, str] = {"raw": "SAMM", "cropped": "SAMM_CROP"}


class Samm(ClipBuilder):
    """SAMM; configs: raw (default), cropped."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="raw", description="SAMM/: camera frames as released, grey, 960x650"
        ),
        tfds.core.BuilderConfig(
            name="cropped", description="SAMM_CROP/: the later edition of face crops"
        ),
    ]
    CROPPED = frozenset({"cropped"})
    SIZE = 256  # what MER-CLIP's settings of SAMM resize to
    DESCRIPTION = "SAMM spontaneous micro-movements, with AUs and emotions"
    HOMEPAGE = "https://personalpages.manchester.ac.uk/staff/adrian.davison/SAMM.html"
    LICENSE = "signed release agreement; research use; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
SAMM may not be redistributed: each institution applies to its owners.
1. Apply: {HOMEPAGE}
   (a release agreement, signed; Manchester Metropolitan University, M. H. Yap).
2. Put the files into one folder, unpacked, for example ~/data/SAMM:
     ~/data/SAMM/{table.TABLE}
     ~/data/SAMM/SAMM/006/006_1_2/006_05562.jpg ...                      samm/raw
     ~/data/SAMM/SAMM_CROP/006/006_1_2/006_05562.jpg ...                 samm/cropped
   One of the two trees is enough.
3. Type:
     python -m data_builders.build --dataset=samm/raw --manual_dir=~/data/SAMM
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        path = table.find(manual_dir)
        rows, findings = table.read(path)
        tree = find_subjects(manual_dir, config)
        folders = clip_folders(tree)
        findings += unlisted(folders, rows, findings)
        findings += check_counts(rows, table.EMOTIONS, path.name)
        return gather(
            cls.name,
            rows,
            folders,
            root=manual_dir,
            layout=f"{tree.relative_to(manual_dir)}/ ({config})",
            table=path.name,
            version=table.VERSION,
            findings=findings,
        )


def find_subjects(manual_dir: Path, config: str) -> Path:
    """The folder that holds 006/, 007/ and so on, `manual_dir` itself or one below.

    It may have any name, but one with "crop" in its path is the cropped edition; the
    name that the owners gave it goes first. Raises DatasetError when there is none.
    """
    trees = [
        tree
        for tree in folders_holding(manual_dir, SUBJECT)
        if clip_folders(tree) and _is_cropped(tree, manual_dir) == (config == "cropped")
    ]
    name = TREES[config].lower()
    trees.sort(key=lambda tree: tree.name.lower() != name)
    if not trees:
        raise DatasetError(
            f"{manual_dir}: expected a folder {TREES[config]}/ with 006/006_1_2/ and "
            f"so on inside (samm/{config}; the cropped edition is the one with "
            "'crop' in its name)"
        )
    return trees[0]


def clip_folders(tree: Path) -> dict[str, Path]:
    """Clip such as "006/006_1_2", in lower case -> its folder."""
    return files.clip_folders(
        (f"{folder.name}/{path.name}", path)
        for folder in files.folders_in(tree)
        if re.fullmatch(SUBJECT, folder.name)
        for path in files.folders_in(folder)
    )


def _is_cropped(tree: Path, manual_dir: Path) -> bool:
    parts = tree.relative_to(manual_dir).parts or (manual_dir.resolve().name,)
    return any("crop" in part.lower() for part in parts)
