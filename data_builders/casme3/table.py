"""The label table of CAS(ME)^3 part A: 860 rows, every cell a text.

Six rows are broken; what they should say is known and stands in REPAIRS.
"""

import re
from functools import partial
from pathlib import Path

from data_builders.files import DatasetError
from data_builders.release import Finding, Row
from data_builders.tables import (
    cell_findings,
    emotion_label,
    find_table,
    integer,
    read_rows,
    read_sheet,
    repair,
    text,
    wrong_cell,
)

FPS = 30.0
VERSION = "2"
TABLE = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
# Not v1 (921 rows, superseded), nor CAS(ME)3_part_A_v2.xls, which has no emotions.
PATTERN = ".*part_?a_me_label_jpgindex_v2.*[.](xlsx|csv)"
EMOTIONS: dict[str, int] = {
    "anger": 64,
    "disgust": 250,
    "fear": 86,
    "happiness": 55,
    "others": 161,  # three of them are `Others` in the table
    "sadness": 57,
    "surprise": 187,
}
COLUMNS = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "emotion")
# (subject, filename, onset) in the table -> column -> (in the table, read as). Sources:
# 167 is the superseded table's; 1845, 2403 and 34 are those of tvaranka/meb; the onset
# of 216 d lies in front of its apex 2668; the files of 216 e begin at 1.
REPAIRS: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = {
    ("spNO.149", "d", "112"): {"Apex": (83, 167)},
    ("spNO.216", "d", "3647"): {"Onset": (3647, 2647)},
    ("spNO.216", "e", "0"): {"Onset": (0, 1), "Apex": (0, 1)},
    ("spNO.40", "e", "1812"): {"Offset": (0, 1845)},
    ("spNO.40", "e", "2327"): {"Offset": (0, 2403)},
    ("spNO.214", "c", "5"): {"Offset": (3460, 34)},
}


def find(manual_dir: Path) -> Path:
    """The label table in `manual_dir` or a folder of it."""
    path = find_table(manual_dir, [PATTERN])
    # In CAS-ME-3/annotation/partA/; deep enough to meet whole videos, so tried last.
    path = path or find_table(manual_dir, [PATTERN], depth=4)
    if path is None:
        raise DatasetError(
            f"{manual_dir}: expected the label table {TABLE} (v1.xls beside it is "
            "superseded and not read)"
        )
    return path


def read(path: Path) -> tuple[list[Row], list[Finding]]:
    """Rows of the table, and what is wrong or repaired in it."""
    sheet = read_sheet(path, COLUMNS)
    return read_rows(sheet, _row)


def repaired_clips() -> dict[str, str]:
    """Clip whose onset is repaired -> what it would be called with the right one."""
    return {
        f"{subject}/{video}_{onset}": f"{subject}/{video}_{changes['Onset'][1]}"
        for (subject, video, onset), changes in REPAIRS.items()
        if "Onset" in changes
    }


def _row(where: str, record: dict[str, object]) -> tuple[Row | None, list[Finding]]:
    subject, video, onset = (
        text(record[column]).strip() for column in ("Subject", "Filename", "Onset")
    )
    clip = f"{subject}/{video}_{onset}"
    changes = REPAIRS.get((subject, video, onset), {})
    record, repaired = repair(where, clip, record, changes)
    wrong = cell_findings(
        where,
        clip,
        record,
        span=("Onset", "Offset"),
        one_of={"emotion": list(EMOTIONS)},
        aus="AU",
    )
    wrong_in = partial(wrong_cell, where, clip, record)
    # In another letter case it would be another subject, trained and tested on.
    if not re.fullmatch("spNO[.][0-9]+", subject):
        wrong.append(wrong_in("Subject", "a name such as spNO.1"))
    if not re.fullmatch("[A-Za-z]", video):
        wrong.append(wrong_in("Filename", "the letter of a video"))
    first, apex, last = (integer(record[key]) for key in ("Onset", "Apex", "Offset"))
    if wrong:
        return None, wrong
    row = Row(
        where=where,
        subject=subject,
        clip=clip,
        onset=first,
        apex=apex,
        offset=last,
        fps=FPS,
        emotion=emotion_label(record["emotion"]),
        au_cell=text(record["AU"]),
    )
    return row, repaired
