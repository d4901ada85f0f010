"""The labelling table of 4DME: emotions that combine, and static AUs marked (k)."""

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
    text,
    wrong_cell,
)

FPS = 60.0
ROWS = 267
EMOTIONS = ("negative", "positive", "surprise", "repression", "others")
# Behind them the sheet repeats its emotions and AUs, a column each; not read.
COLUMNS = ("sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs")


def find(manual_dir: Path) -> Path:
    """The labelling table in `manual_dir` or a folder of it."""
    path = find_table(manual_dir, ["4dme_labelling_micro.*[.](xlsx|csv)"])
    if path is None:
        raise DatasetError(
            f"{manual_dir}: expected the table 4DME_Labelling_Micro_release v1.xlsx"
        )
    return path


def read(path: Path) -> tuple[list[Row], list[Finding]]:
    """Rows of the table, and what is wrong with the others."""
    sheet = read_sheet(path, COLUMNS)
    return read_rows(sheet, _row)


def emotions(cell: object) -> str:
    """An emotion, or several: "Surprise+Positive" is "positive+surprise"."""
    labels = {emotion_label(part) for part in text(cell).split("+")}
    return "+".join(sorted(labels))


def _row(where: str, record: dict[str, object]) -> tuple[Row | None, list[Finding]]:
    subject, name = (text(record[c]).strip() for c in ("sub_ID", "fold_name"))
    clip = f"{subject}/{name}"
    found = cell_findings(
        where,
        clip,
        record,
        span=("Onset", "Offset"),
        names=("sub_ID", "fold_name"),
        aus="AUs",
    )
    emotion = emotions(record["Emotion"])
    if not set(emotion.split("+")) <= set(EMOTIONS):
        expected = f"some of {', '.join(EMOTIONS)}, joined by '+'"
        found.append(wrong_cell(where, clip, record, "Emotion", expected))
    onset, apex, offset = (integer(record[c]) for c in ("Onset", "Apex", "Offset"))
    if found:
        return None, found
    row = Row(
        where=where,
        subject=subject,
        clip=clip,
        onset=onset,
        apex=apex,
        offset=offset,
        fps=FPS,
        emotion=emotion,
        au_cell=text(record["AUs"]),
    )
    return row, []
