"""A dataset as its owners hand it out: annotated clips, their files, what is odd.

Every dataset has a reader that turns a folder into a `Release` without opening a
picture. The build and the doctor work on that alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_builders.readers.findings import (
    LONGEST,
    DatasetError,
    Finding,
    links_once,
    unreadable,
)
from data_builders.readers.folders import frame_files
from merclip_jax.data.sampling import FRAMES
from merclip_jax.facs import CODES, UNSCORABLE, WORDED, parse_cell

_FEW = 2  # clips with few of their frames that are no sign of a wrong tree


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
    joined: list[tuple[Row, _Frames | None, list[Finding]]] = []
    for row in rows:
        frames = None
        found: list[Finding] = []
        files: dict[int, Path] = {}
        folder = folders.get(row.clip.lower())
        # Names that differ in letter case alone are one folder on many disks.
        first = seen.setdefault(row.clip.lower(), row)
        if first is not row:
            text = f"expected each clip once; it is in {first.where} too"
            found.append(Finding("twice", row.place, text, row.clip))
        elif row.clip.encode(errors="replace").decode() != row.clip:
            # A folder's name may be any bytes; a record's is text.
            text = f"expected a name in UTF-8, found {row.clip!r}"
            found.append(Finding("table", row.place, text, row.clip))
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
            frames = _Frames(row, folder, files, inside)
        joined.append((row, frames, found))
    # Once a split, not once a clip.
    coded = {row.split for row in rows if parse_cell(row.au_cell)}
    for split in sorted({row.split for row in rows} - coded):
        text = f"no action units of any clip in split {split!r}"
        findings.append(Finding("uncoded", table, text))
    wrong = _wrong_tree([frames for _, frames, _ in joined if frames])
    for row, frames, found in joined:
        if frames:
            found += _frame_findings(frames, whole, wrong)
        found += row_findings(row, has_aus=row.split in coded)
        # A clip that something stops is not built, but its row still counts.
        if not any(finding.stops for finding in found):
            position = list(frames.files).index(next(iter(frames.inside)))
            clips.append(Clip(row, frames.inside, position))
        findings += found
    return Release(
        dataset,
        layout,
        table,
        version,
        tuple(rows),
        tuple(clips),
        tuple(links_once(findings)),
    )


@dataclass(frozen=True)
class _Frames:
    """A row, its folder with all its files, and those of them in onset..offset."""

    row: Row
    folder: Path
    files: Mapping[int, Path]
    inside: dict[int, Path]

    @property
    def expected(self) -> int:
        return self.row.offset - self.row.onset + 1

    @property
    def sparse(self) -> bool:
        """Whether fewer than half of the frames are there."""
        return 2 * len(self.inside) < self.expected

    @property
    def empty(self) -> bool:
        """Whether neither the beginning nor the end of the clip is there."""
        near = self.expected // 4
        return not any(
            n <= self.row.onset + near or n >= self.row.offset - near
            for n in self.inside
        )


def _wrong_tree(all_frames: Sequence[_Frames]) -> str:
    """Why clips with few of their frames are none: many are so; "" for few clips."""
    # Cameras drop frames: real clips of CAS(ME)^3 have a third of theirs. So few are no
    # error in one clip, but they are in many, for then the tree is another's.
    sparse, total = sum(frames.sparse for frames in all_frames), len(all_frames)
    if sparse <= _FEW or sparse <= total / 4:
        return ""
    return f"; so it is with {sparse} of {total} clips: is this the right tree?"


def _frame_findings(frames: _Frames, whole: bool, wrong: str) -> list[Finding]:
    """What is odd in a clip's frames; `wrong`: why few of them are no clip, or ""."""
    row, inside, expected = frames.row, frames.inside, frames.expected
    found = []
    if frames.empty or (frames.sparse and wrong):
        text = (
            f"expected frames {row.onset}..{row.offset} in {frames.folder}, found "
            f"{len(inside)} of them{wrong}"
        )
        return [Finding("empty", row.place, text, row.clip)]
    if len(inside) < expected:
        text = f"{len(inside)} of {expected} frames"
        found.append(Finding("missing", row.place, text, row.clip))
    if (beside := len(frames.files) - len(inside)) and not whole:
        text = f"{beside} frame{'s' * (beside > 1)} outside {row.onset}..{row.offset}"
        found.append(Finding("extra", row.place, text, row.clip))
    if len(inside) < FRAMES:
        many = "1 frame" if len(inside) == 1 else f"{len(inside)} frames"
        text = f"{many}; the first ones are repeated to make {FRAMES}"
        found.append(Finding("short", row.place, text, row.clip))
    return found


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
