"""A table's rows, read as its dataset declares them: from cells to `Row`s."""

from pathlib import Path

from data_builders.readers.cells import (
    Record,
    at,
    cell_findings,
    cell_text,
    emotion_label,
    integer,
    is_empty,
    is_formula,
    quoted,
    repair,
    wrong_cell,
)
from data_builders.readers.declaration import Edition, Folders, Mended, Rates, Table
from data_builders.readers.findings import Finding
from data_builders.readers.release import Row
from data_builders.readers.table import Sheet, read_sheet


def sheet_of(table: Table, path: Path) -> Sheet:
    """Reads a table's sheet as it is.

    Args:
        table: What is declared of it.
        path: Where it is.

    Returns:
        Its rows by column.

    Raises:
        DatasetError: If it has no such columns.
    """
    columns = table.columns
    rates = (table.fps.column,) if isinstance(table.fps, Rates) else ()
    return read_sheet(path, (*columns.needed, *rates), optional=columns.optional)


def rows_of(
    table: Table, edition: Edition, sheet: Sheet, folders: Folders
) -> tuple[list[Row], list[Finding]]:
    """Reads a table's rows.

    Args:
        table: What is declared of the table.
        edition: Which edition it is.
        sheet: Its rows as they are.
        folders: Clip in lower case -> its folders.

    Returns:
        The rows that can be read, and what is odd in them and in the others.
    """
    rows: list[Row] = []
    findings: list[Finding] = []
    for number, record in sheet.rows:
        row, found = read_row(table, edition, sheet.where(number), record, folders)
        rows += [row] if row else []
        findings += found
    return rows, findings


def read_row(
    table: Table, edition: Edition, where: str, record: Record, folders: Folders
) -> tuple[Row | None, list[Finding]]:
    """Reads one row of a table.

    Args:
        table: What is declared of the table.
        edition: Which edition it is.
        where: File and row.
        record: The row's cells.
        folders: Clip in lower case -> its folders.

    Returns:
        The row, None if something is wrong in it; and what is wrong, or read otherwise
        than it stands there.
    """
    columns = table.columns
    onset, apex, offset = columns.frames
    named = table.name({c: cell_text(record[c]).strip() for c in columns.names})
    clip = named.clip
    told = []
    for column, words in named.told.items():
        text = f"{quoted(record[column])} {words}"
        told.append(Finding("repaired", at(where, clip, column), text, clip))
    # Rows known to be broken first: what is put right there needs no rule.
    changes = table.repairs.get((clip, integer(record[onset])), {})
    record, repaired = repair(where, clip, record, changes)
    told += repaired
    # Before the cells are looked at, for a rule may be what makes them right.
    mended: Mended | None = None
    if table.mend:
        mended = table.mend(record, folders.get(clip.lower(), ()))
    if mended:
        record |= mended.cells
        told.append(Finding("repaired", f"{where}, clip {clip}", mended.text, clip))
    wrong = [
        wrong_cell(where, clip, record, column, expected)
        for column, expected in named.wrong.items()
    ]
    wrong += cell_findings(
        where, clip, record, span=(onset, offset), apex=apex, aus=columns.aus
    )
    # Any text is a name: only here is a formula told from one.
    seen = {onset, columns.emotion, *named.wrong, *named.told}
    wrong += [
        wrong_cell(where, clip, record, column, "a name")
        for column in columns.names
        if is_formula(record[column]) and column not in seen
    ]
    emotion, expected = _emotion(table, edition, record[columns.emotion])
    if expected:
        wrong.append(wrong_cell(where, clip, record, columns.emotion, expected))
    fps = table.fps
    if isinstance(fps, Rates):
        if (rate := integer(record[fps.column])) not in fps.known:
            expected = f"one of {', '.join(map(str, fps.known))}"
            wrong.append(wrong_cell(where, clip, record, fps.column, expected))
        fps = float(rate or 0)
    if wrong:
        return None, [*told, *wrong]
    row = Row(
        where=where,
        subject=named.subject,
        clip=clip,
        onset=integer(record[onset]),
        apex=integer(record[apex]),
        offset=integer(record[offset]),
        fps=fps,
        emotion=emotion,
        au_cell=cell_text(record[columns.aus]),
        split=table.split,
    )
    return row, told


def _emotion(table: Table, edition: Edition, cell: object) -> tuple[str, str]:
    """(the emotion of a cell, what was expected there or "" if it is right)."""
    known = ", ".join(edition.emotions)
    if table.unlabelled and is_empty(cell):
        return "", ""
    if table.combined:
        # In order of the alphabet: annotators wrote both "a+b" and "b+a".
        labels = sorted({emotion_label(part) for part in cell_text(cell).split("+")})
        right = set(labels) <= edition.emotions.keys()
        return "+".join(labels), "" if right else f"some of {known}, joined by '+'"
    label = emotion_label(cell)
    return label, "" if label in edition.emotions else f"one of {known}"
