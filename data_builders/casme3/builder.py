"""CAS(ME)^3 part A: 860 micro-expressions of 94 subjects at 30 fps (Li et al., 2023).

README.md beside this file: access, layout, oddities.
"""

import re
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.casme3 import folders as trees
from data_builders.readers.declaration import (
    Cells,
    Columns,
    Edition,
    Folders,
    Named,
    Table,
    Tree,
)
from data_builders.readers.macro import MacroTable
from data_builders.readers.release import Row


def name(cells: Cells) -> Named:
    """Returns the clip of a row, such as "spNO.1/a_355": subject, video and onset."""
    wrong = {}
    # In another letter case it would be another subject, trained and tested on.
    if not re.fullmatch("spNO[.][0-9]+", cells["Subject"]):
        wrong["Subject"] = "a name such as spNO.1"
    if not re.fullmatch("[A-Za-z]", cells["Filename"]):
        wrong["Filename"] = "the letter of a video"
    clip = f"{cells['Filename']}_{cells['Onset']}"
    return Named(subject=cells["Subject"], name=clip, wrong=wrong)


FILE = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
TABLE = Table(
    called=f"the label table {FILE} (v1.xls beside it is superseded and not read)",
    editions=(
        Edition(
            version="2",
            # Neither v1 (921 rows, superseded), nor CAS(ME)3_part_A_v2.xls, which has
            # no emotions.
            pattern=".*part_?a_me_label_jpgindex_v2.*[.](xlsx|csv)",
            emotions={
                "anger": 64,
                "disgust": 250,
                "fear": 86,
                "happiness": 55,
                "others": 161,  # three of them are `Others` in the table
                "sadness": 57,
                "surprise": 187,
            },
        ),
    ),
    columns=Columns(
        names=("Subject", "Filename", "Onset"),
        frames=("Onset", "Apex", "Offset"),
        emotion="emotion",
        aus="AU",
    ),
    fps=30.0,
    name=name,
    # In the owners' repository it lies at CAS-ME-3/annotation/partA/. So deep one meets
    # whole videos, so that is tried last.
    depths=(3, 4),
    # All but two are what CAS(ME)3_part_A_v2.xls of the owners says, beside the table;
    # 34 is that of tvaranka/meb; the files of 216 e begin at 1.
    repairs={
        ("spNO.149/d_112", 112): {"Apex": (83, 160)},
        ("spNO.216/d_3647", 3647): {"Onset": (3647, 2647)},
        ("spNO.216/e_0", 0): {"Onset": (0, 1), "Apex": (0, 1)},
        ("spNO.40/e_1812", 1812): {"Offset": (0, 1845)},
        ("spNO.40/e_2327", 2327): {"Offset": (0, 2403)},
        ("spNO.214/c_5", 5): {"Offset": (3460, 34)},
    },
)
# Clip whose onset is repaired -> what it would be called with the right one.
RIGHT = {
    clip: f"{clip.rpartition('_')[0]}_{changes['Onset'][1]}"
    for (clip, _), changes in TABLE.repairs.items()
    if "Onset" in changes
}


def take(row: Row, top: Path, folders: Folders) -> tuple[Path | None, str]:
    """Takes the folder of the clip's name, or of that with the right onset."""
    del top
    for clip in (row.clip, RIGHT.get(row.clip, row.clip)):
        if paths := folders.get(clip.lower()):
            return paths[0], ""
    return None, ""


TREES = {
    "clips": Tree(
        folder="Part_A_ME_clip/frame",
        inside="spNO.1_a_355/",
        description="Part_A_ME_clip/frame/: camera frames, onset to offset, 1280x720",
        find=trees.find_clips,
        clips=trees.clips,
        take=take,
    ),
    "videos": Tree(
        folder="part_A/data/part_A",
        inside="spNO.1/a/color/",
        description="part_A/: whole videos, 1280x720",
        whole=True,
        find=trees.find_videos,
        clips=trees.no_clips,
        take=trees.take_video,
    ),
}


def _recording(cells: Cells) -> str:
    """Returns the recording of a macro-expression's row, such as "spNO.1/a"."""
    return f"{cells['sub']}/{cells['seq']}"


# 3,490 macro-expressions (Li et al., 2023).
MACRO_TABLE = MacroTable(
    called="the table of macro-expressions cas(me)3_part_A_MaE_label_JpgIndex_v2_"
    "emotion.xlsx",
    pattern=".*part_?a_mae_label_jpgindex_v2.*[.](xlsx|csv)",
    names=("sub", "seq"),
    frames=("onset", "apex", "offset"),
    recording=_recording,
)


class Casme3(ClipBuilder):
    """CAS(ME)^3 part A; configs: clips (default), videos."""

    VERSION = tfds.core.Version("1.1.0")  # 1.1: an apex, clips of few frames
    BUILDER_CONFIGS = configs_of(TREES)
    TABLE, TREES, MACRO_TABLE = TABLE, TREES, MACRO_TABLE
    DESCRIPTION = "CAS(ME)^3 part A micro-expressions, with AUs and emotions"
    HOMEPAGE = "http://casme.psych.ac.cn/casme/e4"
    LICENSE = "signed licence agreement; academic use; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
CAS(ME)^3 may not be redistributed: each institution applies to its owners.
1. Apply: {HOMEPAGE} (a licence agreement signed by a member of
   staff of your institution; academic use only). The label table is in the owners'
   repository https://github.com/jingtingEmmaLi/CAS-ME-3, folder annotation/partA.
2. Put the files into one folder, unpacked, for example ~/data/CASME3:
     ~/data/CASME3/{FILE}
     ~/data/CASME3/Part_A_ME_clip/frame/spNO.1_a_355/355.jpg ...       casme3/clips
     ~/data/CASME3/part_A/data/part_A/spNO.1/a/color/355.jpg ...       casme3/videos
   One of the two trees is enough; depth pictures are not read.
3. Type:
     python -m data_builders.build --dataset=casme3/clips --manual_dir=~/data/CASME3
"""
