"""Annotation tables: workbooks and CSV files as rows of cells by column name.

Columns are found by their stripped name, never by position; cells stay what they are.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl

from data_builders.release import DatasetError, Finding, au_cell_problem

_SYNONYMS = {"happy": "happiness", "sad": "sadness", "other": "others"}
_EMPTY = {"", "/", "-", "nan", "null", "none", "n/a"}


@dataclass(frozen=True)
class Sheet:
    """Rows below the header: (row number in the file, cell of each column)."""

    path: Path
    name: str
    rows: tuple[tuple[int, dict[str, object]], ...]

    def where(self, number: int) -> str:
        """Such as "labels.xlsx, row 12"."""
        return f"{self.path.name}, row {number}"


def find_table(
    manual_dir: Path, patterns: Sequence[str], *, depth: int = 3
) -> Path | None:
    """The first file whose name matches one of the regular expressions, or None.

    Earlier patterns are preferred, then shallower folders; letter case does not matter,
    the suffix may be any. Folders of frames are never entered: the search stops `depth`
    folders down, and at a folder with more than 200 entries.
    """
    files: list[Path] = []
    layer = [manual_dir]
    for _ in range(depth):
        entries = [list(folder.iterdir()) for folder in layer]
        files += sorted(p for group in entries for p in group if p.is_file())
        layer = sorted(
            p for group in entries if len(group) <= 200 for p in group if p.is_dir()
        )
    for pattern in patterns:
        name = re.compile(pattern, re.IGNORECASE)
        for path in files:
            if name.fullmatch(path.name) and not path.name.startswith((".", "~$")):
                return path
    return None


def read_cells(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Cells of each sheet of a workbook, or of a CSV file under the name "".

    Raises DatasetError when the file cannot be read as what its suffix says.
    """
    if path.suffix.lower() == ".csv":
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                rows = [tuple(c or None for c in row) for row in csv.reader(file)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{path}: expected a CSV file ({error})") from error
        return {"": rows}
    try:
        workbook = openpyxl.load_workbook(path, data_only=True)
        return {
            sheet.title: list(sheet.iter_rows(values_only=True))
            for sheet in workbook.worksheets
        }
    except Exception as error:  # openpyxl lets errors of zip and XML through
        raise DatasetError(f"{path}: expected an xlsx workbook ({error})") from error


def read_sheet(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    sheet: str | None = None,
) -> Sheet:
    """The sheet that has all `columns`, its header anywhere in the first 40 rows.

    `sheet`: its name, where several have these columns; None takes the first.

    A column is asked for by its name or, when it has several, by them joined with "|";
    the first is the key in the rows; `optional` columns are None where there are none.
    Letter case and blanks around a name do not matter. Rows without any cell are passed
    over. Raises DatasetError that names the missing columns.
    """
    sheets = read_cells(path)
    if sheet is not None:
        if sheet not in sheets:
            names = ", ".join(sheets)
            raise DatasetError(f"{path}: expected a sheet {sheet!r}, found {names}")
        sheets = {sheet: sheets[sheet]}
    best: list[str] = list(columns)
    for name, cells in sheets.items():
        for at, titles in enumerate(cells[:40]):
            plain = [_plain(title) for title in titles]
            places = {column: _place(column, plain) for column in columns}
            missing = [c for c, place in places.items() if place is None]
            if missing:
                best = min(best, missing, key=len)
                continue
            places |= {column: _place(column, plain) for column in optional}
            rows = _rows(cells[at + 1 :], places, first=at + 2)
            return Sheet(path, name, tuple(rows))
    raise DatasetError(
        f"{path}: expected a header row with the columns "
        f"{', '.join(c.split('|')[0] for c in columns)}; missing "
        f"{', '.join(c.replace('|', ' or ') for c in best)}"
    )


def _plain(title: object) -> str:
    return " ".join(str(title if title is not None else "").lower().split())


def _place(column: str, titles: list[str]) -> int | None:
    for name in column.split("|"):
        if _plain(name) in titles:
            return titles.index(_plain(name))
    return None


def _rows(cells: list, places: Mapping[str, int | None], first: int):
    for number, values in enumerate(cells, start=first):
        row = {
            column.split("|")[0]: values[place]
            if place is not None and place < len(values)
            else None
            for column, place in places.items()
        }
        if any(value is not None and str(value).strip() for value in row.values()):
            yield number, row


def integer(cell: object) -> int | None:
    """A whole number held as text, int or float; None for anything else."""
    text = str(cell).strip().removesuffix(".0")
    return int(text) if re.fullmatch("[0-9]+", text) else None


def is_empty(cell: object) -> bool:
    """Whether a cell says that there is nothing: blank, '/', 'NULL', NaN."""
    return str(cell if cell is not None else "").strip().lower() in _EMPTY


def text(cell: object) -> str:
    """A cell as text; a number that a spreadsheet keeps as 12.0 is "12"."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell)


def emotion_label(cell: object) -> str:
    """A table's emotion in lower case, with happy, sad and other under one name."""
    label = text(cell).strip().lower()
    return _SYNONYMS.get(label, label)


def repair(
    where: str,
    clip: str,
    record: Mapping[str, object],
    changes: Mapping[str, tuple[int, int]],
) -> tuple[dict[str, object], list[Finding]]:
    """(the row with numbers known to be wrong put right, a finding for each).

    `changes`: column -> (wrong, right). A cell that holds another number stays: copies
    of a table are around in which somebody has put it right.
    """
    record, findings = dict(record), []
    for column, (wrong, right) in changes.items():
        if integer(record[column]) == wrong:
            place = f"{where}, clip {clip!r}, column {column!r}"
            words = f"{wrong} in the table, read as {right}"
            findings.append(Finding("repaired", place, words, clip))
            record[column] = right
    return record, findings


def cell_findings(
    where: str,
    clip: str,
    record: Mapping[str, object],
    *,
    numbers: Sequence[str] = (),
    names: Sequence[str] = (),
    one_of: Mapping[str, Sequence[str]] | None = None,
    aus: str = "",
) -> list[Finding]:
    """What keeps a row from being read, each naming row, clip, column and cell.

    `numbers`: columns that must hold a whole number; `names`: a text; `one_of`: column
    -> the emotions known there; `aus`: the column of AU cells.
    """
    wrong = [(c, "a whole number") for c in numbers if integer(record[c]) is None]
    wrong += [(c, "a name") for c in names if not text(record[c]).strip()]
    for column, known in (one_of or {}).items():
        if emotion_label(record[column]) not in known:
            wrong.append((column, f"one of {', '.join(known)}"))
    if aus and (problem := au_cell_problem(record[aus])):
        wrong.append((aus, f"an AU cell ({problem})"))
    return [
        wrong_cell(where, clip, record, column, expected) for column, expected in wrong
    ]


def wrong_cell(
    where: str, clip: str, record: Mapping[str, object], column: str, expected: str
) -> Finding:
    """That a cell cannot be read: names row, clip, column, cell, what was expected."""
    place = f"{where}, clip {clip!r}, column {column!r}"
    found = f"expected {expected}, found {record[column]!r}"
    return Finding("table", place, found, clip)
