"""CASME II: 255 micro-expressions of 26 subjects at 200 fps (Yan et al., 2014).

README.md beside this file: access, layout, oddities.
"""

import re
from functools import partial

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.readers.declaration import (
    Cells,
    Columns,
    Edition,
    Named,
    Table,
    Tree,
    by_subject,
)


def name(cells: Cells) -> Named:
    """Returns the clip of a row: subject 1 and EP02_01f are "sub01/EP02_01f"."""
    # A spreadsheet that is saved again may hold 1 for 01.
    digits = cells["Subject"].lower().removeprefix("sub")
    wrong = {}
    if not cells["Filename"]:
        wrong["Filename"] = "a name"
    if not re.fullmatch("[0-9]{1,2}", digits):
        wrong["Subject"] = "a number such as 01"
    subject = f"sub{digits.zfill(2)}"
    return Named(subject=subject, name=cells["Filename"], wrong=wrong)


def subject_of(folder: str) -> str:
    """Returns the subject that a folder such as Sub1 is named for, "" for none."""
    digits = re.fullmatch("sub0*([0-9]+)", folder.lower())
    return f"sub{int(digits[1]):02d}" if digits else ""


# The editions share clips, but differ in 57 AU cells and 3 emotions. That of 2019 goes
# first: MER-CLIP's authors read it.
_COUNTS = {"disgust": 63, "fear": 2, "happiness": 32, "others": 99, "repression": 27}
TABLE = Table(
    called="the coding table CASME2-coding-20190701.xlsx, or that of 20140508",
    editions=(
        Edition(
            version="20190701",
            pattern="casme2-coding-20190701.*[.](xlsx|csv)",
            emotions=_COUNTS | {"sadness": 4, "surprise": 28},
        ),
        Edition(
            version="20140508",
            pattern="casme2-coding-20140508.*[.](xlsx|csv)",
            emotions=_COUNTS | {"sadness": 7, "surprise": 25},
        ),
    ),
    columns=Columns(
        names=("Subject", "Filename"),
        frames=("OnsetFrame", "ApexFrame", "OffsetFrame"),
        emotion="Estimated Emotion",
        aus="Action Units",
    ),
    fps=200.0,
    name=name,
)
_tree = partial(Tree, inside="sub01/", clips=partial(by_subject, subject=subject_of))
TREES = {
    "cropped": _tree(
        folder="Cropped",
        description="Cropped/: aligned face crops, onset to offset",
        cropped=True,
    ),
    "selected": _tree(
        folder="CASME2_RAW_selected",
        description="CASME2_RAW_selected/: camera frames, onset to offset, 640x480",
    ),
    "raw": _tree(
        folder="CASME2-RAW",
        description="CASME2-RAW/: whole recordings, 640x480",
        whole=True,
    ),
}


class Casme2(ClipBuilder):
    """CASME II; configs: cropped (default), selected, raw."""

    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS = configs_of(TREES)
    TABLE, TREES = TABLE, TREES
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
