"""The annotation of SMIC-HS's long clips: onset and offset of one to three in each.

Some of its cells are formulas that refer to the sheet VIS. A program that saved the
workbook without calculating them leaves no value; a plain reference is then followed.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import openpyxl

from data_builders.readers.cells import (
    cell_findings,
    cell_text,
    emotion_label,
    integer,
    is_empty,
)
from data_builders.readers.findings import Finding
from data_builders.readers.release import Row
from data_builders.readers.table import Sheet, find_table, read_sheet
from data_builders.smic.tree import (
    CODES,
    EMOTIONS,
    SUBJECT,
    Folder,
    Key,
    clip_key,
    row,
)

SHEET = "HS"
FIRST = ("OnsetF", "OffsetF")
COLUMNS = ("Subject", "Filename", *FIRST, "Emotion")
MORE = (("Onset2F", "Offset2F"), ("Onset3F", "Offset3F"))
# HS-E has no folder of these, though one edition of the table lists five clips more.
ABSENT: frozenset[Key] = frozenset(
    {(3, "ne", 3), (3, "ne", 20), (4, "ne", 5), (4, "ne", 6), (9, "sur", 2)}
)
# Such as =VIS!P3 or ='VIS'!$P$3; anything more would need a program that calculates.
_REFERENCE = re.compile(r"=\s*'?([^'!]+)'?!\$?([A-Z]+)\$?([0-9]+)", re.IGNORECASE)


def find(manual_dir: Path) -> Path | None:
    """Returns the annotation in `manual_dir` or a folder of it, None for none."""
    return find_table(manual_dir, [r"SMIC-HS-E_annotation.*[.]xlsx"], depth=4)


def read(
    path: Path, folders: Mapping[Key, Folder]
) -> tuple[list[Row], int, list[Finding]]:
    """Reads the table.

    Args:
        path: The workbook.
        folders: Key of a clip -> its folder.

    Returns:
        A row per expression (the first of a line bears the clip's name, a second and
        third end in _2 and _3), the number of lines in the table, and what is odd.
    """
    more = [column for pair in MORE for column in pair]
    sheet = read_sheet(path, COLUMNS, optional=more, sheet=SHEET)
    formulas = _formulas(path, (*COLUMNS, *more))
    records = dict(sheet.rows)
    # A line of formulas alone, never calculated, looks like a blank one.
    for number in {number for number, _ in formulas} - set(records):
        records[number] = dict.fromkeys((*COLUMNS, *more))
    rows: list[Row] = []
    findings: list[Finding] = []
    for number, record in sorted(records.items()):
        found = _calculate(sheet, number, record, formulas)
        made, wrong = _rows(sheet.where(number), record, folders)
        rows += made
        findings += found + wrong
    return rows, len(records), findings


def _formulas(path: Path, columns: tuple[str, ...]) -> dict:
    """(row, column title) -> (formula, value that it plainly refers to, or None)."""
    workbook = openpyxl.load_workbook(path)
    titles: dict[int, str] = {}
    found = {}
    for cells in workbook[SHEET].iter_rows():
        for cell in cells:
            value = cell.value
            plain = str(value).strip().lower()
            title = next((c for c in columns if c.lower() == plain), "")
            if title and title not in titles.values():
                titles[cell.column] = title
            elif cell.column in titles and str(value).startswith("="):
                key = cell.row, titles[cell.column]
                found[key] = value, _follow(workbook, value)
    return found


def _follow(workbook: openpyxl.Workbook, formula: str) -> object:
    match = _REFERENCE.fullmatch(formula.strip())
    if not match or match[1] not in workbook.sheetnames:
        return None
    value = workbook[match[1]][f"{match[2]}{match[3]}"].value
    return None if str(value).startswith("=") else value


def _calculate(
    sheet: Sheet, number: int, record: dict[str, object], formulas: Mapping
) -> list[Finding]:
    """Fill in cells whose formula was never calculated; those left show the formula."""
    findings = []
    for column, value in record.items():
        if value is None and (number, column) in formulas:
            formula, referred = formulas[number, column]
            record[column] = formula if referred is None else referred
            if referred is not None:
                where = f"{sheet.where(number)}, column {column!r}"
                said = f"{formula!r} was never calculated; read as {referred!r}"
                clip = cell_text(record["Filename"])
                findings.append(Finding("repaired", where, said, clip))
    return findings


def _rows(
    where: str, record: Mapping[str, object], folders: Mapping[Key, Folder]
) -> tuple[list[Row], list[Finding]]:
    name = cell_text(record["Filename"]).strip()
    key = clip_key(name)
    if key is None:
        said = f"expected a clip's name such as s1_ne_01, found {record['Filename']!r}"
        return [], [Finding("table", f"{where}, column 'Filename'", said, name)]
    # By key: the table writes s03_ne_03 for the folder s3_ne_03.
    folder = folders.get(key)
    if folder is None and key in ABSENT:
        said = "is absent from HS-E, as known; passed over"
        return [], [Finding("absent", f"{where}, clip {name}", said, name)]
    subject = f"s{key[0]:02d}"
    if folder is None:  # `gather` says so
        folder = Folder(f"{subject}/{name}", subject, CODES[key[1]], Path())
    findings = _names(where, record, folder, key)
    pairs = [FIRST]
    # A reference to an empty cell has the value 0.
    none = {c: is_empty(record[c]) or integer(record[c]) == 0 for p in MORE for c in p}
    pairs += [pair for pair in MORE if not all(none[column] for column in pair)]
    rows = []
    for pair in pairs:
        found = cell_findings(where, folder.clip, record, span=pair)
        onset, offset = (integer(record[column]) for column in pair)
        findings += found
        if not found:
            nth = 1 + (FIRST, *MORE).index(pair)
            called = folder.clip if nth == 1 else f"{folder.clip}_{nth}"
            rows.append(row(folder, where, onset, offset, name=called))
    # A line is read as a whole: half of its expressions would be a wrong count.
    stopped = any(finding.stops for finding in findings)
    return ([] if stopped else rows), findings


def _names(
    where: str, record: Mapping[str, object], folder: Folder, key: Key
) -> list[Finding]:
    """What subject, file name and emotion say otherwise than the folder does."""
    clip, name = folder.clip, cell_text(record["Filename"]).strip()
    findings = []

    def say(kind: str, column: str, said: str) -> None:
        place = f"{where}, clip {clip!r}, column {column!r}"
        findings.append(Finding(kind, place, said, clip))

    own = clip.rpartition("/")[2]
    if name.lower() != own.lower():
        say("repaired", "Filename", f"{name!r} read as the folder {own!r}")
    cell = cell_text(record["Subject"]).strip()
    number = re.fullmatch(f"{SUBJECT}|0*([1-9][0-9]?)", cell, re.IGNORECASE)
    if is_empty(cell) or cell.startswith("="):
        say("repaired", "Subject", f"{record['Subject']!r} read as {key[0]}")
    elif not number or int(number[1] or number[2]) != key[0]:
        say("table", "Subject", f"expected {key[0]}, found {record['Subject']!r}")
    label = emotion_label(record["Emotion"])
    if is_empty(label) or label.startswith("="):
        say("repaired", "Emotion", f"{record['Emotion']!r} read as {folder.emotion!r}")
    elif CODES.get(label, label) != folder.emotion:
        known = ", ".join(EMOTIONS)
        said = f"expected {folder.emotion!r} (of {known}), found {record['Emotion']!r}"
        say("table", "Emotion", said)
    return findings
