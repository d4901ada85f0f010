"""The full release of DFME: its parts A to D, with the clips in folders of emotions.

A clip is named sub0003-03a-01-anger-01-anger: subject, stimulus, number of the
micro-expression, self report (also surprise+fear, sadness(happiness), unknown), part,
label. A table of onset, apex and offset is read where there is one.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_builders.dfme.ccac import EMOTIONS
from data_builders.readers.cells import (
    Record,
    cell_findings,
    cell_text,
    emotion_label,
    integer,
    is_empty,
    wrong_cell,
)
from data_builders.readers.declaration import Tree
from data_builders.readers.findings import DatasetError, Finding, NotFoundError
from data_builders.readers.folders import (
    check_inside,
    entries_of,
    find_tree,
    subfolders,
)
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.gather import gather
from data_builders.readers.release import Release, Row
from data_builders.readers.table import HeaderError, read_sheet
from data_builders.readers.trees import (
    FOLDER_NAMES,
    emotion_folders,
    expect_clips,
    named_folders,
    place,
    span,
)

LABELS = (*EMOTIONS, "others")
PARTS = (("A", ""), ("B", ""), ("C", ""), ("D", "500"), ("D", "200"))
ASSUMED_FPS = 500.0  # of parts A to C, which state none; D's names state 500 and 200
FRAMES = ("OnsetFrame", "ApexFrame", "OffsetFrame")
COLUMNS = ("Filename", *FRAMES)
NAME = r"(sub[0-9]+)-[^-]+-[0-9]+-.+-[0-9]+-([a-z]+)"
EXAMPLE = "sub0003-03a-01-anger-01-anger"
_PART = re.compile("(ustc_mev[0-9]+)_part([a-d])(?:_.*?)?(?:_([0-9]+)fps)?", re.I)


@dataclass(frozen=True)
class Part:
    """A folder of the release: `letter` A to D, `fps` "" where its name has none."""

    letter: str
    fps: str
    edition: str
    top: Path


@dataclass(frozen=True)
class Folder:
    """A clip's folder and what its place and name say."""

    clip: str
    subject: str
    emotion: str
    fps: float
    path: Path


def read(
    dataset: str, tree: Tree, config: str, manual_dir: Path, frame_numbers: str = AUTO
) -> Release:
    """Reads the parts that lie there.

    Args:
        dataset: Its name.
        tree: What the config's tree is called in each part.
        config: The config's name.
        manual_dir: The owners' folder.
        frame_numbers: How pictures are numbered, see `frame_numbers.READINGS`.

    Returns:
        The release; parts that are lacking are told.

    Raises:
        DatasetError: If no part or no clip is there.
    """
    parts, findings = _find_parts(tree, manual_dir)
    clips, found = _find_clips(parts, manual_dir)
    example = f"{parts[0].top}/anger/{EXAMPLE}/"
    expect_clips(dataset, clips, found, manual_dir, example)
    rows, tables, odd = _read_rows(clips, manual_dir)
    trees = ", ".join(f"{place(part.top, manual_dir)}/" for part in parts)
    return gather(
        dataset,
        rows,
        {clip.clip.lower(): clip.path for clip in clips.values()},
        root=manual_dir,
        layout=f"{trees} ({config})",
        table=tables,
        version=", ".join(sorted({part.edition for part in parts})),
        findings=[*findings, *found, *odd],
        whole=True,
        frame_numbers=frame_numbers,
    )


def _find_parts(tree: Tree, manual_dir: Path) -> tuple[list[Part], list[Finding]]:
    """The parts that lie in `manual_dir` or up to three folders below it."""
    parts: list[Part] = []
    layer = [manual_dir]
    for depth in range(4):
        below: list[Path] = []
        for folder in layer:
            named = _PART.fullmatch(folder.name)
            top = find_tree(folder, tree.names, depth=1) if named else None
            if top:
                parts.append(Part(named[2].upper(), named[3] or "", named[1], top))
            elif depth < 3:
                below += subfolders(folder).values()
        layer = below
    if not parts:
        raise NotFoundError(
            f"{manual_dir}: expected folders such as USTC_MEv4_partA_sub0001_sub0015/ "
            f"with {tree.names[0]}/anger/ and so on inside"
        )
    # The parts are archives of their own: some may lack, so that is told and no error.
    findings = []
    for letter, fps in PARTS:
        if not any(
            p.letter == letter and (not fps or p.fps in ("", fps)) for p in parts
        ):
            rate = f" of {fps} fps" if fps else ""
            said = f"expected part {letter}{rate} with {tree.names[0]}/, found none"
            findings.append(Finding("absent", str(manual_dir), said))
    for part in parts:
        if not part.fps:
            said = f"no frame rate in the name of the folder; {ASSUMED_FPS:g} assumed"
            findings.append(Finding("assumed", place(part.top, manual_dir), said))
    return parts, findings


def _find_clips(
    parts: list[Part], manual_dir: Path
) -> tuple[dict[str, Folder], list[Finding]]:
    """Clip's name in lower case -> its folder, and what is none in a clip's place."""
    clips: dict[str, Folder] = {}
    findings: list[Finding] = []
    for part in parts:
        fps = float(part.fps or ASSUMED_FPS)
        emotions, found = emotion_folders(part.top, LABELS, manual_dir)
        findings += found
        for emotion, folder in emotions:
            matched, found = named_folders(folder, NAME, manual_dir, example=EXAMPLE)
            findings += found
            for match, path in matched:
                subject = match[1].lower()
                clip = Folder(f"{subject}/{path.name}", subject, emotion, fps, path)
                where = f"{place(path, manual_dir)}, clip {clip.clip}"
                # Which of two labels is right nobody can say, so neither is built.
                if emotion_label(match[2]) != emotion:
                    said = f"its name says {match[2]}, its folder {folder.name}"
                    findings.append(Finding("table", where, said, clip.clip))
                elif (first := clips.setdefault(path.name.lower(), clip)) is not clip:
                    said = f"expected each clip once; it is in {first.path} too"
                    findings.append(Finding("twice", where, said, clip.clip))
    return clips, findings


def _read_rows(
    clips: dict[str, Folder], manual_dir: Path
) -> tuple[list[Row], str, list[Finding]]:
    """Rows, names of the tables read, and what is odd.

    A clip that no table lists lasts from its first frame to its last, without apex.
    """
    rows: list[Row] = []
    listed, names, findings = _tables(clips, manual_dir)
    for name, clip in clips.items():
        if name in listed:
            row, found = _listed(clip, *listed[name])
        else:
            frames, found = span(clip.path, clip.clip, manual_dir)
            where = place(clip.path, manual_dir)
            row = _row(clip, where, (frames[0], None, frames[1])) if frames else None
            if names:
                said = "not in the table; taken from its first frame to its last"
                said_of = f"{where}, clip {clip.clip}"
                findings.append(Finding("assumed", said_of, said, clip.clip))
        rows += [row] if row else []
        findings += found
    return rows, ", ".join(names) or FOLDER_NAMES, findings


def _tables(
    clips: dict[str, Folder], manual_dir: Path
) -> tuple[dict[str, tuple[str, Record]], list[str], list[Finding]]:
    """Clip's name in lower case -> (where, cells), of every table that lists a clip.

    No name of such a table is known, so every workbook is looked at.
    """
    listed: dict[str, tuple[str, Record]] = {}
    names, passed, findings = [], [], []
    for path in _workbooks(manual_dir):
        try:
            check_inside(path, manual_dir.resolve())
            sheet = read_sheet(path, COLUMNS, optional=("Emotion", "Fps", "AU"))
        except HeaderError as error:  # a workbook of something else
            passed.append(str(error))
            continue
        except DatasetError as error:
            findings.append(Finding("table", path.name, str(error)))
            continue
        records = [(cell_text(r["Filename"]).strip(), n, r) for n, r in sheet.rows]
        if not any(name.lower() in clips for name, _, _ in records):
            passed.append(f"{path}: no clip of the folders in its column Filename")
            continue
        names.append(path.name)
        for name, number, record in records:
            where = f"{sheet.where(number)}, clip {name}"
            if name.lower() not in clips:
                said = "expected a folder of its frames, found none"
                findings.append(Finding("folder", where, said, name))
            elif name.lower() in listed:
                other, _ = listed[name.lower()]
                said = f"expected each clip once; it is in {other} too"
                clip = clips[name.lower()].clip
                findings.append(Finding("twice", where, said, clip))
            else:
                listed[name.lower()] = sheet.where(number), record
    if not names:
        said = (
            f"no table with the columns {', '.join(COLUMNS)} and these clips; each is "
            "taken from its first frame to its last, without apex and AUs"
        )
        findings.append(Finding("absent", str(manual_dir), "; ".join([said, *passed])))
    return listed, names, findings


def _workbooks(manual_dir: Path) -> list[Path]:
    """Workbooks in `manual_dir` and the folders in it."""
    folders = [manual_dir, *subfolders(manual_dir).values()]
    return [
        folder / name
        for folder in folders
        for name in sorted(entries_of(folder)[1])
        if name.lower().endswith(".xlsx") and not name.startswith((".", "~$"))
    ]


def _listed(
    clip: Folder, where: str, record: Record
) -> tuple[Row | None, list[Finding]]:
    """The row of a clip that a table lists; what its folder says must agree."""
    onset, apex, offset = FRAMES
    found = cell_findings(
        where, clip.clip, record, span=(onset, offset), apex=apex, aus="AU"
    )
    wrong = partial(wrong_cell, where, clip.clip, record)
    label = emotion_label(record["Emotion"])
    if not is_empty(label) and label != clip.emotion:
        found.append(wrong("Emotion", f"{clip.emotion} as in the folder"))
    rate = integer(record["Fps"])
    if not is_empty(record["Fps"]) and not rate:
        found.append(wrong("Fps", "frames per second"))
    if found:
        return None, found
    frames = tuple(integer(record[column]) for column in FRAMES)
    return _row(clip, where, frames, fps=rate, aus=cell_text(record["AU"])), []


def _row(
    clip: Folder,
    where: str,
    frames: tuple[int, int | None, int],
    *,
    fps: int | None = None,
    aus: str = "",
) -> Row:
    """The row of a clip; `fps` is the table's, before that of the folder."""
    onset, apex, offset = frames
    return Row(
        where=where,
        subject=clip.subject,
        clip=clip.clip,
        onset=onset,
        apex=apex,
        offset=offset,
        fps=float(fps or clip.fps),
        emotion=clip.emotion,
        au_cell=aus,
    )
