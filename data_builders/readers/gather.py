"""Rows joined with the frames in their folders: the end of every reader's work."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from data_builders.readers import frame_numbers as numbering
from data_builders.readers.findings import (
    DatasetError,
    Finding,
    links_once,
    unreadable,
)
from data_builders.readers.folders import frame_files
from data_builders.readers.frames import (
    Frames,
    frame_findings,
    renumbered,
    wrong_tree,
)
from data_builders.readers.release import Clip, Release, Row, row_findings
from merclip_jax.facs import parse_cell


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
    frame_numbers: str = numbering.AUTO,
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
        frame_numbers: How pictures are numbered, see `frame_numbers.READINGS`.

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
    joined: list[tuple[Row, Frames | None, list[Finding]]] = []
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
        if not found:
            frames = Frames.of(row, folder, files, frame_numbers)
        joined.append((row, frames, found))
    # Once a split, not once a clip.
    coded = {row.split for row in rows if parse_cell(row.au_cell)}
    for split in sorted({row.split for row in rows} - coded):
        text = f"no action units of any clip in split {split!r}"
        findings.append(Finding("uncoded", table, text))
    there = [frames for _, frames, _ in joined if frames]
    wrong = wrong_tree(there)
    anew = renumbered(there, frame_numbers, whole)
    for row, frames, found in joined:
        if text := anew.get(row.clip):
            found.append(Finding("renumbered", row.place, text, row.clip))
        elif frames:
            found += frame_findings(frames, whole, wrong)
        found += row_findings(row, has_aus=row.split in coded)
        # A clip that something stops is not built, but its row still counts.
        if not any(finding.stops for finding in found):
            clips.append(Clip(row, frames.inside, tuple(frames.files), frames.files))
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
