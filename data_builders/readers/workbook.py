"""All cells of a table's file, a workbook or a CSV file, within limits.

Some kilobytes can unpack to gigabytes, and one far cell makes a sheet of 17 billion. So
sizes are looked at before a cell is made, and cells are counted while they are made.
The largest table of all datasets has some 8,000 rows of ten cells.
"""

import contextlib
import csv
import itertools
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

import openpyxl

from data_builders.readers.findings import DatasetError

MOST_BYTES = 64 * 2**20  # of a file, unpacked
# Tags and attributes of XML: an element takes some 400 bytes of memory, and of millions
# of attributes in one tag no parser comes to an end.
MOST_TAGS = 3_000_000
MOST_CELLS = 500_000
MOST_ROWS = 50_000  # each may have several findings
MOST_BLANK = 4 * 2**20  # rows; a sheet may have a million
LONGEST_CELL = 500  # characters; what is longer is no name, number or label
# A formula in a sheet; XML may give its tags a prefix.
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_MOST = {"rows": MOST_ROWS, "blank rows": MOST_BLANK, "cells": MOST_CELLS}
_Rows = list[tuple[object, ...]]


class _TooLarge(DatasetError):
    """A file beyond the limits."""


def read_cells(path: Path) -> dict[str, _Rows]:
    """Reads all cells of a file.

    A formula that was never calculated stands as its text, such as "=A1"; of a cell
    with more than LONGEST_CELL characters the first ones, and how many there are.

    Args:
        path: A workbook or a CSV file.

    Returns:
        Title of each sheet, "" for a CSV file, -> its rows, each up to its last cell.

    Raises:
        DatasetError: If the file cannot be read as what its suffix says, or is larger
            than any table of a dataset.
    """
    is_csv = path.suffix.lower() == ".csv"
    kind = "a CSV file in UTF-8" if is_csv else "an xlsx workbook"
    try:
        return {"": _csv(path)} if is_csv else _workbook(path)
    except _TooLarge as error:
        hint = "" if is_csv else " (save it as a CSV file)"
        raise DatasetError(
            f"{path}: {error}; expected the table alone, which is far smaller{hint}"
        ) from error
    except Exception as error:  # openpyxl lets errors of zip and XML through
        raise DatasetError(f"{path}: expected {kind} ({_short(error)})") from error


def _csv(path: Path) -> _Rows:
    if path.stat().st_size > MOST_BYTES:
        raise _TooLarge(f"more than {MOST_BYTES >> 20} MiB")
    # utf-8-sig: spreadsheet programs put a mark before the first title.
    with open(path, newline="", encoding="utf-8-sig") as file:
        return _Limits().rows(
            tuple(c or None for c in row) for row in csv.reader(file, strict=True)
        )


def _workbook(path: Path) -> dict[str, _Rows]:
    with zipfile.ZipFile(path) as archive:
        formulas = _look_into(archive)
    stored = _sheets(path, data_only=True)
    if formulas:
        written = _sheets(path, data_only=False)
        stored = {title: _joined(stored[title], written[title]) for title in stored}
    return stored


def _look_into(archive: zipfile.ZipFile) -> bool:
    """Whether there may be formulas in it; raises for too large or damaged parts."""
    parts = archive.infolist()
    # zipfile gives out no more of a part than its entry says, and compares its CRC.
    if sum(part.file_size for part in parts) > MOST_BYTES:
        raise _TooLarge(f"unpacks to more than {MOST_BYTES >> 20} MiB")
    tags, formulas = 0, False
    for part in parts:
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DatasetError(f"{part.filename} is packed as no workbook is")
        data = archive.read(part)
        tags += data.count(b"<") + data.count(b"=")
        # Bytes of 0: UTF-16, in which the pattern would find nothing.
        formulas = formulas or bool(_FORMULA.search(data)) or b"\0" in data
        if tags > MOST_TAGS:
            raise _TooLarge(f"more than {MOST_TAGS} tags and attributes of XML")
    return formulas


def _sheets(path: Path, *, data_only: bool) -> dict[str, _Rows]:
    limits = _Limits()
    # What openpyxl warns of, such as a date that is none, is seen in the cell as well.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # read_only: it gives row by row, so that they can be counted.
        workbook = openpyxl.load_workbook(path, data_only=data_only, read_only=True)
        with contextlib.closing(workbook):
            found = {}
            for sheet in workbook.worksheets:
                sheet.reset_dimensions()  # what the file says of them may be wrong
                found[sheet.title] = limits.rows(sheet.iter_rows(values_only=True))
            return found


class _Limits:
    """Counts the rows and cells of all sheets of a file."""

    def __init__(self):
        self.left = dict(_MOST)

    def rows(self, given: Iterable[tuple[object, ...]]) -> _Rows:
        """Rows without the blank cells and rows behind their last ones."""
        rows: _Rows = []
        for row in given:
            width = len(row)
            while width and row[width - 1] is None:
                width -= 1
            self._spend("rows" if width else "blank rows", 1)
            self._spend("cells", width)
            rows.append(tuple(map(_short, row[:width])))
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def _spend(self, what: str, number: int) -> None:
        self.left[what] -= number
        if self.left[what] < 0:
            raise _TooLarge(f"more than {_MOST[what]} {what}")


def _short(value: object) -> object:
    """A cell, or the beginning of a text that is too long to mean anything."""
    if isinstance(value, Exception):
        value = str(value)
    if isinstance(value, str) and len(value) > LONGEST_CELL:
        return f"{value[:60]}... ({len(value)} characters)"
    return value


def _joined(stored: _Rows, written: _Rows) -> _Rows:
    """Values, and where there is none the formula that should have given one."""
    return [
        tuple(
            _formula(formula) if value is None else value
            for value, formula in itertools.zip_longest(values, formulas)
        )
        for values, formulas in itertools.zip_longest(stored, written, fillvalue=())
    ]


def _formula(cell: object) -> str | None:
    if isinstance(cell, str) and cell.startswith("="):
        return cell
    # openpyxl has objects for formulas of several cells.
    text = getattr(cell, "text", None) or getattr(cell, "ref", None)
    return f"={str(text).removeprefix('=')}" if text else None
