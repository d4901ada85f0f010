"""The coding table of SAMM: 159 rows below 13 lines of notes.

Two apexes of the original are impossible; copies are around that put one of them right,
each in its own way, so the table is not told by a hash.
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

FPS = 200.0
VERSION = "2"
TABLE = "SAMM_Micro_FACS_Codes_v2.xlsx"
PATTERN = "samm[_ -]micro[_ -]facs[_ -]codes[_ -]v2.*[.](xlsx|csv)"
EMOTIONS: dict[str, int] = {
    "anger": 57,
    "contempt": 12,
    "disgust": 9,
    "fear": 8,
    "happiness": 26,
    "others": 26,
    "sadness": 6,
    "surprise": 15,
}
COLUMNS = (
    "Subject",
    "Filename",
    "Onset Frame",
    "Apex Frame",
    "Offset Frame",
    "Action Units",
    "Estimated Emotion",
)
# (clip, onset) -> column -> (in the table, what it surely is): 1930 lies before the
# onset. The apex of 028_4_1 lies behind the offset; nobody knows what it should be.
REPAIRS: dict[tuple[str, int], dict[str, tuple[int, int]]] = {
    ("032/032_3_1", 4896): {"Apex Frame": (1930, 4930)},
}


def find(manual_dir: Path) -> Path:
    """The coding table in `manual_dir` or a folder of it."""
    path = find_table(manual_dir, [PATTERN])
    if path is None:
        raise DatasetError(f"{manual_dir}: expected the coding table {TABLE}")
    return path


def read(path: Path) -> tuple[list[Row], list[Finding]]:
    """Rows of the table, and what is wrong or repaired in it."""
    sheet = read_sheet(path, COLUMNS)
    return read_rows(sheet, _row)


def _row(where: str, record: dict[str, object]) -> tuple[Row | None, list[Finding]]:
    digits = text(record["Subject"]).strip()
    subject = digits.zfill(3)  # a spreadsheet that is saved again may hold 6
    name = text(record["Filename"]).strip()
    clip = f"{subject}/{name}"
    changes = REPAIRS.get((clip, integer(record["Onset Frame"])), {})
    record, repaired = repair(where, clip, record, changes)
    wrong = cell_findings(
        where,
        clip,
        record,
        span=("Onset Frame", "Offset Frame"),
        names=("Filename",),
        one_of={"Estimated Emotion": list(EMOTIONS)},
        aus="Action Units",
    )
    wrong_in = partial(wrong_cell, where, clip, record)
    if not re.fullmatch("[0-9]{1,3}", digits):
        wrong.append(wrong_in("Subject", "a number such as 006"))
    elif name and not name.startswith(f"{subject}_"):
        wrong.append(
            wrong_in("Filename", f"a clip of subject {subject}, such as {subject}_1_2")
        )
    onset, apex, offset = (
        integer(record[f"{key} Frame"]) for key in ("Onset", "Apex", "Offset")
    )
    if wrong:
        return None, wrong
    row = Row(
        where=where,
        subject=subject,
        clip=clip,
        onset=onset,
        apex=apex,
        offset=offset,
        fps=FPS,
        emotion=emotion_label(record["Estimated Emotion"]),
        au_cell=text(record["Action Units"]),
    )
    return row, repaired
