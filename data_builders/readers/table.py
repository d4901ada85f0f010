"""Annotation tables: workbooks and CSV files as rows of cells by column name.

Columns are found by their stripped name, never by position; cells stay what they are.
"""

import contextlib
import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl

from data_builders.readers.findings import DatasetError, Finding
from data_builders.readers.folders import MOST, check_inside, entries_of
from merclip_jax.facs import AUCellError, parse_cell

HEADER_WITHIN = 40  # rows: SAMM's header stands below 13 lines of notes
# Editions of one table write both.
_SYNONYMS = {"happy": "happiness", "sad": "sadness", "other": "others"}
# CASME II writes "/", CAS(ME)^2 "NULL"; spreadsheet programs leave "nan" and "-".
_EMPTY = {"", "/", "-", "nan", "null", "none", "n/a"}

Record = Mapping[str, object]  # a row's cells by column, as the file has them


@dataclass(frozen=True)
class Sheet:
    """Rows below the header: (row number in the file, cell of each column)."""

    path: Path
    name: str
    rows: tuple[tuple[int, dict[str, object]], ...]

    def where(self, number: int) -> str:
        """Returns the place of a row, such as "labels.xlsx, row 12"."""
        return f"{self.path.name}, row {number}"


def find_table(
    manual_dir: Path, patterns: Sequence[str], *, depth: int = 3
) -> Path | None:
    """Finds a table by its name.

    Earlier patterns are preferred, then shallower folders, then shorter names, for
    copies have longer ones; letter case does not matter. No folder is entered inside
    one with more than `MOST` entries.

    Args:
        manual_dir: The owners' folder.
        patterns: Regular expressions that the whole name may match.
        depth: How many folders down it may lie.

    Returns:
        The first such file, None where there is none.

    Raises:
        OutsideError: If it is a link out of `manual_dir`.
    """
    files: list[Path] = []
    layer = [manual_dir]
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in layer:
            folders, names = entries_of(folder)
            files += [folder / name for name in sorted(names, key=_length)]
            if len(folders) + len(names) <= MOST:
                below += [folder / name for name in folders]
        layer = sorted(below)
    for pattern in patterns:
        name = re.compile(pattern, re.IGNORECASE)
        for path in files:
            # Hidden files are macOS's; "~$" is the lock of a workbook that is open.
            if name.fullmatch(path.name) and not path.name.startswith((".", "~$")):
                check_inside(path, manual_dir.resolve())
                return path
    return None


def _length(name: str) -> tuple[int, str]:
    return len(name), name


def read_cells(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Reads all cells of a file.

    Args:
        path: A workbook or a CSV file.

    Returns:
        Title of each sheet, "" for a CSV file, -> its rows.

    Raises:
        DatasetError: If the file cannot be read as what its suffix says.
    """
    if path.suffix.lower() == ".csv":
        try:
            # utf-8-sig: spreadsheet programs put a mark before the first title.
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
    """Reads the sheet that has certain columns, its header in the first 40 rows.

    Letter case and blanks around a name do not matter. Rows without any cell are
    passed over.

    Args:
        path: A workbook or a CSV file.
        columns: Names of those that must be there.
        optional: Names of those whose cells are None where there are none.
        sheet: Its title; None for the first that has the columns and rows.

    Returns:
        The rows below the header.

    Raises:
        DatasetError: If there is no such sheet or header; names the columns that are
            missing and those found.
    """
    # Of all sheets, for which holds the table is known of few datasets.
    sheets = read_cells(path)
    if sheet is not None:
        if sheet not in sheets:
            names = ", ".join(sheets)
            raise DatasetError(f"{path}: expected a sheet {sheet!r}, found {names}")
        sheets = {sheet: sheets[sheet]}
    best: tuple[list[str], list[str]] = (list(columns), [])
    empty = None
    for name, cells in sheets.items():
        for at, titles in enumerate(cells[:HEADER_WITHIN]):
            plain = [_plain(title) for title in titles]
            places = {column: _index(column, plain) for column in columns}
            missing = [c for c, place in places.items() if place is None]
            if missing:
                # The row that comes nearest is most likely the header.
                told = [str(title) for title in titles if title is not None]
                best = min(best, (missing, told), key=lambda both: len(both[0]))
                continue
            places |= {column: _index(column, plain) for column in optional}
            rows = tuple(_rows(cells[at + 1 :], places, first=at + 2))
            if rows:
                return Sheet(path, name, rows)
            # A template may be a sheet of its own; the rows are then in another.
            empty = empty or Sheet(path, name, ())
    if empty:
        return empty
    missing, titles = best
    found = f"; found {', '.join(titles)}" if titles else ""
    raise DatasetError(
        f"{path}: expected a header row with the columns {', '.join(columns)}; missing "
        f"{', '.join(missing)}{found}"
    )


def _plain(title: object) -> str:
    return " ".join(str(title if title is not None else "").lower().split())


def _index(column: str, titles: list[str]) -> int | None:
    name = _plain(column)
    return titles.index(name) if name in titles else None


def _rows(cells: list, places: Mapping[str, int | None], first: int):
    for number, values in enumerate(cells, start=first):
        row = {
            column: values[place] if place is not None and place < len(values) else None
            for column, place in places.items()
        }
        if any(value is not None and str(value).strip() for value in row.values()):
            yield number, row


def integer(cell: object) -> int | None:
    """Returns a whole number held as text, int or float; None for anything else."""
    digits = text(cell).strip()
    return int(digits) if re.fullmatch("[0-9]+", digits) else None


def is_empty(cell: object) -> bool:
    """Whether a cell says that there is nothing: blank, '/', 'NULL', NaN."""
    return str(cell if cell is not None else "").strip().lower() in _EMPTY


def text(cell: object) -> str:
    """Returns a cell as text; a number that a program keeps as 12.0 is "12"."""
    # "12.0" is AU 12 or frame 12 in a column that once held a blank cell; "4.05" stays.
    written = "" if cell is None else str(cell)
    return re.sub(r"^(\s*[0-9]+)[.]0(\s*)$", r"\1\2", written)


def emotion_label(cell: object) -> str:
    """Returns an emotion in lower case; happy, sad and other under one name."""
    label = text(cell).strip().lower()
    return _SYNONYMS.get(label, label)


def repair(
    where: str, clip: str, record: Record, changes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, object], list[Finding]]:
    """Puts right the numbers of a row that are known to be wrong.

    A cell that holds another number stays: copies of a table are around in which
    somebody has put it right.

    Args:
        where: File and row.
        clip: Its name.
        record: The row's cells.
        changes: Column -> (wrong, right).

    Returns:
        The cells as they are to be read, and a finding for each that is changed.
    """
    record, findings = dict(record), []
    for column, (wrong, right) in changes.items():
        if integer(record[column]) == wrong:
            words = f"{wrong} in the table, read as {right}"
            findings.append(Finding("repaired", at(where, clip, column), words, clip))
            record[column] = right
    return record, findings


def cell_findings(
    where: str,
    clip: str,
    record: Record,
    *,
    span: tuple[str, str],
    one_of: Mapping[str, Sequence[str]] | None = None,
    aus: str = "",
) -> list[Finding]:
    """Sees what keeps a row from being read.

    Args:
        where: File and row.
        clip: Its name.
        record: The row's cells.
        span: The columns of onset and offset, whole numbers in this order.
        one_of: Column -> the emotions known there.
        aus: The column of AU cells, "" for none.

    Returns:
        A finding for each wrong cell, which names row, clip, column and cell.
    """
    # The apex is not looked at: without a good one the midpoint is taken.
    wrong = [(c, "a whole number") for c in span if integer(record[c]) is None]
    onset, offset = (integer(record[column]) for column in span)
    if not wrong and offset < onset:
        wrong.append((span[1], f"a frame number from {onset} on"))
    for column, known in (one_of or {}).items():
        if emotion_label(record[column]) not in known:
            wrong.append((column, f"one of {', '.join(known)}"))
    if aus and (problem := _au_problem(text(record[aus]))):
        wrong.append((aus, f"an AU cell ({problem})"))
    return [
        wrong_cell(where, clip, record, column, expected) for column, expected in wrong
    ]


def wrong_cell(
    where: str, clip: str, record: Record, column: str, expected: str
) -> Finding:
    """Returns the finding that a cell cannot be read.

    Args:
        where: File and row.
        clip: Its name.
        record: The row's cells.
        column: Which of them.
        expected: What should stand there.
    """
    found = f"expected {expected}, found {record[column]!r}"
    return Finding("table", at(where, clip, column), found, clip)


def at(where: str, clip: str, column: str) -> str:
    """Returns the place of a cell: `where` (file and row), clip, column."""
    return f"{where}, clip {clip!r}, column {column!r}"


def _au_problem(cell: str) -> str:
    """What is wrong with an AU cell, "" for one that can be read."""
    try:
        parse_cell(cell)
    except AUCellError as error:
        return str(error)
    return ""
