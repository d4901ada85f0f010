"""Facial landmarks that another program wrote: CSV tables, and which row is whose."""

import collections
import contextlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from merclip_jax.faces.numbering import AUTO, Numbered, Numbering, numbering_of
from merclip_jax.faces.onset import FacesError, NoRowError, Onset, Remark
from merclip_jax.faces.row_choice import (
    expect_one_picture,
    largest,
    no_row,
    numbers_of,
    pictured,
    several_faces,
)
from merclip_jax.faces.table_files import checksum, files_of, rows_of
from merclip_jax.faces.table_rows import Row

_SHOWN = 3  # names that a message lists


class CsvLandmarks:
    """Landmarks from one CSV file, or from all `*.csv` of a folder and below it.

    The rows of a clip are the first of these that there are:
    1. a file named as the onset's picture, in a folder named as the picture's;
    2. a file named as the clip, `/` written as `_`, or as the folder of its pictures;
    3. the rows whose column `clip` is the clip;
    4. the rows whose column `input`, `file`, `filename`, `image` or `path` ends as the
       path of the onset's picture does: same file name, in the same folder where the
       row names one. Rows without a folder count when `path` is a single file.
    Among the rows of 2 and 3 such a column tells the onset too, or else `frame`, whose
    meaning `match` decides for all clips. Of several faces the largest counts.
    """

    def __init__(self, path: str | Path, numbers: str = AUTO):
        """Reads the tables.

        Args:
            path: The file or folder.
            numbers: How the column `frame` is read, see `numbering.READINGS`.

        Raises:
            FacesError: If there is no table, or one cannot be read.
        """
        root = Path(path)
        files = files_of(root)
        self._root, self._files, self._asked = root, files, numbers
        self._owners: dict[object, Path] = {}
        self._by_stem = collections.defaultdict(list)
        self._by_clip = collections.defaultdict(list)
        self._by_picture = collections.defaultdict(list)
        self._numbering: Numbering | None = None
        self._unread: list[str] = []
        for row in rows_of(files, self._unread):
            self._by_stem[row.file.stem].append(row)
            if row.clip is not None:
                self._by_clip[row.clip].append(row)
            elif row.picture is not None:
                self._by_picture[row.picture[-1]].append(row)
        asked = "" if numbers == AUTO else f", rows by {numbers}"
        self.name = f"csv {checksum(root, files)[:12]}{asked}"

    def match(
        self,
        onsets: Sequence[Onset],
        frames: Mapping[str, tuple[int, ...]] | None = None,
    ) -> list[Remark]:
        """Sees what the tables say of all clips of a dataset; comes before `find`.

        Args:
            onsets: Of all clips.
            frames: Numbers of all pictures of a clip that will be looked up; None for
                the onsets alone.

        Returns:
            What is odd: a reading of `frame` that not all tables force, tables and
            rows of no clip, several faces of one size.

        Raises:
            FacesError: If no row is of any clip, or it is open what `frame` means.
        """
        found: dict[Onset, tuple[Sequence[Row], str]] = {}
        unclear = False
        for onset in onsets:
            try:
                found[onset] = self._rows(onset)
            except FacesError:  # `find` says it, of this clip
                unclear = True
        tables = [
            Numbered(rows[0].file, numbers, onset, (frames or {}).get(onset.clip, ()))
            for onset, (rows, how) in found.items()
            if how == "own" and not pictured(rows, onset.path)
            if (numbers := numbers_of(rows))
        ]
        self._numbering, remarks = numbering_of(tables, self._asked)
        if onsets and not unclear and not any(rows for rows, _ in found.values()):
            raise FacesError(self._no_use(onsets))
        remarks += self._unused(found.values())
        for onset, (rows, how) in found.items():
            with contextlib.suppress(FacesError):
                remarks += several_faces(self._of_onset(rows, how, onset), onset)
        return remarks

    def find(self, image: np.ndarray, onset: Onset) -> np.ndarray | None:
        """Landmarks of the onset's picture.

        Args:
            image: [h, w] or [h, w, 3], for its size.
            onset: The picture; of a clip that `match` has not seen, its table alone
                says what `frame` means.

        Returns:
            float64 [p, 2] pixels; None where a row says that there is no face.

        Raises:
            NoRowError: If no row is of this picture.
            FacesError: If its row cannot be read, or rows fit equally well.
        """
        rows, how = self._rows(onset)
        if self._numbering is None:
            self.match([onset])
        chosen = self._of_onset(rows, how, onset)
        if not chosen:
            wanted = self._numbering.row_of(onset) if numbers_of(rows) else None
            raise NoRowError(no_row(rows, onset, self._root, wanted))
        expect_one_picture(chosen, onset, own=how == "own")
        if how == "picture":
            for row in chosen:
                self._claim((row.file, row.line), str(row), onset.path.parent)
        for row in chosen:
            if row.problem:
                raise FacesError(f"{row} {row.problem}")
        points = largest(chosen)
        # No face is that small: a fraction of the picture.
        if points is not None and np.ptp(points) < 2:
            points = points * [image.shape[1], image.shape[0]]
        return points

    def _rows(self, onset: Onset) -> tuple[Sequence[Row], str]:
        """The rows of a clip, "own", or of its onset's picture: "file", "picture"."""
        path = onset.path
        files = [
            row
            for row in self._by_stem.get(path.stem, [])
            if row.file.absolute().parent.name == path.parent.name
        ]
        if len({row.file for row in files}) > 1:  # a folder for each subject
            subject = path.parent.parent.name
            files = [r for r in files if r.file.parent.parent.name == subject]
        if files:
            self._claim(files[0].file, str(files[0].file), path.parent)
            return files, "file"
        if own := self._named(onset) or self._by_clip.get(onset.clip):
            return own, "own"
        rows = self._by_picture.get(path.name, [])
        rows = [r for r in rows if len(r.picture) > 1 or not self._root.is_dir()]
        return pictured(rows, path), "picture"

    def _of_onset(self, rows: Sequence[Row], how: str, onset: Onset) -> Sequence[Row]:
        """Those of a clip's rows that are of its onset."""
        if how != "own":
            return rows
        if found := pictured(rows, onset.path):
            return found
        if not numbers_of(rows):
            # A row that names neither frame nor picture is the clip's onset.
            told = not onset.first or any(row.picture for row in rows)
            return () if told else rows
        if bad := next((r for r in rows if r.frame is None), None):
            raise FacesError(f"{bad} {bad.problem}")  # it may be the onset's
        wanted = self._numbering.row_of(onset)
        return [row for row in rows if row.frame == wanted]

    def _named(self, onset: Onset) -> Sequence[Row]:
        """Rows of the file that is named for the clip."""
        path = onset.path
        rows = self._by_stem.get(onset.clip.replace("/", "_"))
        if rows is None:
            rows = self._by_stem.get(path.parent.name, [])
            if len({row.file for row in rows}) > 1:  # a folder for each subject
                subject = path.parent.parent.name
                rows = [row for row in rows if row.file.parent.name == subject]
            if rows:
                self._claim(rows[0].file, str(rows[0].file), path.parent)
        if len(files := sorted({row.file for row in rows})) > 1:
            raise FacesError(f"clip {onset.clip}: {files[0]} and {files[1]} fit both")
        return rows

    def _claim(self, key: object, what: str, folder: Path) -> None:
        """Two subjects' clips may have one folder name: they cannot share landmarks."""
        owner = self._owners.setdefault(key, folder)
        if owner != folder:
            raise FacesError(
                f"{what} fits the pictures in {owner} and in {folder}; name the "
                "tables by clip, or give more of the path in the column of the picture"
            )

    def _no_use(self, onsets: Sequence[Onset]) -> str:
        """Why no table is of any clip, as far as one can see."""
        first, files = onsets[0], self._files
        one = len(files) == 1
        text = f"{self._root}: {'one table' if one else f'{len(files)} tables'}, "
        text += f"{'not' if one else 'none'} named as a clip "
        text += f"({first.clip.replace('/', '_')}.csv) or as its folder "
        text += f"({first.path.parent.name}.csv), and no row names a clip or a picture"
        stems = {onset.path.stem for onset in onsets}
        if any(file.stem in stems or re.search(r"\d$", file.stem) for file in files):
            text += (
                "; they look like names of pictures, which are found in folders named "
                f"as theirs ({first.path.parent.name}/{first.path.stem}.csv)"
            )
        return f"{text}; found {_listed(file.name for file in files)}"

    def _unused(self, found: Collection[tuple[Sequence[Row], str]]) -> list[Remark]:
        """A remark on tables, and on clips and folders in tables, that nobody takes."""
        used = [row for rows, _ in found for row in rows]
        files = {row.file for row in used}
        # Of tables for one picture each, those of a clip's other pictures are nothing
        # odd: they lie beside that of its onset.
        beside = {
            row.file.parent for rows, how in found if how == "file" for row in rows
        }
        names = {row.clip for row in used}
        folders = {row.picture[:-1] for row in used if row.picture}
        shown = []
        if self._unread:
            shown.append((self._unread, "tables cannot be read"))
        if left := [
            str(file)
            for file in self._files
            if file not in files and file.parent not in beside
        ]:
            shown.append((left, f"of {len(self._files)} tables are of no clip"))
        if left := [clip for clip in self._by_clip if clip not in names]:
            shown.append((left, "names in the column 'clip' are of no clip"))
        rows = (r for rows in self._by_picture.values() for r in rows)
        given = dict.fromkeys(r.picture[:-1] for r in rows if r.file in files)
        if left := ["/".join(f) for f in given if f not in folders]:
            shown.append((left, "folders of pictures in the tables are of no clip"))
        return [
            Remark("unused", str(self._root), f"{len(left)} {what}: {_listed(left)}")
            for left, what in shown
        ]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", .." if len(names) > _SHOWN else "")
