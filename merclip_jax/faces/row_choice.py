"""Which rows of a table of landmarks are of one picture, and whether that is open."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merclip_jax.faces.onset import FacesError, Onset, Remark
from merclip_jax.faces.table_rows import Row

ALIKE = 0.8  # of the largest face's area: from here on another may be meant


def pictured(rows: Sequence[Row], path: Path) -> list[Row]:
    """Returns the rows whose picture's path ends most as `path` does.

    Args:
        rows: Any.
        path: The picture's.
    """
    # From the file name upwards. A row that names a folder must agree in it too: file
    # names such as img001.jpg occur in every clip.
    best, fitting = 0, []
    for row in rows:
        common = 0
        for ours, theirs in zip(
            path.parts[::-1], (row.picture or ())[::-1], strict=False
        ):
            if ours != theirs:
                break
            common += 1
        if common and common >= max(best, min(2, len(row.picture))):
            fitting = [*fitting, row] if common == best else [row]
            best = common
    return fitting


def numbers_of(rows: Sequence[Row]) -> frozenset[int]:
    """Returns the frames of a clip's rows; none where their pictures tell them."""
    frames = frozenset(row.frame for row in rows if row.frame is not None)
    pictures = {row.picture for row in rows if row.picture}
    # All rows of a video name one file.
    return (
        frames if len(pictures) < 2 and (len(rows) > 1 or not pictures) else frozenset()
    )


def expect_one_picture(rows: Sequence[Row], onset: Onset, *, own: bool) -> None:
    """Sees that rows are the faces of one picture.

    Args:
        rows: Those that fit the onset.
        onset: The picture.
        own: Whether the rows are of the clip's own table.

    Raises:
        FacesError: If they are not; names two.
    """
    if len(rows) < 2:
        return
    first, *others = rows
    key = (first.file, first.picture, first.frame)
    other = next((r for r in others if (r.file, r.picture, r.frame) != key), None)
    told = first.face is not None or first.frame is not None
    told |= first.picture is not None and (own or len(first.picture) > 1)
    if other or not told:
        raise FacesError(f"clip {onset.clip}: {first} and {other or rows[1]} fit both")


def largest(rows: Sequence[Row]) -> np.ndarray | None:
    """Returns the points of the largest face, None where no row has one."""
    faces = [row.points for row in rows if row.points is not None]
    return max(faces, key=_area, default=None)


def several_faces(rows: Sequence[Row], onset: Onset) -> list[Remark]:
    """Tells of several faces in one picture, where it is open whose counts.

    Args:
        rows: Of the picture.
        onset: The picture.

    Returns:
        A remark if another face is about as large, or the program is surer of it.
    """
    faces = [row for row in rows if row.points is not None]
    if len(faces) < 2:
        return []
    taken = max(faces, key=lambda row: _area(row.points))
    for row in faces:
        alike = _area(row.points) >= ALIKE * _area(taken.points)
        surer = row.confidence > taken.confidence
        if row is not taken and (alike or surer):
            why = "as large" if alike else f"surer ({row.confidence:g})"
            text = f"{taken} is taken, the largest; that of row {row.line} is {why}"
            return [Remark("faces", f"{onset.path}", text, onset.clip)]
    return []


def no_row(rows: Sequence[Row], onset: Onset, source: Path, wanted: int | None) -> str:
    """Says why nothing is known of a picture.

    Args:
        rows: Of its clip, which may be none.
        onset: The picture.
        source: The file or folder of all tables.
        wanted: The frame that was looked for in them, None for none.
    """
    if not rows:
        return f"no table or row in {source} is of the {onset.called} {onset.path}"
    frames = numbers_of(rows)
    if wanted is None or not frames:
        return f"no row of {rows[0].file} is of the {onset.called} {onset.path}"
    return (
        f"{rows[0].file} has rows of frames {min(frames)}..{max(frames)} but none of "
        f"{wanted}, the {onset.called} {onset.path}"
    )


def _area(points: np.ndarray) -> float:
    return float(math.prod(np.ptp(points, axis=0)))
