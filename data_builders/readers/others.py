"""Other expressions in the recordings of a dataset: longer ones, no clips of it.

A stretch without a micro-expression may show one of them, and is then none without an
expression: `records.windows` keeps away from both.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_builders.readers.cells import Record, cell_text, integer
from data_builders.readers.declaration import Cells
from data_builders.readers.findings import Finding
from data_builders.readers.table import find_table, read_sheet

# Recording such as "006/006_1" in lower case -> onset and offset of what it shows.
Spans = Mapping[str, list[tuple[int, int]]]


@dataclass(frozen=True, kw_only=True)
class Others:
    """A dataset's table of other expressions.

    Attributes:
        called: What it is called, for the message that there is none.
        pattern: A regular expression for the file's name, letter case aside.
        names: Titles of the columns that name a recording.
        frames: Of onset, apex and offset.
        recording: How a row names its recording, as the dataset's clips begin.
    """

    called: str
    pattern: str
    names: tuple[str, ...]
    frames: tuple[str, str, str]
    recording: Callable[[Cells], str]


def recording_of(clip: str) -> str:
    """Returns the recording that a clip is of: 006/006_1_2 is of 006/006_1."""
    return clip.rpartition("_")[0].lower()


def read(others: Others, manual_dir: Path) -> tuple[Spans, list[Finding]]:
    """Reads the table of other expressions.

    Args:
        others: What is declared of it.
        manual_dir: The owners' folder.

    Returns:
        Their spans, and what is odd: no such table, rows that cannot be read.

    Raises:
        DatasetError: If the table has no such columns.
    """
    path = find_table(manual_dir, [others.pattern], depth=4)
    if path is None:
        return {}, [absent(others.called, manual_dir)]
    sheet = read_sheet(path, (*others.names, *others.frames))
    rows = (
        (sheet.where(number), others.recording(texts(record)), record)
        for number, record in sheet.rows
    )
    return spans_of(rows, others.frames)


def absent(called: str, manual_dir: Path) -> Finding:
    """Returns the finding that nothing tells of other expressions."""
    text = f"expected {called}, found none: stretches that are taken to be without an "
    return Finding("absent", str(manual_dir), f"{text}expression may show such a one")


def spans_of(
    rows: Iterable[tuple[str, str, Record]], frames: tuple[str, str, str]
) -> tuple[Spans, list[Finding]]:
    """Collects the spans of other expressions.

    Args:
        rows: Of each its place, its recording, its cells.
        frames: Titles of onset, apex and offset; a 0 or a blank for the first or last
            says that it begins before or ends after what was filmed: the apex counts.

    Returns:
        Their spans, and a finding for each row that cannot be read.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    findings = []
    for where, recording, record in rows:
        onset, apex, offset = (integer(record[title]) for title in frames)
        first, last = onset or apex, offset or apex
        if not recording or first is None or last is None or first > last:
            cells = ", ".join(f"{title} {record[title]!r}" for title in frames)
            text = f"expected frames of another expression, found {cells}; passed over"
            findings.append(Finding("others", where, text))
            continue
        spans.setdefault(recording.lower(), []).append((first, last))
    return spans, findings


def texts(record: Record) -> Cells:
    """Returns a row's cells as stripped texts."""
    return {title: cell_text(cell).strip() for title, cell in record.items()}
