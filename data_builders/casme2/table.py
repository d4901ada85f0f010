"""The coding table of CASME II: two versions that share clips, but not all labels.

They differ in 57 AU cells and 3 emotions; that of 2019 is preferred.
"""

import re
from pathlib import Path

from data_builders.release import DatasetError, Finding, Row
from data_builders.tables import (
    Sheet,
    cell_findings,
    emotion_label,
    find_table,
    integer,
    read_sheet,
    text,
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
    rows: list[Row] = []
    findings: list[Finding] = []
    for number, record in sheet.rows:
        row, found = _row(sheet, number, record)
        rows += [row] if row else []
        findings += found
    return rows, findings


def _row(
    sheet: Sheet, number: int, record: dict[str, object]
) -> tuple[Row | None, list[Finding]]:
    where = sheet.where(number)
    subject = text(record["Subject"]).strip().lower().removeprefix("sub")
    name = text(record["Filename"]).strip()
    clip = f"sub{subject.zfill(2)}/{name}"
    found = cell_findings(
        where,
        clip,
        record,
        numbers=("OnsetFrame", "OffsetFrame"),
        names=("Filename",),
        one_of={"Estimated Emotion": list(EMOTIONS[VERSIONS[0]])},
        aus="Action Units",
    )
    if not re.fullmatch("[0-9]{1,2}", subject):
        text_ = f"expected a number such as 01, found {record['Subject']!r}"
        found.append(Finding("table", f"{where}, column 'Subject'", text_, clip))
    onset, apex, offset = (
        integer(record[f"{key}Frame"]) for key in ("Onset", "Apex", "Offset")
    )
    if not found and offset < onset:
        text_ = f"expected a frame number from {onset} on, found {offset}"
        place = f"{where}, clip {clip!r}, column 'OffsetFrame'"
        found.append(Finding("table", place, text_, clip))
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
