"""The trees of CAS(ME)^3: a folder per clip, or whole videos.

Their names differ between releases, so they are known by what they hold. Letter case
does not matter: the table says spNO., some releases spNo.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from data_builders.readers.declaration import Folders, Tree
from data_builders.readers.folders import folders_holding, folders_in, subfolders
from data_builders.readers.release import Row

CLIP = "(spno[.][0-9]+)_([a-z]_[0-9]+)"  # such as spNO.1_a_355
SUBJECT = "spno[.][0-9]+"


def find_clips(tree: Tree, manual_dir: Path) -> Path | None:
    """Finds what holds spNO.1_a_355/ and so on: frame/, not depth/ beside it."""
    del tree
    found = folders_holding(manual_dir, CLIP, depth=4)
    found = [top for top in found if top.name.lower() != "depth"]
    # Parts B and C have clips too, and depth pictures lie in a tree of the same form.
    found.sort(key=lambda top: (top.name.lower() != "frame", _other_part(top)))
    return next(iter(found), None)


def find_videos(tree: Tree, manual_dir: Path) -> Path | None:
    """Finds what holds spNO.1/a/color/ and so on."""
    del tree
    found = folders_holding(manual_dir, SUBJECT, depth=4)
    return min(found, key=_other_part, default=None)


def clips(top: Path) -> Iterator[tuple[str, Path]]:
    """Yields (clip such as "spno.1/a_355", its folder)."""
    for path in folders_in(top):
        if parts := re.fullmatch(CLIP, path.name.lower()):
            yield f"{parts[1]}/{parts[2]}", path


def no_clips(top: Path) -> Iterator[tuple[str, Path]]:
    """Yields nothing: the folders of a tree of videos are no clip's own."""
    del top
    return iter(())


def take_video(row: Row, top: Path, folders: Folders) -> tuple[Path | None, str]:
    """Takes the color/ folder of a row's video; see `Tree.take`."""
    del folders
    subject, _, name = row.clip.partition("/")
    path: Path | None = top
    for part in (subject, name.partition("_")[0], "color"):
        path = _inside(path, part) if path else None
    return path, ""


def _inside(folder: Path, name: str) -> Path | None:
    """The folder `name` inside another: of that letter case, or else of any.

    spNO.14 has a video `J`; where `j` and `J` are both there, each is itself.
    """
    exact = folder / name
    return exact if exact.is_dir() else subfolders(folder).get(name.lower())


def _other_part(top: Path) -> bool:
    """Whether a tree does not say that it is of part A: B and C have trees as well."""
    return not any(re.match("part[ _-]?a", part.lower()) for part in top.parts)
