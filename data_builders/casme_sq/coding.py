"""The coding table of CAS(ME)^2: no header, and two sheets that say what names mean.

Columns have no names in the file; those here are the ones its owners describe. In the
copy that goes around as a CSV file a further column says what the two sheets do: it
names the recording's folder.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data_builders.readers.cells import Record, cell_text, integer, quoted
from data_builders.readers.declaration import (
    Cells,
    Columns,
    Edition,
    Mended,
    Named,
    Table,
)
from data_builders.readers.findings import DatasetError, Finding
from data_builders.readers.macro import (
    MacroExpressions,
    gathered,
    recording_of,
    texts,
)
from data_builders.readers.release import Row
from data_builders.readers.rows import read_row
from data_builders.readers.workbook import read_cells

FRAMES = ("onset", "apex", "offset")
KIND = "macro or micro"
FOLDER = "folder"
# A ninth column, the self-report, is not read.
TITLES = ("participant", "expression", *FRAMES, "AUs", "estimated emotion", KIND)
# With and without the hyphen, in either letter case.
TYPE = re.compile("(micro|macro)-?expression")
SHEETS = {
    "codes": "cas[fm]ecode.*",
    "subjects": "naming ?rule ?1",
    "recordings": "naming ?rule ?2",
}
# Such as s15/15_0401girlcrashing: the subject's folder, and in it the recording's.
_FOLDER = re.compile(r"(s?[0-9]{1,4})[/\\](?:[0-9]+_)?([0-9]{4})(?![0-9]).*")
Rows = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Coding:
    """The micro-expressions of a table, and what is wrong with other rows of them.

    `codes`: recording such as "disgust1" -> its code, "0101"; `macro`: how many rows of
    macro-expressions were passed over; `macro_expressions`: where these are.
    """

    rows: list[Row]
    findings: list[Finding]
    codes: dict[str, str]
    macro: int
    macro_expressions: MacroExpressions


def name(cells: Cells, *, subjects: dict[int, str], codes: dict[str, str]) -> Named:
    """Names the clip of a row, such as "s15/disgust1_2".

    Args:
        cells: Participant and expression.
        subjects: Participant -> subject.
        codes: Recording -> code.

    Returns:
        The name, and what was expected where a naming rule has no such line.
    """
    expression, wrong = cells["expression"], {}
    # The table counts participants from 1; folders are named for subjects, s15 on.
    subject = subjects.get(integer(cells["participant"]) or 0, "")
    if not subject:
        wrong["participant"] = "a participant of sheet naming rule1"
    if not re.fullmatch("[A-Za-z]+[0-9]+_[0-9]+", expression):
        wrong["expression"] = "a name such as disgust1_2"
    elif expression.lower().split("_")[0] not in codes:
        wrong["expression"] = "a recording of sheet naming rule2 before the '_'"
    return Named(subject=subject or cells["participant"], name=expression, wrong=wrong)


def mend(record: Record, folders: Sequence[Path]) -> Mended | None:
    """Returns the apex for an offset of 0: the expression never ended."""
    del folders
    apex = integer(record["apex"])
    if integer(record["offset"]) != 0 or not apex:
        return None
    text = f"offset 0 (it never ended) read as {apex}, the apex"
    return Mended({"offset": apex}, text)


_NAME = r"cas\(me\)\^?2 ?code_final"
_SUFFIX = r".*\.(xlsx|csv)"
_COUNTS = {"negative": 21, "positive": 8, "surprise": 9, "others": 19}
TABLE = Table(
    called="the coding table CAS(ME)^2code_final(Updated).xlsx",
    editions=(
        Edition(pattern=rf"{_NAME}.*updated{_SUFFIX}", emotions=_COUNTS),
        Edition(pattern=rf"{_NAME}{_SUFFIX}", emotions=_COUNTS),
    ),
    columns=Columns(
        names=("participant", "expression"),
        frames=FRAMES,
        emotion="estimated emotion",
        aus="AUs",
    ),
    fps=30.0,
    name=partial(name, subjects={}, codes={}),
    mend=mend,
)


def read(path: Path, edition: Edition) -> Coding:
    """Reads the table.

    Args:
        path: The workbook, or a CSV file.
        edition: Which edition it is.

    Returns:
        Its micro-expressions.

    Raises:
        DatasetError: If sheets or columns are missing.
    """
    sheets = read_cells(path)
    if path.suffix.lower() == ".csv":
        records = _records(path, sheets[""])
        subjects, codes, findings = _from_folders(path, records)
    else:
        subjects, findings = _subjects(path, _sheet(path, sheets, "subjects"))
        codes, found = _codes(path, _sheet(path, sheets, "recordings"))
        findings += found
        records = _records(path, _sheet(path, sheets, "codes"))
    table = replace(TABLE, name=partial(name, subjects=subjects, codes=codes))
    rows: list[Row] = []
    macro: list[tuple[str, str, Record]] = []
    for number, record in records:
        where = f"{path.name}, row {number}"
        label = TYPE.fullmatch(_lower(record[KIND]))
        # Counted, so that one sees that the whole table was read.
        if label and label[1] == "macro":
            named = table.name(texts(record))
            macro.append((where, recording_of(named.clip), record))
            continue
        if not label:
            said = "expected micro-expression or macro-expression, found "
            said += quoted(record[KIND])
            findings.append(Finding("table", f"{where}, column {KIND!r}", said))
            continue
        row, found = read_row(table, edition, where, record, {})
        rows += [row] if row else []
        findings += found
    return Coding(rows, findings, codes, len(macro), gathered(macro, FRAMES))


def _sheet(path: Path, sheets: dict[str, list], which: str) -> Rows:
    for title, cells in sheets.items():
        if re.fullmatch(SHEETS[which], title.strip().lower()):
            return cells
    raise DatasetError(
        f"{path}: expected the sheets CASFEcode_final, naming rule1 and naming rule2, "
        f"found {', '.join(sheets)}"
    )


def _records(path: Path, cells: Rows) -> list[tuple[int, dict[str, object]]]:
    """Rows by column, with their numbers; blank rows and columns are passed over."""
    kept = sorted({i for row in cells for i, cell in enumerate(row) if _lower(cell)})
    if len(kept) < len(TITLES):
        raise DatasetError(
            f"{path}: expected {len(TITLES)} columns ({', '.join(TITLES)}), found "
            f"{len(kept)}"
        )
    records = []
    for number, row in enumerate(cells, start=1):
        if any(map(_lower, row)):
            values = [row[i] if i < len(row) else None for i in kept]
            record = dict(zip(TITLES, values, strict=False))
            folders = filter(_FOLDER.fullmatch, map(_lower, values[len(TITLES) :]))
            records.append((number, record | {FOLDER: next(folders, "")}))
    # Columns go by their place alone, so one must show that the places are right.
    if not any(TYPE.fullmatch(_lower(record[KIND])) for _, record in records):
        raise DatasetError(
            f"{path}: expected micro-expression or macro-expression in column 8 "
            f"({', '.join(TITLES)}), found {quoted(records[0][1][KIND])} first"
        )
    return records


def _subjects(path: Path, cells: Rows) -> tuple[dict[int, str], list[Finding]]:
    """Participant -> subject such as "s15": a row of naming rule1 holds 15, s15, 1."""
    pairs = []
    for row in cells:
        names = [n for c in row if (n := re.fullmatch("s([0-9]+)", _lower(c)))]
        numbers = [n for c in row if (n := integer(c)) is not None]
        if names and numbers:
            own = int(names[0][1])
            # The subject's number is there twice; the other one is the participant's.
            participant = ([n for n in numbers if n != own] or numbers)[-1]
            pairs.append((participant, f"s{own:02d}"))
    expected = "rows with a participant's number and a subject such as s15"
    return _once(pairs, f"{path.name}, sheet naming rule1", expected)


def _codes(path: Path, cells: Rows) -> tuple[dict[str, str], list[Finding]]:
    """Recording -> code: a row of naming rule2 holds 0101 (or 101) and disgust1."""
    pairs = []
    for row in cells:
        names = [_lower(c) for c in row if re.fullmatch("[a-z]+[0-9]+", _lower(c))]
        numbers = [n for c in row if (n := integer(c)) is not None]
        if names and numbers:
            pairs.append((names[0], f"{numbers[0]:04d}"))
    expected = "rows such as 0101 and disgust1"
    return _once(pairs, f"{path.name}, sheet naming rule2", expected)


def _from_folders(
    path: Path, records: Sequence[tuple[int, Record]]
) -> tuple[dict[int, str], dict[str, str], list[Finding]]:
    """What `_subjects` and `_codes` say, from the folder that each row names."""
    subjects, codes = [], []
    for _, record in records:
        folder = _FOLDER.fullmatch(record[FOLDER])
        participant = integer(record["participant"])
        if folder and participant is not None:
            subject = f"s{int(folder[1].removeprefix('s')):02d}"
            subjects.append((participant, subject))
            codes.append((_lower(record["expression"]).split("_")[0], folder[2]))
    expected = "a column behind the others with folders such as s15/15_0401, for a CSV "
    expected += "file has no sheets naming rule1 and naming rule2"
    meant, findings = _once(subjects, path.name, expected)
    coded, found = _once(codes, path.name, expected)
    return meant, coded, findings + found


def _once(pairs: list[tuple], where: str, expected: str) -> tuple[dict, list[Finding]]:
    """The pairs as a dictionary, and those that give a name a second meaning."""
    if not pairs:
        raise DatasetError(f"{where}: expected {expected}")
    meaning: dict = {}
    findings = []
    for key, value in dict.fromkeys(pairs):
        if meaning.setdefault(key, value) != value:
            said = f"expected one line for {key}, found {meaning[key]} and {value}"
            findings.append(Finding("table", where, said))
    return meaning, findings


def _lower(cell: object) -> str:
    return cell_text(cell).strip().lower()
