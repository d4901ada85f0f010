"""A dataset as its owners hand it out: annotated clips, their files, what is odd.

Every dataset has a reader that turns a folder into a `Release` without opening a
picture. The build and the doctor work on that alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data_builders.files import DatasetError, OutsideError, frame_files
from merclip_jax.facs import CODES, AUCellError, parse_cell

LONGEST = 0.5  # seconds: what lasts longer is not a micro-expression
FRAMES = 16  # what MER-CLIP sees of a clip; a shorter one is repeated

# What can be found. STOP ends a build, --skip_bad leaves such clips out; NOTE is told.
STOP: dict[str, str] = {
    "table": "rows of a table that cannot be read",
    "twice": "clips that occur twice",
    "folder": "clips without a folder",
    "empty": "clips without enough frames",
    "outside": "files that lie outside the dataset's folder",
    "image": "unreadable pictures",
    "face": "clips in whose onset frame no face was found",
    "counts": "whole tables whose labels do not add up to the published ones",
}
NOTE: dict[str, str] = {
    "missing": "clips with missing frames",
    "extra": "clips with frames outside onset..offset",
    "apex_missing": "clips without an apex",
    "apex_impossible": "clips with an apex outside onset..offset",
    "repaired": "rows read otherwise than they stand in the table",
    "long": f"clips longer than {LONGEST} s",
    "short": f"clips of fewer than {FRAMES} frames",
    "unknown_au": "AU codes outside FACS",
    "no_label": "clips without an emotion",
    "unlisted": "folders of clips that no table lists",
    "misplaced": "clips whose folder stands elsewhere than the table says",
    "absent": "parts of the release that are not there",
    "assumed": "values that the release does not state",
    "size": "clips whose frames differ in size",
    "centred": "clips without a face, kept with a centre crop",
}
KINDS = STOP | NOTE


@dataclass(frozen=True)
class Finding:
    """Something odd: its kind, where it is (file, row, clip, column), what it is."""

    kind: str
    where: str
    text: str
    clip: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: expected one of {list(KINDS)}")

    @property
    def stops(self) -> bool:
        """Whether its clip cannot be built."""
        return self.kind in STOP

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One micro-expression of a table; onset, apex, offset as in the file names.

    `where` names file and row; `clip` is unique in the dataset and begins with the
    subject; `apex` is None where the table has none; `emotion` is "" without a label.
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


@dataclass(frozen=True)
class Clip:
    """A row with its frames on disk, by ascending number; all lie in onset..offset.

    `position`: how many pictures of its folder come before the first one.
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
        """The same with what the pictures showed; clips that it stops are taken out."""
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
    """The release of `rows` with the frames of their folders.

    `folders`: clip in lower case -> its folder; several rows may share one, each takes
    its own frames. `findings`: what was odd in the table. `whole` says that folders
    hold whole recordings, so that frames outside onset..offset are nothing odd. `root`:
    no file may lie outside it.
    """
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
        first = seen.setdefault(row.clip.lower(), row)
        if first is not row:
            text = f"expected each clip once; it is in {first.where} too"
            found.append(Finding("twice", _where(row), text, row.clip))
        elif folder is None:
            text = f"expected a folder of its frames in {layout}, found none"
            found.append(Finding("folder", _where(row), text, row.clip))
        else:
            try:
                if folder not in listed:
                    listed[folder] = frame_files(folder, root=root)
                files = listed[folder]
            except DatasetError as error:
                kind = "outside" if isinstance(error, OutsideError) else "image"
                found.append(Finding(kind, _where(row), str(error), row.clip))
        inside = {n: p for n, p in files.items() if row.onset <= n <= row.offset}
        if not found:
            found = _frame_findings(row, folder, files, inside, whole)
        found += row_findings(row)
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
        return [Finding("empty", _where(row), text, row.clip)]
    if len(inside) < expected:
        text = f"{len(inside)} of {expected} frames"
        found.append(Finding("missing", _where(row), text, row.clip))
    if len(files) > len(inside) and not whole:
        text = f"{len(files) - len(inside)} frames outside {row.onset}..{row.offset}"
        found.append(Finding("extra", _where(row), text, row.clip))
    if len(inside) < FRAMES:
        text = f"{len(inside)} frames; the first ones are repeated to make {FRAMES}"
        found.append(Finding("short", _where(row), text, row.clip))
    return found


def row_findings(row: Row) -> list[Finding]:
    """What is odd in a row itself: length, apex, AU cell, label."""
    found = []
    seconds = (row.offset - row.onset + 1) / row.fps
    if seconds > LONGEST:
        text = f"{row.onset}..{row.offset} are {seconds:.2f} s at {row.fps:g} per s"
        found.append(Finding("long", _where(row), text, row.clip))
    if row.apex is None or row.apex == row.onset != row.offset:
        text = f"apex {'none' if row.apex is None else row.apex}; the midpoint is taken"
        found.append(Finding("apex_missing", _where(row), text, row.clip))
    elif not row.onset <= row.apex <= row.offset:
        text = f"apex {row.apex} outside {row.onset}..{row.offset}; midpoint taken"
        found.append(Finding("apex_impossible", _where(row), text, row.clip))
    unknown = sorted({a.number for a in parse_cell(row.au_cell).aus} - CODES)
    if unknown:
        text = f"AU cell {row.au_cell!r}: no code {', '.join(map(str, unknown))}; kept"
        found.append(Finding("unknown_au", _where(row), text, row.clip))
    if not row.emotion:
        found.append(Finding("no_label", _where(row), "no emotion", row.clip))
    return found


def _where(row: Row) -> str:
    return f"{row.where}, clip {row.clip}"


def refuse(dataset: str, findings: Iterable[Finding], shown: int = 10) -> None:
    """Raise DatasetError when something stops a clip; lists the first `shown`."""
    stopping = [str(finding) for finding in findings if finding.stops]
    if stopping:
        more = len(stopping) - shown
        listed = "\n".join(f"  {text}" for text in stopping[:shown])
        listed += f"\n  and {more} more" if more > 0 else ""
        raise DatasetError(f"{dataset}: {len(stopping)} problems\n{listed}")


def unlisted(
    folders: Mapping[str, Path], rows: Iterable[Row], findings: Iterable[Finding]
) -> list[Finding]:
    """A finding for each folder of a clip (in lower case) that no table row names.

    `findings`: of the table; a row that cannot be read names its clip all the same.
    """
    listed = {row.clip.lower() for row in rows}
    listed |= {finding.clip.lower() for finding in findings}
    return [
        Finding("unlisted", str(folder), f"no row lists a clip {clip}", clip)
        for clip, folder in folders.items()
        if clip not in listed
    ]


def check_counts(
    rows: Iterable[Row], published: Mapping[str, int], table: str
) -> list[Finding]:
    """A finding when a table with all its rows has other emotions than published."""
    found = dict(sorted(Counter(row.emotion for row in rows).items()))
    if sum(found.values()) != sum(published.values()) or found == dict(published):
        return []
    text = f"expected {dict(sorted(published.items()))}, found {found}"
    return [Finding("counts", f"{table}, emotions", text)]


def au_cell_problem(cell: object) -> str:
    """What is wrong with an AU cell, "" for one that can be read."""
    try:
        parse_cell(cell)
    except AUCellError as error:
        return str(error)
    return ""
