"""Annotation tables: workbooks and CSV files as rows of cells by column name.

Columns are found by their stripped name, never by position; cells stay what they are.
"""

import contextlib
import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl

from data_builders.files import check_inside, entries_of
from data_builders.release import DatasetError, Finding, Row, au_cell_problem

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

    Earlier patterns are preferred, then shallower folders, then shorter names, for
    copies have longer ones; letter case does not matter. The search goes `depth`
    folders down, and enters no folder inside one with more than 200 entries. Raises
    OutsideError for a link out of `manual_dir`.
    """
    files: list[Path] = []
    layer = [manual_dir]
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in layer:
            folders, names = entries_of(folder)
            files += [folder / name for name in sorted(names, key=_length)]
            if len(folders) + len(names) <= 200:
                below += [folder / name for name in folders]
        layer = sorted(below)
    for pattern in patterns:
        name = re.compile(pattern, re.IGNORECASE)
        for path in files:
            if name.fullmatch(path.name) and not path.name.startswith((".", "~$")):
                check_inside(path, manual_dir.resolve())
                return path
    return None


def _length(name: str) -> tuple[int, str]:
    return len(name), name


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
        # read_only: a format on the last row of a sheet else makes a million of cells.
        workbook = openpyxl.load_workbook(path, data_only=True, read_only=True)
        with contextlib.closing(workbook):
            return {sheet.title: _cells(sheet) for sheet in workbook.worksheets}
    except Exception as error:  # openpyxl lets errors of zip and XML through
        raise DatasetError(f"{path}: expected an xlsx workbook ({error})") from error


def _cells(sheet) -> list[tuple[object, ...]]:
    """Rows of one length, without the blank ones below the last cell."""
    sheet.reset_dimensions()  # what the file says of them may be wrong
    rows = list(sheet.iter_rows(values_only=True))
    while rows and all(cell is None for cell in rows[-1]):
        rows.pop()
    width = max(map(len, rows), default=0)
    return [(*row, *[None] * (width - len(row))) for row in rows]


def read_sheet(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    sheet: str | None = None,
) -> Sheet:
    """The sheet that has all `columns`, its header anywhere in the first 40 rows.

    `sheet`: its name; None takes the first with rows. A column is asked for by its name
    or, when it has several, by them joined with "|"; the first is the key in the rows;
    `optional` columns are None where there are none. Letter case and blanks around a
    name do not matter. Rows without any cell are passed over. Raises DatasetError that
    names the missing columns and those found.
    """
    sheets = read_cells(path)
    if sheet is not None:
        if sheet not in sheets:
            names = ", ".join(sheets)
            raise DatasetError(f"{path}: expected a sheet {sheet!r}, found {names}")
        sheets = {sheet: sheets[sheet]}
    best: tuple[list[str], list[str]] = (list(columns), [])
    empty = None
    for name, cells in sheets.items():
        for at, titles in enumerate(cells[:40]):
            plain = [_plain(title) for title in titles]
            places = {column: _place(column, plain) for column in columns}
            missing = [c for c, place in places.items() if place is None]
            if missing:
                told = [str(title) for title in titles if title is not None]
                best = min(best, (missing, told), key=lambda both: len(both[0]))
                continue
            places |= {column: _place(column, plain) for column in optional}
            rows = tuple(_rows(cells[at + 1 :], places, first=at + 2))
            if rows:
                return Sheet(path, name, rows)
            empty = empty or Sheet(path, name, ())
    if empty:
        return empty
    missing, titles = best
    found = f"; found {', '.join(titles)}" if titles else ""
    raise DatasetError(
        f"{path}: expected a header row with the columns "
        f"{', '.join(c.split('|')[0] for c in columns)}; missing "
        f"{', '.join(c.replace('|', ' or ') for c in missing)}{found}"
    )


def read_rows(
    sheet: Sheet,
    read_row: Callable[[str, dict[str, object]], tuple[Row | None, list[Finding]]],
) -> tuple[list[Row], list[Finding]]:
    """What `read_row(where, cells)` makes of all rows, and all that is odd in them."""
    rows: list[Row] = []
    findings: list[Finding] = []
    for number, record in sheet.rows:
        row, found = read_row(sheet.where(number), record)
        rows += [row] if row else []
        findings += found
    return rows, findings


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
    digits = text(cell).strip()
    return int(digits) if re.fullmatch("[0-9]+", digits) else None


def is_empty(cell: object) -> bool:
    """Whether a cell says that there is nothing: blank, '/', 'NULL', NaN."""
    return str(cell if cell is not None else "").strip().lower() in _EMPTY


def text(cell: object) -> str:
    """A cell as text; a number that a program keeps as 12.0 is "12"."""
    written = "" if cell is None else str(cell)
    return re.sub(r"^(\s*[0-9]+)[.]0(\s*)$", r"\1\2", written)


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
    span: tuple[str, str],
    names: Sequence[str] = (),
    one_of: Mapping[str, Sequence[str]] | None = None,
    aus: str = "",
) -> list[Finding]:
    """What keeps a row from being read, each naming row, clip, column and cell.

    `span`: the columns of onset and offset, whole numbers in this order; `names`: of
    texts; `one_of`: column -> the emotions known there; `aus`: the column of AU cells.
    """
    wrong = [(c, "a whole number") for c in span if integer(record[c]) is None]
    onset, offset = (integer(record[column]) for column in span)
    if not wrong and offset < onset:
        wrong.append((span[1], f"a frame number from {onset} on"))
    wrong += [(c, "a name") for c in names if not text(record[c]).strip()]
    for column, known in (one_of or {}).items():
        if emotion_label(record[column]) not in known:
            wrong.append((column, f"one of {', '.join(known)}"))
    if aus and (problem := au_cell_problem(text(record[aus]))):
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
