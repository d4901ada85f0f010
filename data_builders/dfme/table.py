"""The annotation tables of DFME's publicly available part: train, test A, test B.

The competition's first hand-out had no labels for the tests and no AUs; it is read too.
"""

import re
from functools import partial
from pathlib import Path

from data_builders.release import Finding, Row
from data_builders.tables import (
    cell_findings,
    emotion_label,
    find_table,
    integer,
    is_empty,
    read_rows,
    read_sheet,
    text,
    wrong_cell,
)

# In order of EmotionId; the release that the table belongs to has no others.
EMOTIONS = (
    *("anger", "contempt", "disgust", "fear"),
    *("happiness", "sadness", "surprise"),
)
RATES = (200, 300, 500)
COLUMNS = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Fps")
TABLES = {
    "train": "training_full_with_AU.xlsx",
    "test_a": "testA_full_with_AU.xlsx",
    "test_b": "testB_full_with_AU.xlsx",
}
_STEMS = {"train": "train(ing)?", "test_a": "test[-_ ]?a", "test_b": "test[-_ ]?b"}


def find(manual_dir: Path, split: str) -> Path | None:
    """The table of a split, that with AUs before others; None where there is none."""
    stem = _STEMS[split]
    full = f"{stem}[-_ ]?full[-_ ]?with[-_ ]?au.*[.](xlsx|csv)"
    return find_table(manual_dir, [full, f"{stem}([-_ ].*)?[.](xlsx|csv)"])


def read(path: Path, split: str) -> tuple[list[Row], list[Finding]]:
    """Rows of a split's table, and what is wrong with the others.

    Without a label a row of a test has the emotion ""; one to train on is wrong.
    """
    columns = (*COLUMNS, "Emotion") if split == "train" else COLUMNS
    sheet = read_sheet(path, columns, optional=("Emotion", "EmotionId", "AU"))
    rows, findings = read_rows(sheet, partial(_row, split=split))
    if rows and all(is_empty(record["AU"]) for _, record in sheet.rows):
        said = "expected a column AU with action units, found none; clips have no AUs"
        findings.append(Finding("absent", path.name, said))
    return rows, findings


def _row(
    where: str, record: dict[str, object], *, split: str
) -> tuple[Row | None, list[Finding]]:
    cell = text(record["Subject"]).strip()
    name = text(record["Filename"]).strip()
    subject = cell.lower()  # one name for one subject, else it would leak
    clip = f"{subject}/{name}"
    label = emotion_label(record["Emotion"])
    labelled = split == "train" or not is_empty(label)
    found = cell_findings(
        where,
        clip,
        record,
        span=("OnsetFrame", "OffsetFrame"),
        names=("Filename",),
        one_of={"Emotion": EMOTIONS} if labelled else None,
        aus="AU",
    )
    wrong = partial(wrong_cell, where, clip, record)
    onset, apex, offset = (
        integer(record[f"{key}Frame"]) for key in ("Onset", "Apex", "Offset")
    )
    if not re.fullmatch("sub[0-9]+", subject):
        found.append(wrong("Subject", "a name such as sub0003"))
    elif name and not name.lower().startswith(f"{subject}_"):
        found.append(wrong("Filename", f"a name that begins with {subject}_"))
    elif cell != subject:
        place, said = f"{where}, clip {clip!r}", f"{cell!r} read as {subject!r}"
        found.append(Finding("repaired", f"{place}, column 'Subject'", said, clip))
    if integer(record["Fps"]) not in RATES:
        found.append(wrong("Fps", f"one of {', '.join(map(str, RATES))}"))
    if expected := _id_expected(label, record["EmotionId"]):
        found.append(wrong("EmotionId", expected))
    if any(finding.stops for finding in found):
        return None, found
    row = Row(
        where=where,
        subject=subject,
        clip=clip,
        onset=onset,
        apex=apex,
        offset=offset,
        fps=float(integer(record["Fps"])),
        emotion=label if labelled else "",
        au_cell=text(record["AU"]),
        split=split,
    )
    return row, found


def _id_expected(label: str, cell: object) -> str:
    """What a wrong EmotionId should be; blank, or -1 without an emotion, is right."""
    if is_empty(cell) or (text(cell).strip() == "-1" and is_empty(label)):
        return ""
    if label in EMOTIONS:
        right = EMOTIONS.index(label)
        return "" if integer(cell) == right else f"{right} for {label}"
    return "" if not is_empty(label) else "none without an Emotion"
