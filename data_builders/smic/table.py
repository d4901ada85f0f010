"""The annotation of SMIC-HS's long clips: onset and offset of one to three in each.

Some of its cells are formulas that refer to the sheet VIS. A program that saved the
workbook without calculating them leaves no value; a plain reference is then followed.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from openpyxl.utils import column_index_from_string

from data_builders.readers.cells import (
    WHOLE,
    Record,
    cell_findings,
    cell_text,
    emotion_label,
    integer,
    is_empty,
    is_formula,
    quoted,
    wrong_cell,
)
from data_builders.readers.findings import DatasetError, Finding
from data_builders.readers.folders import frame_files
from data_builders.readers.release import Row
from data_builders.readers.table import find_table, read_sheet
from data_builders.readers.workbook import read_cells
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
    sheets = read_cells(path)
    more = [column for pair in MORE for column in pair]
    sheet = read_sheet(path, COLUMNS, optional=more, sheet=SHEET, sheets=sheets)
    rows: list[Row] = []
    findings: list[Finding] = []
    for number, record in sheet.rows:
        record, found = _followed(sheet.where(number), record, sheets)
        made, wrong = _rows(sheet.where(number), record, folders)
        rows += made
        findings += found + wrong
    return rows, len(sheet.rows), findings


def _followed(
    where: str, record: Record, sheets: Mapping[str, Sequence]
) -> tuple[dict[str, object], list[Finding]]:
    """A row in which plain references were followed; other formulas stay."""
    record, findings = dict(record), []
    for column, cell in record.items():
        if is_formula(cell) and (value := _follow(sheets, cell)) is not None:
            said = f"{quoted(cell)} was never calculated; read as {quoted(value)}"
            clip = cell_text(record["Filename"])
            place = f"{where}, column {column!r}"
            findings.append(Finding("repaired", place, said, clip))
            record[column] = value
    return record, findings


def _follow(sheets: Mapping[str, Sequence], formula: str) -> object:
    """The value that a reference such as =VIS!P3 leads to, None for none."""
    match = _REFERENCE.fullmatch(formula.strip())
    if not match:
        return None
    try:
        row = sheets.get(match[1], ())[int(match[3]) - 1]
        value = row[column_index_from_string(match[2]) - 1]
    except (IndexError, ValueError):  # outside the sheet, or no column
        return None
    return None if is_formula(value) else value


def _rows(
    where: str, record: Record, folders: Mapping[Key, Folder]
) -> tuple[list[Row], list[Finding]]:
    name = cell_text(record["Filename"]).strip()
    key = clip_key(name)
    if key is None:
        said = "expected a clip's name such as s1_ne_01, found "
        said += quoted(record["Filename"])
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
    spans, found = _spans(where, record, folder)
    findings += found
    # A line is read as a whole: half of its expressions would be a wrong count.
    if any(finding.stops for finding in findings):
        return [], findings
    return [
        row(folder, where, *span, name=f"{folder.clip}_{nth}" if nth > 1 else "")
        for nth, span in spans.items()
    ], findings


def _spans(
    where: str, record: Record, folder: Folder
) -> tuple[dict[int, tuple[int, int]], list[Finding]]:
    """Which expression of the line -> its onset and offset, and what is odd.

    Cells of some lines hold formulas that slid when rows were put in: what they give
    is no expression of this recording. It is left out, and told.
    """
    clip = folder.clip
    spans: dict[int, tuple[int, int]] = {}
    findings = cell_findings(where, clip, record, span=FIRST)
    if not findings:
        spans[1] = (integer(record[FIRST[0]]), integer(record[FIRST[1]]))
    for nth, pair in enumerate(MORE, start=2):
        # A reference to an empty cell has the value 0.
        none = [c for c in pair if is_empty(record[c]) or integer(record[c]) == 0]
        if len(none) == len(pair):
            continue
        if none:
            findings.append(wrong_cell(where, clip, record, none[0], WHOLE))
            continue
        onset, offset = (integer(record[column]) for column in pair)
        reason = ""
        if spans and onset is not None and offset is not None:
            reason = _no_expression(onset, offset, spans, folder)
        if reason:
            said = f"{pair[0]} {onset}, {pair[1]} {offset} {reason}; read as none"
            findings.append(Finding("repaired", f"{where}, clip {clip}", said, clip))
        elif found := cell_findings(where, clip, record, span=pair):
            findings += found
        else:
            spans[nth] = (onset, offset)
    return spans, findings


def _no_expression(
    onset: int, offset: int, spans: Mapping[int, tuple[int, int]], folder: Folder
) -> str:
    """Why onset and offset are those of no further expression, "" if they may be."""
    for nth, span in spans.items():
        if span == (onset, offset):
            return f"are those of expression {nth}"
    if onset < min(first for first, _ in spans.values()):
        return "begin before the first expression"
    try:
        numbers = list(frame_files(folder.path)) if folder.path.name else []
    except DatasetError:  # told when the frames are gathered
        numbers = []
    if numbers and not (numbers[0] <= onset and offset <= numbers[-1]):
        return f"lie outside the recording, {numbers[0]}..{numbers[-1]}"
    return ""


def _names(where: str, record: Record, folder: Folder, key: Key) -> list[Finding]:
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
    if is_empty(cell) or is_formula(cell):
        say("repaired", "Subject", f"{record['Subject']!r} read as {key[0]}")
    elif not number or int(number[1] or number[2]) != key[0]:
        say("table", "Subject", f"expected {key[0]}, found {quoted(record['Subject'])}")
    label = emotion_label(record["Emotion"])
    if is_empty(label) or is_formula(label):
        say("repaired", "Emotion", f"{record['Emotion']!r} read as {folder.emotion!r}")
    elif (spoken := CODES.get(label, label)) not in EMOTIONS:
        said = f"expected one of {', '.join(EMOTIONS)}, found "
        say("table", "Emotion", said + quoted(record["Emotion"]))
    elif spoken != folder.emotion:
        # The folders are the list; in both editions one line contradicts its name.
        said = f"{record['Emotion']!r} read as {folder.emotion!r}, as in its name"
        say("repaired", "Emotion", said)
    return findings
