"""Files and folders of a dataset as its owners hand it out."""

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from data_builders.readers.findings import DatasetError, OutsideError

# What the datasets are known to hold; SMIC's crops are bmp, DFME's frames png.
FRAME_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
# Pictures of formats that are not read.
_OTHER_SUFFIXES = (".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".raw")
# A folder with more entries is a recording's; no tree or table is looked for in it.
MOST = 200
_NUMBER = re.compile(r"[0-9]+")
_NO_TREE = (".", "__MACOSX")  # hidden folders; what macOS packs beside a tree


def frame_files(folder: Path, *, root: Path | None = None) -> dict[int, Path]:
    """Lists the pictures of a folder by frame number; other files are passed over.

    Args:
        folder: Where the pictures lie.
        root: The owners' folder, resolved; None to look at no link.

    Returns:
        Number, the last integer in the file name, -> file, in numerical order.

    Raises:
        DatasetError: If a picture has no number or that of another, or all are of
            formats that are not read.
        OutsideError: If a link leads out of `root`.
    """
    found: dict[int, Path] = {}
    check_inside(folder, root)
    # os.scandir: a recording has thousands of frames.
    try:
        with os.scandir(folder) as entries:
            files = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror}") from error
    others = [e for e in files if e.name.lower().endswith(_OTHER_SUFFIXES)]
    for entry in files:
        stem, suffix = os.path.splitext(entry.name)
        # macOS leaves "._name.jpg" beside "name.jpg" when it unpacks an archive.
        if suffix.lower() not in FRAME_SUFFIXES or entry.name.startswith("."):
            continue
        path = folder / entry.name
        if entry.is_symlink():  # resolving every frame would take longer than listing
            check_inside(path, root)
        if not _is_file(entry):
            raise DatasetError(f"{path}: expected a picture, found a folder or no file")
        # The last one: "006_05562.jpg" begins with its subject.
        digits = _NUMBER.findall(stem)
        if not digits:
            raise DatasetError(f"{path}: expected a frame number in the file name")
        # A record holds numbers of 32 bits; the longest of a dataset have 8 digits.
        if len(digits[-1].lstrip("0")) > 9:
            raise DatasetError(f"{path}: expected a frame number of up to 9 digits")
        number = int(digits[-1])
        if number in found:
            raise DatasetError(f"{path}: frame {number} is also {found[number].name}")
        found[number] = path
    if others and not found:
        raise DatasetError(
            f"{folder}: expected jpg, png or bmp, found {others[0].name} and "
            f"{len(others) - 1} more of such formats; convert them without loss"
        )
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
    """Lists a folder.

    Args:
        folder: Which.
        most: How many entries are looked at; None for all.

    Returns:
        Names of the folders and of the files in it; none of one that may not be looked
        into, such as lost+found.
    """
    try:
        with os.scandir(folder) as entries:  # no stat of a recording's frames
            seen = list(itertools.islice(entries, most))
    except PermissionError:
        return [], []
    folders = [entry.name for entry in seen if _is_folder(entry)]
    return folders, [entry.name for entry in seen if _is_file(entry)]


def check_inside(path: Path, root: Path | None) -> None:
    """Sees that a path stays in the owners' folder.

    Args:
        path: File or folder, perhaps a link.
        root: The owners' folder, resolved; None for no check.

    Raises:
        OutsideError: If the path leads out of `root`.
        DatasetError: If it leads nowhere.
    """
    if root is None:
        return
    try:
        if path.resolve().is_relative_to(root):
            return
        # The link itself, so that all that lies behind it is told in the same words.
        way = (*reversed(path.parents), path)
        link = next((part for part in way if _leads_out(part, root)), path)
        target = link.resolve()
    except (OSError, RuntimeError) as error:  # such as a link to itself
        raise DatasetError(f"{path}: a link that leads nowhere") from error
    raise OutsideError(
        f"{link}: leads out of the dataset's folder {root}, to {target}. Such links "
        "are not followed: move or mount it there, or put the table beside it and give "
        "that folder as --manual_dir"
    )


def _leads_out(path: Path, root: Path) -> bool:
    below = path.parent.resolve().is_relative_to(root)
    return below and not path.resolve().is_relative_to(root)


def folders_in(folder: Path, most: int | None = None) -> list[Path]:
    """Lists the folders inside a folder, without hidden ones and what macOS leaves.

    Args:
        folder: Which.
        most: How many of its entries are looked at; None for all.

    Returns:
        Their paths, in order of name.
    """
    names = sorted(entries_of(folder, most)[0])
    return [folder / name for name in names if not name.startswith(_NO_TREE)]


def subfolders(folder: Path) -> dict[str, Path]:
    """Returns the folders inside a folder by their name in lower case."""
    return {path.name.lower(): path for path in folders_in(folder)}


def find_tree(manual_dir: Path, names: Sequence[str], *, depth: int = 3) -> Path | None:
    """Finds a tree by its name.

    Letter case and `-`, `_`, blanks do not matter. Of a doubled folder (the archives
    often unpack to one) it is the inner one; an empty one goes last.

    Args:
        manual_dir: The owners' folder.
        names: What the tree may be called, preferred names first.
        depth: How many folders down it may lie.

    Returns:
        The tree, None where there is none.
    """
    wanted = [_plain(name) for name in names]
    layer, empty = [manual_dir], None
    for _ in range(depth + 1):
        inner = {folder: folders_in(folder, MOST) for folder in layer}
        # Layer by layer, and in it name by name: a copy lies deeper than the tree.
        for name in wanted:
            for folder in layer:
                if _plain(folder.name) == name and inner[folder]:
                    # An archive often unpacks to Cropped/Cropped/.
                    same = [p for p in inner[folder] if _plain(p.name) == name]
                    return same[0] if same else folder
                # Kept for last: an empty tree is told clip by clip, none at all once.
                if _plain(folder.name) == name:
                    empty = empty or folder
        layer = [path for paths in inner.values() for path in paths]
    return empty


def folders_holding(manual_dir: Path, name: str, *, depth: int = 3) -> list[Path]:
    """Finds trees by what is in them, whatever they are called.

    Args:
        manual_dir: The owners' folder.
        name: A regular expression that an inner folder's name in lower case matches.
        depth: How many folders down a tree may lie.

    Returns:
        The folders that hold such a one, shallower ones first.
    """
    found: list[Path] = []
    layer = [manual_dir]
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in layer:
            inner = folders_in(folder, MOST)
            if any(re.fullmatch(name, path.name.lower()) for path in inner):
                found.append(folder)  # what lies in it are clips, no further trees
            else:
                below += inner
        layer = below
    return found


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name.lower())
