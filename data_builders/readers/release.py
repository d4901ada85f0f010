"""A dataset as its owners hand it out: annotated clips, their files, what is odd.

Every dataset has a reader that turns a folder into a `Release` without opening a
picture. The build and the doctor work on that alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_builders.readers.findings import (
    LONGEST,
    Finding,
)
from merclip_jax.facs import CODES, UNSCORABLE, WORDED, parse_cell


@dataclass(frozen=True, kw_only=True)
class Row:
    """One micro-expression of a table; onset, apex, offset as in the file names.

    Attributes:
        where: File and row.
        subject: As the clip's name begins.
        clip: Its name, unique in the dataset, such as "sub01/EP02_01f".
        onset: Number of the first frame.
        apex: Number of the strongest frame, None where the table has none.
        offset: Number of the last frame.
        fps: Frames per second.
        emotion: In lower case, "" without a label.
        au_cell: The action units as the table writes them.
        split: The owners' split.
    """

    where: str
    subject: str
    clip: str
    onset: int
    apex: int | None
    offset: int
    fps: float
    emotion: str
    au_cell: str
    split: str = "clips"

    @property
    def place(self) -> str:
        """File, row and clip, as findings name them."""
        return f"{self.where}, clip {self.clip}"


@dataclass(frozen=True)
class Clip:
    """A row with its frames on disk, by ascending number; all lie in onset..offset.

    `numbers`: of all pictures in its folder, ascending. Tables of landmarks that go by
    position need them. `around`: all these pictures.
    """

    row: Row
    files: dict[int, Path]
    numbers: tuple[int, ...] = ()
    around: Mapping[int, Path] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Release:
    """What a reader found: all rows, those with frames as clips, and all that is odd.

    `layout` and `table` name the folders and tables read; `version` is the table's.
    Rows and clips are in order of split and clip.
    """

    dataset: str
    layout: str
    table: str
    version: str
    rows: tuple[Row, ...]
    clips: tuple[Clip, ...]
    findings: tuple[Finding, ...] = ()

    def without(self, findings: Iterable[Finding]) -> "Release":
        """Returns the same with what the pictures showed, less the clips it stops."""
        findings = tuple(findings)
        bad = {finding.clip for finding in findings if finding.stops}
        kept = tuple(clip for clip in self.clips if clip.row.clip not in bad)
        return replace(self, clips=kept, findings=self.findings + findings)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the owners' splits, sorted."""
        return tuple(sorted({clip.row.split for clip in self.clips}))


def row_findings(row: Row, *, has_aus: bool = True) -> list[Finding]:
    """Returns what is odd in a row itself: length, apex, AU cell, label.

    Args:
        row: Which.
        has_aus: Whether there are AUs in its split at all.
    """
    found = []
    seconds = (row.offset - row.onset + 1) / row.fps
    if seconds > LONGEST:
        text = f"{row.onset}..{row.offset} are {seconds:.2f} s at {row.fps:g} per s"
        found.append(Finding("long", row.place, text, row.clip))
    # CAS(ME)^3 writes the onset where it has no apex.
    if row.apex is None or row.apex == row.onset != row.offset:
        text = f"apex {'none' if row.apex is None else row.apex}; the midpoint is taken"
        found.append(Finding("apex_missing", row.place, text, row.clip))
    elif not row.onset <= row.apex <= row.offset:
        text = f"apex {row.apex} outside {row.onset}..{row.offset}; midpoint taken"
        found.append(Finding("apex_impossible", row.place, text, row.clip))
    numbers = {a.number for a in parse_cell(row.au_cell).aus}
    if unknown := sorted(numbers - CODES):
        text = f"AU cell {row.au_cell!r}: no code {', '.join(map(str, unknown))}; kept"
        found.append(Finding("unknown_au", row.place, text, row.clip))
    if UNSCORABLE in numbers:
        text = f"AU cell {row.au_cell!r}: {UNSCORABLE} says that nothing can be scored"
        found.append(Finding("unscorable", row.place, f"{text}; kept", row.clip))
    # Such a clip has no sentence, which nobody would notice in training.
    if has_aus and not numbers & WORDED:
        text = f"AU cell {row.au_cell!r}: no AU that has words"
        found.append(Finding("no_aus", row.place, text, row.clip))
    if not row.emotion:
        found.append(Finding("no_label", row.place, "no emotion", row.clip))
    return found
