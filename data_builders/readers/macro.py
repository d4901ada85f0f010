"""Macro-expressions in the recordings of a dataset: longer ones, no clips of it.

A stretch without a micro-expression may show one of them, and is then none without an
expression: `records.windows` keeps away from both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_builders.readers.cells import Record, cell_text, integer
from data_builders.readers.declaration import Cells
from data_builders.readers.findings import Finding
from data_builders.readers.table import find_table, read_sheet

Span = tuple[int, int]  # onset and offset


@dataclass(frozen=True, kw_only=True)
class MacroTable:
    """A dataset's table of macro-expressions.

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


@dataclass(frozen=True)
class MacroExpressions:
    """Where recordings show macro-expressions, and what is odd in their table.

    Attributes:
        spans: Recording such as "006/006_1" in lower case -> spans of frames.
        findings: No such table, rows that cannot be read.
    """

    spans: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def beside(self, clip: str) -> list[Span]:
        """Returns the macro-expressions in a clip's recording.

        Args:
            clip: Its name; 006/006_1_2 is of the recording 006/006_1.
        """
        return list(self.spans.get(recording_of(clip), ()))


def recording_of(clip: str) -> str:
    """Returns the recording that a clip is of, in lower case."""
    return clip.rpartition("_")[0].lower()


def read(table: MacroTable, manual_dir: Path) -> MacroExpressions:
    """Reads the table of macro-expressions.

    Args:
        table: What is declared of it.
        manual_dir: The owners' folder.

    Returns:
        What is in it.

    Raises:
        DatasetError: If the table has no such columns.
    """
    path = find_table(manual_dir, [table.pattern], depth=4)
    if path is None:
        text = (
            f"expected {table.called}, found none: stretches that are taken to be "
            "without an expression may show a macro-expression"
        )
        return MacroExpressions(findings=(Finding("absent", str(manual_dir), text),))
    sheet = read_sheet(path, (*table.names, *table.frames))
    rows = (
        (sheet.where(number), table.recording(texts(record)), record)
        for number, record in sheet.rows
    )
    return gathered(rows, table.frames)


def gathered(
    rows: Iterable[tuple[str, str, Record]], frames: tuple[str, str, str]
) -> MacroExpressions:
    """Collects macro-expressions by their recordings.

    Args:
        rows: Of each its place, its recording, its cells.
        frames: Titles of onset, apex and offset; a 0 or a blank for the first or last
            says that it begins before or ends after what was filmed: the apex counts.

    Returns:
        Their spans, and a finding for each row that cannot be read.
    """
    spans: dict[str, list[Span]] = {}
    findings = []
    for where, recording, record in rows:
        onset, apex, offset = (integer(record[title]) for title in frames)
        first, last = onset or apex, offset or apex
        if not recording or first is None or last is None or first > last:
            cells = ", ".join(f"{title} {record[title]!r}" for title in frames)
            text = f"expected frames of a macro-expression, found {cells}; passed over"
            findings.append(Finding("macro", where, text))
            continue
        spans.setdefault(recording.lower(), []).append((first, last))
    return MacroExpressions(spans, tuple(findings))


def texts(record: Record) -> Cells:
    """Returns a row's cells as stripped texts."""
    return {title: cell_text(cell).strip() for title, cell in record.items()}
