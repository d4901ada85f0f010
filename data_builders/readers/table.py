"""Annotation tables: where they are, and their rows as cells by column name.

Columns are found by their stripped name, never by position; cells stay what they are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_builders.readers.findings import DatasetError
from data_builders.readers.folders import MOST, check_inside, entries_of
from data_builders.readers.workbook import read_cells

HEADER_WITHIN = 40  # rows: SAMM's header stands below 13 lines of notes
_TOLD = 20  # titles that a message shows


class HeaderError(DatasetError):
    """A table that can be read, but without the columns that are looked for."""


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


def read_sheet(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    sheet: str | None = None,
    sheets: Mapping[str, Sequence] | None = None,
) -> Sheet:
    """Reads the sheet that has certain columns, its header in the first 40 rows.

    Letter case and blanks around a name do not matter. Rows without any cell are
    passed over.

    Args:
        path: A workbook or a CSV file.
        columns: Names of those that must be there.
        optional: Names of those whose cells are None where there are none.
        sheet: Its title; None for the first that has the columns and rows.
        sheets: What `read_cells` gives, where the file has been read already.

    Returns:
        The rows below the header.

    Raises:
        HeaderError: If there is no such sheet or header; names the columns that are
            missing and those found.
        DatasetError: If the file cannot be read.
    """
    # Of all sheets, for which holds the table is known of few datasets.
    sheets = read_cells(path) if sheets is None else sheets
    if sheet is not None:
        if sheet not in sheets:
            names = ", ".join(sheets)
            raise HeaderError(f"{path}: expected a sheet {sheet!r}, found {names}")
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
    more = ", ..." if len(titles) > _TOLD else ""
    found = f"; found {', '.join(titles[:_TOLD])}{more}" if titles else ""
    raise HeaderError(
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
