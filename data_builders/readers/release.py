"""A dataset as its owners hand it out: annotated clips, their files, what is odd.

Every dataset has a reader that turns a folder into a `Release` without opening a
picture. The build and the doctor work on that alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data_builders.readers.findings import (
    LONGEST,
    DatasetError,
    Finding,
    unreadable,
)
from data_builders.readers.folders import frame_files
from merclip_jax.data.sampling import FRAMES
from merclip_jax.facs import CODES, parse_cell


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

    `position`: how many pictures of its folder come before the first one. Tables of
    landmarks that go by index need it.
    """

    row: Row
    files: dict[int, Path]
    position: int = 0


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


def gather(
    dataset: str,
    rows: Iterable[Row],
    folders: Mapping[str, Path],
    *,
    root: Path,
    layout: str,
    table: str,
    version: str = "",
    findings: Iterable[Finding] = (),
    whole: bool = False,
) -> Release:
    """Joins rows with the frames in their folders.

    Args:
        dataset: Its name.
        rows: Those that can be read, in any order.
        folders: Clip in lower case -> its folder; several clips may share one, each
            takes its own frames.
        root: The owners' folder; no file may lie outside it.
        layout: Which folders were read.
        table: Which tables were read.
        version: The table's.
        findings: What was odd in table and tree.
        whole: Whether folders hold whole recordings, so that frames outside
            onset..offset are nothing odd.

    Returns:
        The release. A clip with a finding that stops it is among its rows alone.
    """
    # The order of the records, whatever the order of a table that was sorted again.
    rows = sorted(rows, key=lambda row: (row.split, row.clip))
    findings = list(findings)
    clips: list[Clip] = []
    listed: dict[Path, dict[int, Path]] = {}
    root = root.resolve()
    seen: dict[str, Row] = {}
    for row in rows:
        found: list[Finding] = []
        files: dict[int, Path] = {}
        folder = folders.get(row.clip.lower())
        # Names that differ in letter case alone are one folder on many disks.
        first = seen.setdefault(row.clip.lower(), row)
        if first is not row:
            text = f"expected each clip once; it is in {first.where} too"
            found.append(Finding("twice", row.place, text, row.clip))
        elif folder is None:
            text = f"expected a folder of its frames in {layout}, found none"
            found.append(Finding("folder", row.place, text, row.clip))
        else:
            try:
                if folder not in listed:  # a recording is shared by many clips
                    listed[folder] = frame_files(folder, root=root)
                files = listed[folder]
            except DatasetError as error:
                found.append(unreadable(error, row.place, row.clip))
        inside = {n: p for n, p in files.items() if row.onset <= n <= row.offset}
        if not found:
            found = _frame_findings(row, folder, files, inside, whole)
        found += row_findings(row)
        # A clip that something stops is not built, but its row still counts.
        if not any(finding.stops for finding in found):
            position = list(files).index(next(iter(inside)))
            clips.append(Clip(row, inside, position))
        findings += found
    return Release(
        dataset, layout, table, version, tuple(rows), tuple(clips), tuple(findings)
    )


def _frame_findings(
    row: Row, folder: Path, files: Mapping, inside: Mapping, whole: bool
) -> list[Finding]:
    expected = row.offset - row.onset + 1
    found = []
    # A few frames may be missing; fewer than half is a wrong tree or a wrong row.
    if 2 * len(inside) < expected:
        text = (
            f"expected frames {row.onset}..{row.offset} in {folder}, found "
            f"{len(inside)} of them"
        )
        return [Finding("empty", row.place, text, row.clip)]
    if len(inside) < expected:
        text = f"{len(inside)} of {expected} frames"
        found.append(Finding("missing", row.place, text, row.clip))
    if len(files) > len(inside) and not whole:
        text = f"{len(files) - len(inside)} frames outside {row.onset}..{row.offset}"
        found.append(Finding("extra", row.place, text, row.clip))
    if len(inside) < FRAMES:
        text = f"{len(inside)} frames; the first ones are repeated to make {FRAMES}"
        found.append(Finding("short", row.place, text, row.clip))
    return found


def row_findings(row: Row) -> list[Finding]:
    """Returns what is odd in a row itself: length, apex, AU cell, label."""
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
    unknown = sorted({a.number for a in parse_cell(row.au_cell).aus} - CODES)
    if unknown:
        text = f"AU cell {row.au_cell!r}: no code {', '.join(map(str, unknown))}; kept"
        found.append(Finding("unknown_au", row.place, text, row.clip))
    if not row.emotion:
        found.append(Finding("no_label", row.place, "no emotion", row.clip))
    return found
