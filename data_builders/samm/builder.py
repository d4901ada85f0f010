"""SAMM: 159 micro-expressions of 29 subjects at 200 fps (Davison et al., 2018).

README.md beside this file: access, layout, oddities.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.readers.declaration import (
    Cells,
    Columns,
    Edition,
    Folders,
    Named,
    Table,
    Tree,
    by_subject,
)
from data_builders.readers.folders import folders_holding
from data_builders.readers.macro import MacroTable
from data_builders.readers.release import Row

SUBJECT = "[0-9]{3}"


def name(cells: Cells) -> Named:
    """Returns the clip of a row: subject 6 and 006_1_2 are "006/006_1_2"."""
    digits, clip = cells["Subject"], cells["Filename"]
    subject = digits.zfill(3)  # a spreadsheet that is saved again may hold 6
    wrong = {}
    if not re.fullmatch("[0-9]{1,3}", digits):
        wrong["Subject"] = "a number such as 006"
    if not clip:
        wrong["Filename"] = "a name"
    elif not wrong and not clip.startswith(f"{subject}_"):
        wrong["Filename"] = f"a clip of subject {subject}, such as {subject}_1_2"
    return Named(subject=subject, name=clip, wrong=wrong)


def subject_of(folder: str) -> str:
    """Returns the subject that a folder such as 006 is named for, "" for none."""
    return folder if re.fullmatch(SUBJECT, folder) else ""


clips = partial(by_subject, subject=subject_of)


def find(tree: Tree, manual_dir: Path) -> Path | None:
    """Finds a tree by what it holds: 006/, 007/ and so on, with clips inside.

    It may have any name or be the owners' folder itself, but "crop" in its path makes
    it the cropped edition, so that crops are not taken for camera frames. The name that
    the owners gave it goes first.

    Args:
        tree: Which edition.
        manual_dir: The owners' folder.

    Returns:
        The tree, None where there is none.
    """
    found = [
        top
        for top in folders_holding(manual_dir, SUBJECT)
        if any(clips(top)) and _is_cropped(top, manual_dir) == tree.cropped
    ]
    found.sort(key=lambda top: top.name.lower() != tree.names[0].lower())
    return next(iter(found), None)


def _is_cropped(top: Path, manual_dir: Path) -> bool:
    parts = top.relative_to(manual_dir).parts or (manual_dir.resolve().name,)
    return any("crop" in part.lower() for part in parts)


def no_clips(top: Path) -> Iterable[tuple[str, Path]]:
    """Yields nothing: a folder of a recording is no clip's own."""
    del top
    return ()


def take_recording(row: Row, top: Path, folders: Folders) -> tuple[Path | None, str]:
    """Takes the recording of a row: 006/006_1_2 is in 006_1; see `Tree.take`."""
    del folders
    path = top / row.clip.partition("/")[2].rpartition("_")[0]
    return (path, "") if path.is_dir() else (None, "")


# Copies are around that put one of two impossible apexes right, each in its own way:
# so the table is not told by a hash.
FILE = "SAMM_Micro_FACS_Codes_v2.xlsx"
TABLE = Table(
    called=f"the coding table {FILE}",
    editions=(
        Edition(
            version="2",
            pattern="samm[_ -]micro[_ -]facs[_ -]codes[_ -]v2.*[.](xlsx|csv)",
            emotions={
                "anger": 57,
                "contempt": 12,
                "disgust": 9,
                "fear": 8,
                "happiness": 26,
                "others": 26,
                "sadness": 6,
                "surprise": 15,
            },
        ),
    ),
    columns=Columns(
        names=("Subject", "Filename"),
        frames=("Onset Frame", "Apex Frame", "Offset Frame"),
        emotion="Estimated Emotion",
        aus="Action Units",
    ),
    fps=200.0,
    name=name,
    # 1930 lies before the onset; 4930 is one key away. The apex of 028_4_1 lies behind
    # the offset, and nobody knows what it should be: it stays.
    repairs={("032/032_3_1", 4896): {"Apex Frame": (1930, 4930)}},
)
_tree = partial(
    Tree,
    inside="006/006_1_2/",
    hint="the cropped edition is the one with 'crop' in its name",
    find=find,
    clips=clips,
)
TREES = {
    "raw": _tree(
        folder="SAMM",
        description="SAMM/: camera frames as released, grey, 960x650",
    ),
    "cropped": _tree(
        folder="SAMM_CROP",
        description="SAMM_CROP/: the later edition of face crops",
        cropped=True,
    ),
    "long": Tree(
        folder="SAMM_longvideos",
        inside="006_1/",
        description="SAMM_longvideos/: whole recordings, of SAMM Long Videos",
        whole=True,
        clips=no_clips,
        take=take_recording,
    ),
}


def _recording(cells: Cells) -> str:
    """Returns the recording of a macro-expression's row, such as "006/006_1"."""
    subject, _, name = cells["Filename"].partition("_")
    return f"{subject}/{subject}_{name.partition('_')[0]}" if name else ""


# The micro-expressions again, and 343 macro-expressions (Yap et al., 2020).
MACRO_TABLE = MacroTable(
    called="the table of SAMM Long Videos, SAMM_LongVideos_V3_Release.xlsx",
    pattern="samm[_ -]?long[_ -]?videos.*release.*[.](xlsx|csv)",
    names=("Filename",),
    frames=("Onset", "Apex", "Offset"),
    recording=_recording,
)


class Samm(ClipBuilder):
    """SAMM; configs: raw (default), cropped, long."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configs_of(TREES)
    TABLE, TREES, MACRO_TABLE = TABLE, TREES, MACRO_TABLE
    SIZE = 256  # what MER-CLIP's settings of SAMM resize to
    DESCRIPTION = "SAMM spontaneous micro-movements, with AUs and emotions"
    HOMEPAGE = "https://personalpages.manchester.ac.uk/staff/adrian.davison/SAMM.html"
    LICENSE = "signed release agreement; research use; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
SAMM may not be redistributed: each institution applies to its owners.
1. Apply: {HOMEPAGE}
   (a release agreement, signed; Manchester Metropolitan University, M. H. Yap).
2. Put the files into one folder, unpacked, for example ~/data/SAMM:
     ~/data/SAMM/{FILE}
     ~/data/SAMM/SAMM/006/006_1_2/006_05562.jpg ...                      samm/raw
     ~/data/SAMM/SAMM_CROP/006/006_1_2/006_05562.jpg ...                 samm/cropped
     ~/data/SAMM/SAMM_longvideos/006_1/006_1_0001.jpg ...                samm/long
     ~/data/SAMM/SAMM_LongVideos_V3_Release.xlsx    what else these show, for --windows
   One of the three trees is enough.
3. Type:
     python -m data_builders.build --dataset=samm/raw --manual_dir=~/data/SAMM
"""
