"""The coding table of CASME II: two versions that share clips, but not all labels.

They differ in 57 AU cells and 3 emotions; that of 2019 is preferred.
"""

import re
from pathlib import Path

from data_builders.release import DatasetError, Finding, Row
from data_builders.tables import (
    cell_findings,
    emotion_label,
    find_table,
    integer,
    read_rows,
    read_sheet,
    text,
    wrong_cell,
)

FPS = 200.0
VERSIONS = ("20190701", "20140508")  # preferred first
EMOTIONS: dict[str, dict[str, int]] = {
    "20190701": {
        "disgust": 63,
        "fear": 2,
        "happiness": 32,
        "others": 99,
        "repression": 27,
        "sadness": 4,
        "surprise": 28,
    },
    "20140508": {
        "disgust": 63,
        "fear": 2,
        "happiness": 32,
        "others": 99,
        "repression": 27,
        "sadness": 7,
        "surprise": 25,
    },
}
COLUMNS = (
    "Subject",
    "Filename",
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    "Action Units",
    "Estimated Emotion",
)


def find(manual_dir: Path) -> tuple[Path, str]:
    """(path, version) of the coding table in `manual_dir` or a folder of it."""
    for version in VERSIONS:
        path = find_table(manual_dir, [f"casme2-coding-{version}.*[.](xlsx|csv)"])
        if path:
            return path, version
    names = " or ".join(f"CASME2-coding-{version}.xlsx" for version in VERSIONS)
    raise DatasetError(f"{manual_dir}: expected the coding table {names}")


def read(path: Path) -> tuple[list[Row], list[Finding]]:
    """Rows of the table, and what is wrong with the others."""
    sheet = read_sheet(path, COLUMNS)
    return read_rows(sheet, _row)


def _row(where: str, record: dict[str, object]) -> tuple[Row | None, list[Finding]]:
    subject = text(record["Subject"]).strip().lower().removeprefix("sub")
    name = text(record["Filename"]).strip()
    clip = f"sub{subject.zfill(2)}/{name}"
    found = cell_findings(
        where,
        clip,
        record,
        span=("OnsetFrame", "OffsetFrame"),
        names=("Filename",),
        one_of={"Estimated Emotion": list(EMOTIONS[VERSIONS[0]])},
        aus="Action Units",
    )
    if not re.fullmatch("[0-9]{1,2}", subject):
        found.append(wrong_cell(where, clip, record, "Subject", "a number such as 01"))
    onset, apex, offset = (
        integer(record[f"{key}Frame"]) for key in ("Onset", "Apex", "Offset")
    )
    if found:
        return None, found
    row = Row(
        where=where,
        subject=f"sub{subject.zfill(2)}",
        clip=clip,
        onset=onset,
        apex=apex,
        offset=offset,
        fps=FPS,
        emotion=emotion_label(record["Estimated Emotion"]),
        au_cell=text(record["Action Units"]),
    )
    return row, []
