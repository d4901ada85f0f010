"""Cells of a table: what is in them, and findings where they cannot be read."""

import re
from collections.abc import Mapping
from datetime import date, time

from data_builders.readers.findings import Finding
from merclip_jax.facs import AUCellError, parse_cell

# Editions of one table write both.
_SYNONYMS = {"happy": "happiness", "sad": "sadness", "other": "others"}
# CASME II writes "/", CAS(ME)^2 "NULL"; spreadsheet programs leave "nan" and "-".
_EMPTY = {"", "/", "-", "nan", "null", "none", "n/a"}
WHOLE = "a whole number"

Record = Mapping[str, object]  # a row's cells by column, as the file has them


def integer(cell: object) -> int | None:
    """Returns a whole number held as text, int or float; None for anything else.

    One of more than nine digits is none: it is no frame's, and a record could not hold
    it.
    """
    digits = re.fullmatch("0*([0-9]{1,9})", cell_text(cell).strip())
    return int(digits[1]) if digits else None


def is_empty(cell: object) -> bool:
    """Whether a cell says that there is nothing: blank, '/', 'NULL', NaN."""
    return str(cell if cell is not None else "").strip().lower() in _EMPTY


def cell_text(cell: object) -> str:
    """Returns a cell as text; a number that a program keeps as 12.0 is "12"."""
    # "12.0" is AU 12 or frame 12 in a column that once held a blank cell; "4.05" stays.
    written = "" if cell is None else str(cell)
    return re.sub(r"^(\s*[0-9]+)[.]0(\s*)$", r"\1\2", written)


def emotion_label(cell: object) -> str:
    """Returns an emotion in lower case; happy, sad and other under one name."""
    label = cell_text(cell).strip().lower()
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
    apex: str = "",
    aus: str = "",
) -> list[Finding]:
    """Sees what keeps a row from being read.

    Args:
        where: File and row.
        clip: Its name.
        record: The row's cells.
        span: The columns of onset and offset, whole numbers in this order.
        apex: The column of the apex, a whole number or one of the signs for none; ""
            for no such column.
        aus: The column of AU cells, "" for none.

    Returns:
        A finding for each wrong cell, which names row, clip, column and cell.
    """
    wrong = [(c, WHOLE) for c in span if integer(record[c]) is None]
    onset, offset = (integer(record[column]) for column in span)
    if not wrong and offset < onset:
        wrong.append((span[1], f"a frame number from {onset} on"))
    # A sign for none is a fact, and the midpoint is taken; "15 (?)" is a doubt that
    # nobody but the reader of the table can settle.
    if apex and integer(record[apex]) is None and not _no_apex(record[apex]):
        wrong.append((apex, f"{WHOLE}, or nothing"))
    if aus and (problem := _au_problem(cell_text(record[aus]))):
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
    cell = record[column]
    if expected.startswith(WHOLE) and cell_text(cell).strip().isdecimal():
        expected = expected.replace(WHOLE, f"{WHOLE} of up to 9 digits")
    found = f"expected {expected}, found {quoted(cell)}"
    if is_formula(cell):
        found += ", a formula without a value (open the table and save it again)"
    return Finding("table", at(where, clip, column), found, clip)


def is_formula(cell: object) -> bool:
    """Whether a cell is a formula that was never calculated, or looks like one."""
    return isinstance(cell, str) and cell.startswith("=")


def quoted(cell: object) -> str:
    """Returns a cell as messages quote it: the beginning of a long one."""
    # What a spreadsheet program takes for a date was a number to its writer.
    text = f"the date {cell}" if isinstance(cell, date | time) else repr(cell)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def at(where: str, clip: str, column: str) -> str:
    """Returns the place of a cell: `where` (file and row), clip, column."""
    return f"{where}, clip {quoted(clip)}, column {column!r}"


def _no_apex(cell: object) -> bool:
    return is_empty(cell) or cell_text(cell).strip() == "?"


def _au_problem(cell: str) -> str:
    """What is wrong with an AU cell, "" for one that can be read."""
    try:
        parse_cell(cell)
    except AUCellError as error:
        text = str(error)
        return text if len(text) <= 300 else f"{text[:300]}..."
    return ""
