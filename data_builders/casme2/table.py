"""The coding table of CASME II: which file, which columns, what each cell may hold.

Two versions are in use; they share clips but differ in 57 AU cells and 3 emotions.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import openpyxl

from data_builders.annotations import DatasetError, emotion_label
from merclip_jax.facs import AUCellError, parse_cell

VERSIONS = ("20190701", "20140508")  # preferred first
ROWS = 255
EMOTION_COUNTS: dict[str, dict[str, int]] = {
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


@dataclass(frozen=True)
class Row:
    """One micro-expression of the table; frames are numbers as in the file names."""

    row: int
    subject: int
    clip: str
    onset: int
    apex: int | None
    offset: int
    au_cell: str
    emotion: str

    @property
    def name(self) -> str:
        return f"sub{self.subject:02d}/{self.clip}"


@dataclass(frozen=True)
class Table:
    """A coding table as read: its file, version, rows, and all that is wrong."""

    path: Path
    version: str
    rows: tuple[Row, ...]
    problems: tuple[str, ...]


def find_table(manual_dir: Path) -> tuple[Path, str]:
    """(path, version) of the coding table in `manual_dir` or a folder of it."""
    files = sorted((*manual_dir.glob("*"), *manual_dir.glob("*/*")))
    for version in VERSIONS:
        name = re.compile(f"casme2-coding-{version}.*[.]xlsx", re.IGNORECASE)
        for path in files:
            if name.fullmatch(path.name):
                return path, version
    names = " or ".join(f"CASME2-coding-{version}.xlsx" for version in VERSIONS)
    raise DatasetError(f"{manual_dir}: expected the coding table {names}")


def read_table(path: Path, version: str) -> Table:
    """All rows of the table; what is wrong in it is listed, not raised.

    Raises DatasetError when the file is no workbook or lacks a column.
    """
    try:
        workbook = openpyxl.load_workbook(path, data_only=True)
    except Exception as error:  # openpyxl lets errors of zip and XML through
        raise DatasetError(f"{path}: expected an xlsx workbook ({error})") from error
    header, cells = _sheet_with_columns(workbook, path)
    rows: list[Row] = []
    problems: list[str] = []
    for number, values in enumerate(cells, start=2):
        record = {name: values[column] for name, column in header.items()}
        if all(value is None for value in record.values()):
            continue
        row, wrong = _read_row(number, record)
        problems += [f"{path.name}, row {number}, {text}" for text in wrong]
        if row:
            rows.append(row)
    problems += [f"{path.name}, {text}" for text in _check_rows(rows, version)]
    return Table(path, version, tuple(rows), tuple(problems))


def _sheet_with_columns(
    workbook: openpyxl.Workbook, path: Path
) -> tuple[dict[str, int], list[tuple[object, ...]]]:
    """Column of each header name, and the rows below the header."""
    best: list[str] = list(COLUMNS)
    for sheet in workbook.worksheets:
        cells = list(sheet.iter_rows(values_only=True))
        titles = [str(c).strip().lower() if c else "" for c in (cells or [()])[0]]
        missing = [name for name in COLUMNS if name.lower() not in titles]
        if not missing:
            return {name: titles.index(name.lower()) for name in COLUMNS}, cells[1:]
        best = min(best, missing, key=len)
    raise DatasetError(
        f"{path}, row 1: expected the columns {', '.join(COLUMNS)}; "
        f"missing {', '.join(best)}"
    )


def _read_row(number: int, record: dict[str, object]) -> tuple[Row | None, list[str]]:
    """The row, or None and what is wrong, each naming clip, column and cell."""
    clip = str(record["Filename"] or "").strip()
    subject = _integer(record["Subject"])
    onset, apex, offset = (
        _integer(record[f"{name}Frame"]) for name in ("Onset", "Apex", "Offset")
    )
    emotion = emotion_label(record["Estimated Emotion"])
    wrong: list[tuple[str, str]] = []
    if subject is None:
        wrong.append(("Subject", "a subject number such as 01"))
    if not clip:
        wrong.append(("Filename", "the name of a clip's folder"))
    if onset is None:
        wrong.append(("OnsetFrame", "a frame number"))
    if offset is None or (onset is not None and offset < onset):
        wrong.append(("OffsetFrame", f"a frame number from {onset} on"))
    if emotion not in EMOTION_COUNTS[VERSIONS[0]]:
        known = ", ".join(EMOTION_COUNTS[VERSIONS[0]])
        wrong.append(("Estimated Emotion", f"one of {known}"))
    cell = record["Action Units"]
    try:
        parse_cell(cell)
    except AUCellError as error:
        wrong.append(("Action Units", f"an AU cell ({error})"))
    if wrong:
        where = f"subject {record['Subject']!r}, clip {clip!r}"
        return None, [
            f"{where}, column {column!r}: expected {expected}, found {record[column]!r}"
            for column, expected in wrong
        ]
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    au_cell = "" if cell is None else str(cell)
    return Row(number, subject, clip, onset, apex, offset, au_cell, emotion), []


def _check_rows(rows: list[Row], version: str) -> list[str]:
    """Repeated clips, and emotions that do not add up to the version's counts."""
    seen: dict[str, int] = {}
    problems = []
    for row in rows:
        if row.name in seen:
            problems.append(
                f"row {row.row}, clip {row.name}: expected each clip once, found it in "
                f"row {seen[row.name]} too"
            )
        seen[row.name] = row.row
    counts = dict(sorted(Counter(row.emotion for row in rows).items()))
    if len(rows) == ROWS and counts != EMOTION_COUNTS[version]:
        problems.append(
            f"column 'Estimated Emotion': expected {EMOTION_COUNTS[version]} in the "
            f"{version} table, found {counts}"
        )
    return problems


def _integer(cell: object) -> int | None:
    """A whole number held as text, int or float; None for anything else."""
    text = str(cell).strip().lower().removeprefix("sub").removesuffix(".0")
    return int(text) if re.fullmatch("[0-9]+", text) else None
