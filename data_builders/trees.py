"""Datasets whose list of clips is the folder tree itself: names, first and last frame.

What is in the place of a clip and is none becomes a finding, as a row of a table would.
"""

import re
from collections.abc import Collection, Iterable, Sized
from pathlib import Path

from data_builders.files import DatasetError, OutsideError, frame_files
from data_builders.release import Finding, refuse
from data_builders.tables import emotion_label


def place(path: Path, manual_dir: Path) -> str:
    """A path as findings name it: from the owners' folder on."""
    return path.relative_to(manual_dir).as_posix()


def named_folders(
    folder: Path, pattern: str, manual_dir: Path, *, example: str = ""
) -> tuple[list[tuple[re.Match, Path]], list[Finding]]:
    """(match, path) of the folders in `folder` whose whole name matches, by name.

    Letter case does not matter. Findings: "folder" for a file or a broken link with
    such a name, and for folders with other names: "unlisted", or with an `example` of
    what they must be called "table", for a clip may be missed by it.
    """
    matched, findings = [], []
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(pattern, path.name, re.IGNORECASE)
        where = place(path, manual_dir)
        if match and path.is_dir():
            matched.append((match, path))
        elif match:
            findings.append(Finding("folder", where, "expected a folder, found a file"))
        elif path.is_dir() and not path.name.startswith((".", "__MACOSX")):
            text = "a folder with another name than the dataset's; passed over"
            if example:
                text = f"expected a name such as {example}"
            findings.append(Finding("table" if example else "unlisted", where, text))
    return matched, findings


def emotion_folders(
    tree: Path, emotions: Collection[str], manual_dir: Path
) -> tuple[list[tuple[str, Path]], list[Finding]]:
    """(emotion, path) of the folders in `tree`, each named for one of `emotions`.

    Findings: "table" for a folder with another name, "folder" for a file with one.
    """
    found, findings = [], []
    for path in sorted(tree.iterdir()):
        emotion, where = emotion_label(path.name), place(path, manual_dir)
        if emotion in emotions and path.is_dir():
            found.append((emotion, path))
        elif emotion in emotions:
            findings.append(Finding("folder", where, "expected a folder, found a file"))
        elif path.is_dir() and not path.name.startswith((".", "__MACOSX")):
            text = f"expected a folder named one of {', '.join(emotions)}"
            findings.append(Finding("table", where, text))
    return found, findings


def expect_clips(
    dataset: str, clips: Sized, findings: Iterable[Finding], tree: Path, example: str
) -> None:
    """Raise DatasetError where a tree holds no clip at all, saying what it holds."""
    if not clips:
        refuse(dataset, findings)
        raise DatasetError(f"{tree}: expected clips such as {example}, found none")


def span(
    folder: Path, clip: str, manual_dir: Path
) -> tuple[tuple[int, int] | None, list[Finding]]:
    """Numbers of the first and the last frame of a folder, or why there are none."""
    where = f"{place(folder, manual_dir)}, clip {clip}"
    try:
        numbers = list(frame_files(folder, root=manual_dir.resolve()))
    except DatasetError as error:
        kind = "outside" if isinstance(error, OutsideError) else "image"
        return None, [Finding(kind, where, str(error), clip)]
    if not numbers:
        return None, [Finding("empty", where, "expected frames, found none", clip)]
    return (numbers[0], numbers[-1]), []
