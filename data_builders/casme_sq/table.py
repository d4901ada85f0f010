"""The coding table of CAS(ME)^2: no header, and two sheets that say what names mean.

Columns have no names in the file; those here are the ones its owners describe.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_builders.files import DatasetError
from data_builders.release import Finding, Row
from data_builders.tables import (
    cell_findings,
    emotion_label,
    find_table,
    integer,
    read_cells,
    text,
    wrong_cell,
)

FPS = 30.0
EMOTIONS = {"negative": 21, "positive": 8, "surprise": 9, "others": 19}
COLUMNS = (
    *("participant", "expression", "onset", "apex", "offset", "AUs"),
    *("estimated emotion", "macro or micro"),  # a ninth, the self-report, is not read
)
TYPE = re.compile("(micro|macro)-?expression")
SHEETS = {
    "codes": "cas[fm]ecode.*",
    "subjects": "naming ?rule ?1",
    "recordings": "naming ?rule ?2",
}
Cells = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Coding:
    """The micro-expressions of a table, and what is wrong with other rows of them.

    `codes`: recording such as "disgust1" -> its code, "0101"; `macro`: how many rows of
    macro-expressions were passed over.
    """

    rows: list[Row]
    findings: list[Finding]
    codes: dict[str, str]
    macro: int


def find(manual_dir: Path) -> Path:
    """The coding table in `manual_dir` or a folder of it, rather the updated one."""
    name = r"cas\(me\)\^?2 ?code_final"
    path = find_table(manual_dir, [rf"{name}.*updated.*\.xlsx", rf"{name}.*\.xlsx"])
    if path is None:
        raise DatasetError(
            f"{manual_dir}: expected the coding table CAS(ME)^2code_final(Updated).xlsx"
        )
    return path


def read(path: Path) -> Coding:
    """Read the table; DatasetError where sheets or columns are missing."""
    sheets = read_cells(path)
    subjects, findings = _subjects(path, _sheet(path, sheets, "subjects"))
    codes, found = _codes(path, _sheet(path, sheets, "recordings"))
    findings += found
    rows: list[Row] = []
    macro = 0
    for number, record in _records(path, _sheet(path, sheets, "codes")):
        where = f"{path.name}, row {number}"
        label = TYPE.fullmatch(text(record["macro or micro"]).strip().lower())
        if label and label[1] == "macro":
            macro += 1
            continue
        if not label:
            place = f"{where}, column 'macro or micro'"
            said = "expected micro-expression or macro-expression, found "
            said += repr(record["macro or micro"])
            findings.append(Finding("table", place, said))
            continue
        row, found = _row(where, record, subjects, codes)
        rows += [row] if row else []
        findings += found
    return Coding(rows, findings, codes, macro)


def _sheet(path: Path, sheets: dict[str, list], which: str) -> Cells:
    for title, cells in sheets.items():
        if re.fullmatch(SHEETS[which], title.strip().lower()):
            return cells
    raise DatasetError(
        f"{path}: expected the sheets CASFEcode_final, naming rule1 and naming rule2, "
        f"found {', '.join(sheets)}"
    )


def _records(path: Path, cells: Cells) -> list[tuple[int, dict[str, object]]]:
    """Rows by column, with their numbers; blank rows and columns are passed over."""
    width = max(map(len, cells), default=0)
    kept = [i for i in range(width) if any(_said(row[i]) for row in cells)]
    if len(kept) < len(COLUMNS):
        raise DatasetError(
            f"{path}: expected {len(COLUMNS)} columns ({', '.join(COLUMNS)}), found "
            f"{len(kept)}"
        )
    records = [
        (number, dict(zip(COLUMNS, (row[i] for i in kept), strict=False)))
        for number, row in enumerate(cells, start=1)
        if any(map(_said, row))
    ]
    labels = [text(record["macro or micro"]).strip().lower() for _, record in records]
    if not any(map(TYPE.fullmatch, labels)):
        raise DatasetError(
            f"{path}: expected micro-expression or macro-expression in column 8 "
            f"({', '.join(COLUMNS)}), found {records[0][1]['macro or micro']!r} first"
        )
    return records


def _said(cell: object) -> bool:
    return bool(text(cell).strip())


def _subjects(path: Path, cells: Cells) -> tuple[dict[int, str], list[Finding]]:
    """Participant -> subject such as "s15": a row of naming rule1 holds 15, s15, 1."""
    pairs = []
    for row in cells:
        names = [n for c in row if (n := re.fullmatch("s([0-9]+)", _lower(c)))]
        numbers = [n for c in row if (n := integer(c)) is not None]
        if names and numbers:
            own = int(names[0][1])
            participant = ([n for n in numbers if n != own] or numbers)[-1]
            pairs.append((participant, f"s{own:02d}"))
    expected = "rows with a participant's number and a subject such as s15"
    return _once(pairs, f"{path.name}, sheet naming rule1", expected)


def _codes(path: Path, cells: Cells) -> tuple[dict[str, str], list[Finding]]:
    """Recording -> code: a row of naming rule2 holds 0101 (or 101) and disgust1."""
    pairs = []
    for row in cells:
        names = [_lower(c) for c in row if re.fullmatch("[a-z]+[0-9]+", _lower(c))]
        numbers = [n for c in row if (n := integer(c)) is not None]
        if names and numbers:
            pairs.append((names[0], f"{numbers[0]:04d}"))
    expected = "rows such as 0101 and disgust1"
    return _once(pairs, f"{path.name}, sheet naming rule2", expected)


def _once(pairs: list[tuple], where: str, expected: str) -> tuple[dict, list[Finding]]:
    """The pairs as a dictionary, and those that give a name a second meaning."""
    if not pairs:
        raise DatasetError(f"{where}: expected {expected}")
    meaning: dict = {}
    findings = []
    for name, value in pairs:
        if meaning.setdefault(name, value) != value:
            text_ = f"expected one line for {name}, found {meaning[name]} and {value}"
            findings.append(Finding("table", where, text_))
    return meaning, findings


def _lower(cell: object) -> str:
    return text(cell).strip().lower()


def _row(
    where: str,
    record: dict[str, object],
    subjects: dict[int, str],
    codes: dict[str, str],
) -> tuple[Row | None, list[Finding]]:
    name = text(record["expression"]).strip()
    subject = subjects.get(integer(record["participant"]) or 0, "")
    clip = f"{subject or record['participant']}/{name}"
    notes = []
    onset, apex, offset = (integer(record[c]) for c in ("onset", "apex", "offset"))
    if offset == 0 and apex:
        said = f"offset 0 (it never ended) read as {apex}, the apex"
        notes = [Finding("repaired", f"{where}, clip {clip}", said, clip)]
        record, offset = record | {"offset": apex}, apex
    found = cell_findings(
        where,
        clip,
        record,
        span=("onset", "offset"),
        one_of={"estimated emotion": list(EMOTIONS)},
        aus="AUs",
    )
    wrong = partial(wrong_cell, where, clip, record)
    if not subject:
        found.append(wrong("participant", "a participant of sheet naming rule1"))
    if not re.fullmatch("[A-Za-z]+[0-9]+_[0-9]+", name):
        found.append(wrong("expression", "a name such as disgust1_2"))
    elif name.lower().split("_")[0] not in codes:
        expected = "a recording of sheet naming rule2 before the '_'"
        found.append(wrong("expression", expected))
    if found:
        return None, found
    row = Row(
        where=where,
        subject=subject,
        clip=clip,
        onset=onset,
        apex=apex,
        offset=offset,
        fps=FPS,
        emotion=emotion_label(record["estimated emotion"]),
        au_cell=text(record["AUs"]),
    )
    return row, notes
