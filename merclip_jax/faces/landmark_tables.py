"""Facial landmarks that another program wrote: CSV tables, and which row is whose.

Known tables: OpenFace and py-feat (68 iBUG points), MediaPipe face mesh (468 or 478),
RetinaFace and MTCNN (5). A row without a face has `success` 0, a confidence below 0.5
or coordinates that are missing.
"""

import collections
import csv
import dataclasses
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

EXPECTED = (
    "x_0..x_67 and y_0..y_67 (OpenFace, py-feat), x_0..x_467 or x_0..x_477 with y_ "
    "(MediaPipe face mesh), or left_eye_x, left_eye_y, right_eye_x, .., nose_x, .., "
    "mouth_left_x, .., mouth_right_y (RetinaFace, MTCNN)"
)
PICTURE = ("input", "file", "filename", "image", "path")
CONFIDENCE = ("confidence", "facescore", "score")
CONFIDENT = 0.5
_NUMBERED = re.compile(r"([xy])_?(\d+)")
_NAMED = re.compile(
    r"(left|right)?(eye|nose|mouth)(?:tip|corner)?(left|right)?(?:corner)?([xy])"
)


class FacesError(ValueError):
    """A landmark source that is missing, unreadable or ambiguous."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """One row of a file, `points` float64 [p, 2] or None; None: no such column."""

    file: Path
    line: int
    points: np.ndarray | None
    frame: int | None
    clip: str | None
    picture: tuple[str, ...] | None  # the parts of its path
    face: str | None

    def __str__(self) -> str:
        return f"{self.file} row {self.line}"


class CsvLandmarks:
    """Landmarks from one CSV file, or from all `*.csv` of a folder and below it.

    The rows of a clip are the first of these that there are:
    1. a file named as the clip, `/` written as `_`, or as the folder of its pictures;
    2. the rows whose column `clip` is the clip;
    3. the rows whose column `input`, `file`, `filename`, `image` or `path` ends as the
       path of the onset's picture does: same file name, in the same folder where the
       row names one. Rows without a folder count when `path` is a single file.
    Among the rows of 1 and 2 such a column tells the onset too, or else `frame`, see
    `onset_rows`. No row is no face; of several faces the largest counts. Raises
    FacesError for a table that cannot be read and for rows that fit equally well.
    """

    def __init__(self, path: str | Path):
        root = Path(path)
        if not root.exists():
            raise FacesError(f"{root}: no such file or folder of landmarks")
        files = [root] if root.is_file() else sorted(root.rglob("*.csv"))
        if not files:
            raise FacesError(f"{root}: no *.csv in it")
        # Names and contents make the checksum: renaming a file changes whose it is.
        base = root.parent if root.is_file() else root
        digest = hashlib.sha256()
        for file in files:
            for part in (file.relative_to(base).as_posix().encode(), file.read_bytes()):
                digest.update(len(part).to_bytes(8) + part)
        self.name = f"csv {digest.hexdigest()[:12]}"
        self._single = root.is_file()
        self._owners: dict[object, Path] = {}
        self._by_stem = collections.defaultdict(list)
        self._by_clip = collections.defaultdict(list)
        self._by_picture = collections.defaultdict(list)
        for row in (row for file in files for row in _read(file)):
            self._by_stem[row.file.stem].append(row)
            if row.clip is not None:
                self._by_clip[row.clip].append(row)
            elif row.picture is not None:
                self._by_picture[row.picture[-1]].append(row)

    def find(
        self, image: np.ndarray, *, clip: str, number: int, path: Path, index: int
    ) -> np.ndarray | None:
        """Landmarks of the onset's picture.

        Args:
            image: [h, w] or [h, w, 3], for its size.
            clip, number: its name in the dataset; the number of its onset frame.
            path, index: of its picture, and its position in the folder, from 0.

        Returns:
            float64 [p, 2] pixels; None: no face.
        """
        own = self._named(clip, path) or self._by_clip.get(clip)
        if own:
            rows = _picture_rows(own, path)
            if not rows and (own[0].picture is None or _is_video(own)):
                rows = onset_rows(own, number=number, path=path, index=index)
        else:
            rows = self._by_picture.get(path.name, [])
            rows = [r for r in rows if len(r.picture) > 1 or self._single]
            rows = _picture_rows(rows, path)
            for row in rows:
                self._claim((row.file, row.line), str(row), path.parent)
        _check_one_picture(rows, clip, bool(own))
        faces = [row.points for row in rows if row.points is not None]
        if not faces:
            return None
        points = max(faces, key=lambda face: np.ptp(face, axis=0).prod())
        if np.ptp(points) < 2:  # no face is that small: a fraction of the picture
            points = points * [image.shape[1], image.shape[0]]
        return points

    def _named(self, clip: str, path: Path) -> Sequence[_Row]:
        """Rows of the file that is named for the clip."""
        rows = self._by_stem.get(clip.replace("/", "_"))
        if rows is None:
            rows = self._by_stem.get(path.parent.name, [])
            if len({row.file for row in rows}) > 1:  # a folder for each subject
                subject = path.parent.parent.name
                rows = [row for row in rows if row.file.parent.name == subject]
            if rows:
                self._claim(rows[0].file, str(rows[0].file), path.parent)
        if len(files := sorted({row.file for row in rows})) > 1:
            raise FacesError(f"clip {clip}: {files[0]} and {files[1]} fit both")
        return rows

    def _claim(self, key: object, what: str, folder: Path) -> None:
        """Two subjects' clips may have one folder name: they cannot share landmarks."""
        owner = self._owners.setdefault(key, folder)
        if owner != folder:
            raise FacesError(
                f"{what} fits the pictures in {owner} and in {folder}; name the "
                "tables by clip, or give more of the path in the column of the picture"
            )


def onset_rows(
    rows: Sequence[_Row], *, number: int, path: Path, index: int
) -> list[_Row]:
    """Returns the rows of a clip that are the onset's, by their column `frame`.

    Args:
        rows: of one clip; all are returned when they have no such column.
        number: of the onset frame.
        path, index: of its picture, and its position in the folder, from 0.
    """
    if rows[0].frame is None:
        return list(rows)
    # `frame` is a position when it runs from 1 (OpenFace) or from 0 (py-feat) once
    # through as many frames as there are pictures; else the frame's number if that
    # occurs; else a position again.
    frames = {row.frame for row in rows}
    first = min(1, min(frames))
    pictures = sum(1 for _ in path.parent.glob(f"*{path.suffix}"))
    run = first >= 0 and frames == set(range(first, first + pictures))
    wanted = number if number in frames and not run else index + first
    return [row for row in rows if row.frame == wanted]


def _picture_rows(rows: Sequence[_Row], path: Path) -> list[_Row]:
    """Rows whose picture's path agrees with most of the last parts of `path`."""
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


def _is_video(rows: Sequence[_Row]) -> bool:
    """Whether the rows name one file for all frames."""
    return rows[0].frame is not None and len({r.picture for r in rows}) == 1 < len(rows)


def _check_one_picture(rows: Sequence[_Row], clip: str, own: bool) -> None:
    """Rows that are not the faces of one picture raise FacesError."""
    if len(rows) < 2:
        return
    first, *others = rows
    key = (first.file, first.picture, first.frame)
    other = next((r for r in others if (r.file, r.picture, r.frame) != key), None)
    told = first.face is not None or first.frame is not None
    told |= first.picture is not None and (own or len(first.picture) > 1)
    if other or not told:
        raise FacesError(f"clip {clip}: {first} and {other or rows[1]} fit both")


def _read(file: Path) -> list[_Row]:
    """Rows of one table; FacesError names the file, row and column."""
    try:
        # Spreadsheets put a byte-order mark in front and like semicolons.
        with file.open(newline="", encoding="utf-8-sig") as stream:
            start = stream.readline()
            stream.seek(0)
            table = csv.reader(stream, delimiter=max(",;\t", key=start.count))
            header = [name.strip() for name in next(table, [])]
            lines = [(table.line_num, cells) for cells in table if any(cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FacesError(f"{file}: not a readable CSV file: {error}") from error
    column, landmarks = _columns(file, header)
    return [_row(file, line, cells, header, column, landmarks) for line, cells in lines]


def _row(file, line, cells, header, column, landmarks) -> _Row:
    where = f"{file} row {line}"
    if len(cells) != len(header):
        raise FacesError(f"{where}: {len(cells)} cells under {len(header)} columns")

    def number(i):
        try:
            return float(cells[i]) if cells[i].strip() else math.nan
        except ValueError:
            told = f"column {header[i]!r}: {cells[i]!r} is not a number"
            raise FacesError(f"{where} {told}") from None

    def text(*names):
        return next((cells[column[n]].strip() for n in names if n in column), None)

    points = np.array([[number(x), number(y)] for x, y in landmarks])
    if len(points) == 5:  # "left" may be the subject's or the picture's
        points[:2] = points[:2][points[:2, 0].argsort()]
        points[3:] = points[3:][points[3:, 0].argsort()]
    sure = [number(column[name]) for name in CONFIDENCE if name in column]
    face = "success" not in column or number(column["success"]) != 0
    face &= not any(value < CONFIDENT for value in sure)
    # Tables fill the row of a missing face with zeros: all points in one place.
    face &= bool(np.isfinite(points).all() and np.ptp(points) > 0)
    frame = number(column["frame"]) if "frame" in column else None
    if frame is not None and not frame.is_integer():
        cell = cells[column["frame"]]
        raise FacesError(f"{where} column 'frame': {cell!r} is not a whole number")
    picture = text(*PICTURE)
    if picture is not None:
        picture = tuple(p for p in re.split(r"[\\/]+", picture) if p != ".") or ("",)
    return _Row(
        file=file,
        line=line,
        points=points if face else None,
        frame=None if frame is None else int(frame),
        clip=text("clip"),
        picture=picture,
        face=text("face_id"),
    )


def _columns(file: Path, header: Sequence[str]):
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
            point: object = int(match[2])
            axis = match[1]
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
