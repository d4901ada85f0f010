"""Files and folders of a dataset as its owners hand it out."""

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

FRAME_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
_NUMBER = re.compile(r"[0-9]+")
_NO_TREE = (".", "__MACOSX")  # hidden folders; what macOS packs beside a tree


class DatasetError(ValueError):
    """A dataset's files or tables are not as its owners ship them."""


class OutsideError(DatasetError):
    """A file or folder that is a link out of the dataset's folder."""


def frame_files(folder: Path, *, root: Path | None = None) -> dict[int, Path]:
    """Picture files of a folder by frame number, in numerical order.

    The number is the last integer in the file name; other files are passed over.
    Raises DatasetError for a picture without a number or two of one number, and
    OutsideError for one that lies outside `root` (resolved).
    """
    found: dict[int, Path] = {}
    check_inside(folder, root)
    # os.scandir: a recording has thousands of frames.
    try:
        with os.scandir(folder) as entries:
            files = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror}") from error
    for entry in files:
        stem, suffix = os.path.splitext(entry.name)
        # macOS leaves "._name.jpg" beside "name.jpg" when it unpacks an archive.
        if suffix.lower() not in FRAME_SUFFIXES or entry.name.startswith("."):
            continue
        path = folder / entry.name
        if entry.is_symlink():
            check_inside(path, root)
        if not _is_file(entry):
            raise DatasetError(f"{path}: expected a picture, found a folder or no file")
        digits = _NUMBER.findall(stem)
        if not digits:
            raise DatasetError(f"{path}: expected a frame number in the file name")
        number = int(digits[-1])
        if number in found:
            raise DatasetError(f"{path}: frame {number} is also {found[number].name}")
        found[number] = path
    return dict(sorted(found.items()))


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def entries_of(folder: Path, most: int | None = None) -> tuple[list[str], list[str]]:
    """Names of the (folders, files) among the first `most` entries of a folder.

    Both empty where one may not look, such as lost+found.
    """
    try:
        with os.scandir(folder) as entries:  # no stat of a recording's frames
            seen = list(itertools.islice(entries, most))
    except PermissionError:
        return [], []
    folders = [entry.name for entry in seen if _is_folder(entry)]
    return folders, [entry.name for entry in seen if _is_file(entry)]


def check_inside(path: Path, root: Path | None) -> None:
    """Raise OutsideError when a path leads out of `root`."""
    try:
        outside = root is not None and not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError) as error:  # such as a link to itself
        raise DatasetError(f"{path}: a link that leads nowhere") from error
    if outside:
        raise OutsideError(f"{path}: leads out of the dataset's folder {root}")


def folders_in(folder: Path, most: int | None = None) -> list[Path]:
    """Folders inside a folder, among its first `most` entries, in order of name.

    Without hidden ones and what macOS leaves.
    """
    names = sorted(entries_of(folder, most)[0])
    return [folder / name for name in names if not name.startswith(_NO_TREE)]


def subfolders(folder: Path) -> dict[str, Path]:
    """Folders inside a folder by their name in lower case, in order of name."""
    return {path.name.lower(): path for path in folders_in(folder)}


def clip_folders(pairs: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Clip in lower case -> its folder, of (clip, folder) pairs.

    Raises DatasetError that names both where two folders are of one clip.
    """
    folders: dict[str, Path] = {}
    for clip, path in pairs:
        other = folders.setdefault(clip.lower(), path)
        if other != path:
            raise DatasetError(f"{path}: expected one folder of {clip}; {other} is too")
    return folders


def find_tree(manual_dir: Path, names: Sequence[str], *, depth: int = 3) -> Path | None:
    """The folder of one of `names`, in `manual_dir` or up to `depth` folders below.

    Letter case and `-`, `_`, blanks do not matter; of a doubled folder (the archives
    often unpack to one) it is the inner one; an empty one goes last. None where there
    is none. Of a folder no more than 200 entries are looked at.
    """
    wanted = [_plain(name) for name in names]
    layer, empty = [manual_dir], None
    for _ in range(depth + 1):
        inner = {folder: folders_in(folder, 200) for folder in layer}
        for name in wanted:
            for folder in layer:
                if _plain(folder.name) == name and inner[folder]:
                    same = [p for p in inner[folder] if _plain(p.name) == name]
                    return same[0] if same else folder
                if _plain(folder.name) == name:
                    empty = empty or folder
        layer = [path for paths in inner.values() for path in paths]
    return empty


def folders_holding(manual_dir: Path, name: str, *, depth: int = 3) -> list[Path]:
    """Folders that hold one whose name in lower case matches the expression `name`.

    `manual_dir` and up to `depth` folders below, shallower ones first: finds a tree by
    what is in it, whatever it is called. No more than 200 entries of a folder are
    looked at, for it may hold a long recording.
    """
    found: list[Path] = []
    layer = [manual_dir]
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in layer:
            inner = folders_in(folder, 200)
            if any(re.fullmatch(name, path.name.lower()) for path in inner):
                found.append(folder)
            else:
                below += inner
        layer = below
    return found


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name.lower())


def key_indices(
    numbers: Sequence[int], onset: int, apex: int | None, offset: int
) -> tuple[int, bool]:
    """(index of the apex among the frame `numbers`, whether the table gave it).

    `numbers` are the existing frames of onset..offset, ascending and not empty; onset
    is index 0 and offset the last. A missing apex, one outside onset..offset, or one on
    the onset (how CAS(ME)^3 writes "missing") becomes the midpoint. If the apex frame
    itself is not on disk, the nearest one stands for it.
    """
    valid = apex is not None and onset < apex <= offset
    target = apex if valid else (onset + offset) / 2
    distance = np.abs(np.asarray(numbers, np.float64) - target)
    return int(distance.argmin()), valid
