"""CAS(ME)^3 part A: 860 micro-expressions of 94 subjects at 30 fps (Li et al., 2023).

README.md beside this file: access, layout, oddities.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders import files
from data_builders.base import ClipBuilder
from data_builders.casme3 import table
from data_builders.files import DatasetError, folders_holding, subfolders
from data_builders.release import Release, Row, check_counts, gather, unlisted

CLIP = "(spno[.][0-9]+)_([a-z]_[0-9]+)"  # such as spNO.1_a_355
SUBJECT = "spno[.][0-9]+"


class Casme3(ClipBuilder):
    """CAS(ME)^3 part A; configs: clips (default), videos."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="clips",
            description="Part_A_ME_clip/frame/: camera frames, onset to offset, "
            "1280x720",
        ),
        tfds.core.BuilderConfig(
            name="videos", description="part_A/: whole videos, 1280x720"
        ),
    ]
    DESCRIPTION = "CAS(ME)^3 part A micro-expressions, with AUs and emotions"
    HOMEPAGE = "http://casme.psych.ac.cn/casme/e4"
    LICENSE = "signed licence agreement; academic use; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
CAS(ME)^3 may not be redistributed: each institution applies to its owners.
1. Apply: {HOMEPAGE} (a licence agreement signed by a member of
   staff of your institution; academic use only). The label table is in the owners'
   repository https://github.com/jingtingEmmaLi/CAS-ME-3, folder annotation/partA.
2. Put the files into one folder, unpacked, for example ~/data/CASME3:
     ~/data/CASME3/{table.TABLE}
     ~/data/CASME3/Part_A_ME_clip/frame/spNO.1_a_355/355.jpg ...       casme3/clips
     ~/data/CASME3/part_A/data/part_A/spNO.1/a/color/355.jpg ...       casme3/videos
   One of the two trees is enough; depth pictures are not read.
3. Type:
     python -m data_builders.build --dataset=casme3/clips --manual_dir=~/data/CASME3
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        path = table.find(manual_dir)
        rows, findings = table.read(path)
        if config == "clips":
            tree = find_clips(manual_dir)
            folders = clip_folders(tree, rows)
            findings += unlisted(folders, rows, findings)
        else:
            tree = find_videos(manual_dir)
            folders = video_folders(tree, rows)
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
            whole=config == "videos",
        )


def find_clips(manual_dir: Path) -> Path:
    """The folder that holds spNO.1_a_355/ and so on: frame/, not depth/ beside it.

    Raises DatasetError when there is none.
    """
    trees = folders_holding(manual_dir, CLIP, depth=4)
    trees = [tree for tree in trees if tree.name.lower() != "depth"]
    trees.sort(key=lambda tree: (tree.name.lower() != "frame", _other_part(tree)))
    if not trees:
        raise DatasetError(
            f"{manual_dir}: expected a folder Part_A_ME_clip/frame/ with spNO.1_a_355/ "
            "and so on inside (casme3/clips)"
        )
    return trees[0]


def clip_folders(tree: Path, rows: Iterable[Row]) -> dict[str, Path]:
    """Clip such as "spNO.1/a_355", in lower case -> its folder spNO.1_a_355/.

    Letter case does not matter. A clip with a repaired onset may have its folder under
    the table's onset, which goes first, or under the right one.
    """
    folders = files.clip_folders(
        (f"{parts[1]}/{parts[2]}", path)
        for path in files.folders_in(tree)
        if (parts := re.fullmatch(CLIP, path.name.lower()))
    )
    listed = {row.clip.lower() for row in rows}
    for clip, right in table.repaired_clips().items():
        clip, right = clip.lower(), right.lower()
        if clip in listed and clip not in folders and right in folders:
            folders[clip] = folders.pop(right)
    return folders


def find_videos(manual_dir: Path) -> Path:
    """The folder that holds spNO.1/a/color/ and so on.

    Raises DatasetError when there is none.
    """
    trees = folders_holding(manual_dir, SUBJECT, depth=4)
    trees.sort(key=_other_part)
    if not trees:
        raise DatasetError(
            f"{manual_dir}: expected a folder part_A/data/part_A/ with spNO.1/a/color/ "
            "and so on inside (casme3/videos)"
        )
    return trees[0]


def video_folders(tree: Path, rows: Iterable[Row]) -> dict[str, Path]:
    """Clip such as "spNO.1/a_355", in lower case -> the color/ folder of its video."""
    videos: dict[tuple[str, str], Path | None] = {}
    folders: dict[str, Path] = {}
    for row in rows:
        subject, _, name = row.clip.partition("/")
        letter = name.partition("_")[0]
        if (subject, letter) not in videos:
            path: Path | None = tree
            for part in (subject, letter, "color"):
                path = _inside(path, part) if path else None
            videos[subject, letter] = path
        if folder := videos[subject, letter]:
            folders[row.clip.lower()] = folder
    return folders


def _other_part(tree: Path) -> bool:
    """Whether a tree does not say that it is of part A: B and C have trees as well."""
    return not any(re.match("part[ _-]?a", part.lower()) for part in tree.parts)


def _inside(folder: Path, name: str) -> Path | None:
    """The folder `name` inside another: of that letter case, or else of any."""
    exact = folder / name
    return exact if exact.is_dir() else subfolders(folder).get(name.lower())
