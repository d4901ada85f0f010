"""The rows of one table of landmarks, as other programs write them.

Known columns: OpenFace and py-feat (68 iBUG points), MediaPipe and LibreFace (a face
mesh of 468 or 478 points), RetinaFace and MTCNN (5).
"""

import csv
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from merclip_jax.faces.onset import FacesError

EXPECTED = (
    "x_0..x_67 and y_0..y_67 (OpenFace, py-feat), x_0..x_467 or x_0..x_477 with y_ "
    "(MediaPipe face mesh), lm_mp_0_x.. (LibreFace), or left_eye_x, left_eye_y, "
    "right_eye_x, .., nose_x, .., mouth_left_x, .., mouth_right_y (RetinaFace, MTCNN)"
)
PICTURE = ("input", "file", "filename", "image", "path")
FACE = ("face_id", "face")
FRAME = ("frame", "frame_idx")
CONFIDENCE = ("confidence", "facescore", "score")
CONFIDENT = 0.5
LONGEST = 1 << 20  # characters of a line; a face mesh has some 30,000
LARGEST = 1e6  # pixels: no picture is that large
# How programs write that a measurement failed: C, its Windows library, pandas, people.
_MISSING = re.compile(
    r"[+-]?(nan|nan\(\w*\)|1\.#[a-z]+\d*|inf|infinity)|n/?a|#n/a|<na>|none|null|",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"([xy])_?(\d{1,3})|lm_mp_(\d{1,3})_([xy])")
_NAMED = re.compile(
    r"(left|right)?(eye|nose|mouth)(?:tip|corner)?(left|right)?(?:corner)?([xy])"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table; None where there is no such column.

    Attributes:
        file: The table.
        line: Its line in the file, from 1.
        points: float64 [p, 2] as the table has them, None for no face.
        problem: Why the row cannot be read, "" if it can.
        frame: What its column of frames says.
        clip: The clip that it names.
        picture: The parts of the path of its picture.
        face: Which of several faces it is.
        confidence: How sure the program was, NaN where it does not say.
    """

    file: Path
    line: int
    points: np.ndarray | None = None
    problem: str = ""
    frame: int | None = None
    clip: str | None = None
    picture: tuple[str, ...] | None = None
    face: str | None = None
    confidence: float = math.nan

    def __str__(self) -> str:
        return f"{self.file} row {self.line}"


def read_rows(file: Path) -> Iterator[Row]:
    """Reads one table.

    A row without a face has `success` 0, a confidence below 0.5, or a cell that says
    "not a number". A row that cannot be read keeps the reason: it may be of a frame
    that nobody asks for.

    Args:
        file: A CSV file with commas, semicolons or tabs.

    Yields:
        Its rows.

    Raises:
        FacesError: If it is no such file, or has no known columns.
    """
    if not file.is_file():  # a pipe would never end
        raise FacesError(f"{file}: expected a CSV file, found a folder or no file")
    try:
        # Spreadsheets put a byte-order mark in front and like semicolons.
        with file.open(newline="", encoding="utf-8-sig") as stream:
            start = stream.readline(LONGEST)
            stream.seek(0)
            lines = _lines(file, stream)
            table = csv.reader(lines, delimiter=max(",;\t", key=start.count))
            header = [name.strip() for name in next(table, [])]
            column, landmarks = _columns(file, header)
            reader = _Reader(file, header, column, landmarks)
            for cells in table:
                if any(cells):
                    yield reader.row(table.line_num, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FacesError(f"{file}: not a readable CSV file: {error}") from error


def _lines(file: Path, stream: TextIO) -> Iterator[str]:
    """The lines of a file, none of which may fill the memory."""
    while line := stream.readline(LONGEST):
        if len(line) == LONGEST:
            raise FacesError(f"{file}: a line of {LONGEST} characters and more")
        yield line


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no number: blank, NA, -nan(ind), 1.#QNAN."""
    return _MISSING.fullmatch(cell.strip()) is not None


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads rows under one header."""

    file: Path
    header: Sequence[str]
    column: Mapping[str, int]
    landmarks: Sequence[tuple[int, int]]

    def row(self, line: int, cells: Sequence[str]) -> Row:
        # Of a line that was cut off, what stands before the cut may be trusted.
        problem, trusted = "", len(cells)
        if len(cells) != len(self.header):
            problem = f"{len(cells)} cells under {len(self.header)} columns"
            trusted = len(cells) - 1 if len(cells) < len(self.header) else 0

        def text(names: Iterable[str]) -> str | None:
            places = [self.column[n] for n in names if n in self.column]
            return next((cells[p].strip() for p in places if p < trusted), None)

        picture = text(PICTURE)
        if picture is not None:
            parts = [p for p in re.split(r"[\\/]+", picture) if p != "."]
            picture = tuple(parts) or ("",)
        row = Row(
            self.file, line, clip=text(("clip",)), picture=picture, face=text(FACE)
        )
        try:
            if (frame := text(FRAME)) is not None:
                row = dataclasses.replace(row, frame=self._frame(frame))
            if problem:
                return dataclasses.replace(row, problem=problem)
            points, sure = self._points(cells)
        except ValueError as error:
            return dataclasses.replace(row, problem=str(error))
        return dataclasses.replace(row, points=points, confidence=sure)

    def _number(self, cells: Sequence[str], place: int) -> float:
        if is_missing(cells[place]):
            return math.nan
        try:
            # Of what float() takes, digits of other scripts and "1_0" are no number.
            if not cells[place].isascii() or "_" in cells[place]:
                raise ValueError
            return float(cells[place])
        except ValueError:
            told = f"column {self.header[place]!r}: {_quoted(cells[place])}"
            raise ValueError(f"{told} is not a number") from None

    def _frame(self, cell: str) -> int:
        # "12.0" of a program that keeps all numbers as fractions.
        digits = re.fullmatch(r"0*([0-9]{1,9})(\.0*)?", cell)
        if not digits:
            name = next(n for n in self.header if n.lower() in FRAME)
            told = f"column {name!r}: {_quoted(cell)} is not a whole number"
            raise ValueError(f"{told} of up to 9 digits")
        return int(digits[1])

    def _points(self, cells: Sequence[str]) -> tuple[np.ndarray | None, float]:
        """The points, None for no face; and the smallest confidence."""
        points = np.array(
            [
                [self._number(cells, x), self._number(cells, y)]
                for x, y in self.landmarks
            ]
        )
        column = self.column
        sure = [self._number(cells, column[n]) for n in CONFIDENCE if n in column]
        # What is no number says no, to either: it is of a measurement that failed.
        face = "success" not in column or self._number(cells, column["success"]) > 0
        face &= all(value >= CONFIDENT for value in sure)
        confidence = min(sure, default=math.nan)
        if not (face and np.isfinite(points).all()):
            return None, confidence
        if (far := np.abs(points).max()) > LARGEST:
            raise ValueError(f"coordinates up to {far:.3g}: no picture is that large")
        if not np.ptp(points):  # a missing face may be filled with zeros
            return None, confidence
        if len(points) == 5:  # "left" may be the subject's or the picture's
            points[:2] = points[:2][points[:2, 0].argsort()]
            points[3:] = points[3:][points[3:, 0].argsort()]
        return points, confidence


def _quoted(cell: str) -> str:
    return repr(cell if len(cell) < 60 else f"{cell[:50]}..")


def _columns(
    file: Path, header: Sequence[str]
) -> tuple[dict[str, int], list[tuple[int, int]]]:
    """Index of every column by its name in lower case, and (x, y) of the landmarks."""
    column: dict[str, int] = {}
    for i, name in enumerate(header):
        lower = name.lower()
        # OpenFace: X_0 is a 3-D landmark in millimetres beside x_0 in pixels.
        if not name or (lower != name and lower in header and name[0] in "XYZ"):
            continue
        if lower in column:
            raise FacesError(f"{file}: column {name!r} is there twice")
        column[lower] = i
    axes: dict[str, dict] = {"x": {}, "y": {}}
    for name, i in column.items():
        if match := _NUMBERED.fullmatch(name):
            point: object = int(match[2] or match[3])
            axis = match[1] or match[4]
        elif match := _NAMED.fullmatch(re.sub("[^a-z]", "", name)):
            point = (match[2], match[1] or match[3] or "")
            axis = match[4]
        else:
            continue
        if point in axes[axis]:
            raise FacesError(f"{file}: column {header[i]!r} is there twice")
        axes[axis][point] = i
    five = [("eye", "left"), ("eye", "right"), ("nose", "")]
    five += [("mouth", "left"), ("mouth", "right")]
    for points in (five, *(list(range(n)) for n in (478, 468, 68, 5))):
        if set(axes["x"]) == set(axes["y"]) == set(points):
            return column, [(axes["x"][p], axes["y"][p]) for p in points]
    found = ", ".join(header[:8]) + (", .." if len(header) > 8 else "")
    raise FacesError(
        f"{file}: no known landmark columns; expected {EXPECTED}; the file has {found}"
    )
