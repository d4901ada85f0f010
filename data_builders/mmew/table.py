"""The coding table of MMEW: one row per clip, whose frames begin at 1."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from data_builders.files import DatasetError, frame_files
from data_builders.release import Finding, Row
from data_builders.tables import (
    cell_findings,
    emotion_label,
    find_table,
    integer,
    is_empty,
    read_rows,
    read_sheet,
    text,
    wrong_cell,
)

FPS = 90.0
EMOTIONS = {
    "anger": 8,
    "disgust": 72,
    "fear": 16,
    "happiness": 36,
    "others": 66,
    "sadness": 13,
    "surprise": 89,
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


def find(manual_dir: Path) -> Path:
    """The coding table in `manual_dir` or a folder of it."""
    path = find_table(manual_dir, ["mmew_micro_exp.*[.](xlsx|csv)"])
    if path is None:
        raise DatasetError(
            f"{manual_dir}: expected the coding table MMEW_Micro_Exp.xlsx"
        )
    return path


def read(
    path: Path, folders: Mapping[str, Sequence[Path]]
) -> tuple[list[Row], list[Finding]]:
    """Rows of the table, and what is wrong with the others.

    `folders`: clip's name in lower case -> its folders; where a row has no offset, or
    one before the onset, the last frame there is the offset.
    """
    sheet = read_sheet(path, COLUMNS)
    return read_rows(sheet, partial(_row, folders=folders))


def _row(
    where: str, record: dict[str, object], *, folders: Mapping[str, Sequence[Path]]
) -> tuple[Row | None, list[Finding]]:
    name = text(record["Filename"]).strip()
    parts = re.fullmatch("S([0-9]+)-[0-9]+-[0-9]+", name, re.IGNORECASE)
    subject = f"S{int(parts[1]):02d}" if parts else text(record["Subject"]).strip()
    clip = f"{subject}/{name}"
    onset, apex, offset = (
        integer(record[f"{key}Frame"]) for key in ("Onset", "Apex", "Offset")
    )
    notes: list[Finding] = []
    before = onset is not None and offset is not None and offset < onset
    if is_empty(record["OffsetFrame"]) or before:
        if last := _last_frame(folders.get(name.lower(), ())):
            said = f"offset {record['OffsetFrame']!r} read as {last}, the last frame"
            notes.append(Finding("repaired", f"{where}, clip {clip}", said, clip))
            record, offset = record | {"OffsetFrame": last}, last
    found = cell_findings(
        where,
        clip,
        record,
        span=("OnsetFrame", "OffsetFrame"),
        one_of={"Estimated Emotion": list(EMOTIONS)},
        aus="Action Units",
    )
    if not parts:
        expected = "a name such as S01-01-001"
        found.append(wrong_cell(where, clip, record, "Filename", expected))
    if found:
        return None, found
    if integer(text(record["Subject"]).strip().upper().removeprefix("S")) != int(
        parts[1]
    ):
        said = f"subject {record['Subject']!r} read as {subject}, as in the clip's name"
        notes.append(Finding("repaired", f"{where}, clip {clip}", said, clip))
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
    return row, notes


def _last_frame(folders: Sequence[Path]) -> int | None:
    """The highest frame number of a clip that has just one folder, None without."""
    if len(folders) != 1:
        return None
    try:
        return max(frame_files(folders[0]), default=None)
    except DatasetError:  # named when the frames are gathered
        return None
