"""SMIC-HS: 164 micro-expressions of 16 subjects at 100 fps (Li et al., 2013).

README.md beside this file: access, layout, oddities.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.readers.declaration import Tree
from data_builders.readers.findings import Finding
from data_builders.readers.folders import find_tree
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.gather import gather
from data_builders.readers.reader import check_counts, expect_tree
from data_builders.readers.release import Release
from data_builders.readers.trees import FOLDER_NAMES, expect_clips, place
from data_builders.smic import table
from data_builders.smic.tree import (
    EMOTIONS,
    Folder,
    Key,
    clip_key,
    long_clips,
    short_clips,
    whole_rows,
)


def find_hs(tree: Tree, manual_dir: Path) -> Path | None:
    """Finds the folder HS/, the high-speed camera's, in a tree of three cameras."""
    outer, inner = tree.folder.split("/")
    top = find_tree(manual_dir, [outer])
    return find_tree(top, [inner], depth=1) if top else None


TREES = {
    "cropped": Tree(
        folder="SMIC_all_cropped/HS",
        inside="s01/micro/negative/",
        description="SMIC_all_cropped/HS/: aligned face crops",
        cropped=True,
        find=find_hs,
    ),
    "raw": Tree(
        folder="SMIC_all_raw/HS",
        inside="s01/micro/negative/",
        description="SMIC_all_raw/HS/: camera frames, 640x480",
        find=find_hs,
    ),
    "long": Tree(
        folder="SMIC-E_raw image/HS_long/SMIC-HS-E",
        inside="s01/s1_ne_01/",
        description="SMIC-HS-E/: camera frames of longer recordings (SMIC-E)",
        depth=4,
        whole=True,
    ),
}


class Smic(ClipBuilder):
    """SMIC-HS; configs: cropped (default), raw, long."""

    VERSION = tfds.core.Version("1.1.0")  # 1.1: names before labels
    BUILDER_CONFIGS = configs_of(TREES)
    TREES = TREES
    DESCRIPTION = "SMIC-HS spontaneous micro-expressions with three emotions, no AUs"
    HOMEPAGE = "https://www.oulu.fi/cmvs"
    LICENSE = "licence agreement with the University of Oulu; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
SMIC may not be redistributed: each institution applies to its owners.
1. Apply: Center for Machine Vision and Signal Analysis, University of Oulu,
   https://www.oulu.fi/cmvs (ask there for the licence agreement of SMIC).
2. Put the files into one folder, unpacked, for example ~/data/SMIC:
     ~/data/SMIC/SMIC_all_cropped/HS/s01/micro/negative/s1_ne_01/...      smic/cropped
     ~/data/SMIC/SMIC_all_raw/HS/s01/micro/negative/s1_ne_01/...          smic/raw
     ~/data/SMIC/SMIC-E_raw image/HS_long/SMIC-HS-E/s01/s1_ne_01/...      smic/long
     ~/data/SMIC/SMIC-HS-E_annotation.xlsx                                smic/long
   One of the three trees is enough.
3. Type:
     python -m data_builders.build --dataset=smic/cropped --manual_dir=~/data/SMIC
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str, frame_numbers: str = AUTO) -> Release:
        top = expect_tree(cls.name, cls.TREES[config], config, manual_dir)
        if config == "long":
            return _long(cls.name, top, manual_dir, frame_numbers)
        clips, findings = short_clips(top, manual_dir)
        expect_clips(cls.name, clips, findings, top, "s01/micro/negative/s1_ne_01/")
        folders, twice = _by_key(clips, manual_dir)
        rows, found = whole_rows(list(folders.values()), manual_dir)
        counts = check_counts(rows, EMOTIONS, place(top, manual_dir))
        return gather(
            cls.name,
            rows,
            {clip.clip.lower(): clip.path for clip in folders.values()},
            root=manual_dir,
            layout=f"{place(top, manual_dir)}/ ({config})",
            table=FOLDER_NAMES,
            findings=[*findings, *twice, *found, *counts],
            frame_numbers=frame_numbers,
        )


def _long(name: str, top: Path, manual_dir: Path, frame_numbers: str) -> Release:
    clips, findings = long_clips(top, manual_dir)
    expect_clips(name, clips, findings, top, "s01/s1_ne_01/")
    folders, twice = _by_key(clips, manual_dir)
    findings += twice
    path = table.find(manual_dir)
    if path is None:
        rows, found = whole_rows(list(folders.values()), manual_dir)
        text = (
            "expected SMIC-HS-E_annotation.xlsx, found none; each recording is taken "
            "from its first frame to its last"
        )
        findings += [*found, Finding("absent", str(manual_dir), text)]
        # Far too long for micro-expressions, but still the clips' own frames.
        lines, source = 0, FOLDER_NAMES
    else:
        rows, lines, found = table.read(path, folders)
        findings += found
        listed = {row.clip.lower() for row in rows}
        told = {f.clip.lower() for f in found}
        for clip in folders.values():
            if clip.clip.lower() not in listed | told:
                where = f"{path.name}, clip {clip.clip}"
                text = f"not in the table; {clip.path} is passed over"
                findings.append(Finding("unlisted", where, text, clip.clip))
        source = path.name
    return gather(
        name,
        rows,
        {
            f"{clip.clip.lower()}{nth}": clip.path
            for clip in folders.values()
            for nth in ("", "_2", "_3")  # further expressions in the same recording
        },
        root=manual_dir,
        layout=f"{place(top, manual_dir)}/ (long)",
        table=source,
        version=f"{lines} rows" if lines else "",
        findings=findings,
        whole=True,
        frame_numbers=frame_numbers,
    )


def _by_key(
    clips: list[Folder], manual_dir: Path
) -> tuple[dict[Key, Folder], list[Finding]]:
    """One folder per clip, however its name is written, and findings of the others."""
    found: dict[Key, Folder] = {}
    findings = []
    for clip in clips:
        key = clip_key(clip.path.name)
        first = found.setdefault(key, clip)
        if first is not clip:
            where = f"{place(clip.path, manual_dir)}, clip {clip.clip}"
            text = f"expected each clip once; it is in {first.path} too"
            findings.append(Finding("twice", where, text, clip.clip))
    return found, findings
