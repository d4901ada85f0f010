"""Datasets whose list of clips is the folder tree itself: names, first and last frame.

What is in the place of a clip and is none becomes a finding, as a row of a table would.
"""

import re
from collections.abc import Collection, Iterable, Sized
from pathlib import Path

from data_builders.readers.cells import emotion_label
from data_builders.readers.findings import (
    DatasetError,
    Finding,
    NotFoundError,
    refuse,
    unreadable,
)
from data_builders.readers.folders import frame_files

FOLDER_NAMES = "folder names"  # what stands for the table where there is none


def place(path: Path, manual_dir: Path) -> str:
    """Returns a path as findings name it: from the owners' folder `manual_dir` on."""
    return path.relative_to(manual_dir).as_posix()


def _is_none(path: Path) -> bool:
    """Whether a folder is no part of the dataset: hidden, or left by macOS."""
    return path.name.startswith((".", "__MACOSX"))


def named_folders(
    folder: Path, pattern: str, manual_dir: Path, *, example: str = ""
) -> tuple[list[tuple[re.Match, Path]], list[Finding]]:
    """Lists the folders whose whole name matches; letter case does not matter.

    Args:
        folder: Where they lie.
        pattern: A regular expression.
        manual_dir: The owners' folder, for the findings.
        example: What they must be called, if no other folder may lie there.

    Returns:
        (match, path) of each, by name. And the findings: "folder" for a file or a
        broken link with such a name; of other folders "table" with an `example`, for
        a clip may be missed by it, else "unlisted".
    """
    matched, findings = [], []
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(pattern, path.name, re.IGNORECASE)
        where = place(path, manual_dir)
        if match and path.is_dir():
            matched.append((match, path))
        elif match:
            findings.append(Finding("folder", where, "expected a folder, found a file"))
        elif path.is_dir() and not _is_none(path):
            text = "a folder with another name than the dataset's; passed over"
            if example:
                text = f"expected a name such as {example}"
            findings.append(Finding("table" if example else "unlisted", where, text))
    return matched, findings


def emotion_folders(
    tree: Path, emotions: Collection[str], manual_dir: Path
) -> tuple[list[tuple[str, Path]], list[Finding]]:
    """Lists the folders that are named for an emotion.

    Args:
        tree: Where they lie.
        emotions: Those that the dataset knows.
        manual_dir: The owners' folder, for the findings.

    Returns:
        (emotion, path) of each. And the findings: "table" for a folder with another
        name, "folder" for a file with one.
    """
    found, findings = [], []
    for path in sorted(tree.iterdir()):
        emotion, where = emotion_label(path.name), place(path, manual_dir)
        if emotion in emotions and path.is_dir():
            found.append((emotion, path))
        elif emotion in emotions:
            findings.append(Finding("folder", where, "expected a folder, found a file"))
        elif path.is_dir() and not _is_none(path):
            text = f"expected a folder named one of {', '.join(emotions)}"
            findings.append(Finding("table", where, text))
    return found, findings


def expect_clips(
    dataset: str, clips: Sized, findings: Iterable[Finding], tree: Path, example: str
) -> None:
    """Stops where a tree holds no clip at all.

    Args:
        dataset: Its name.
        clips: Those that were found.
        findings: What is odd in the tree; it may say why there are none.
        tree: Where they were looked for.
        example: What a clip is called.

    Raises:
        DatasetError: If something stops them all.
        NotFoundError: If there is no clip, nor a reason why.
    """
    if not clips:
        refuse(dataset, findings)
        raise NotFoundError(f"{tree}: expected clips such as {example}, found none")


def span(
    folder: Path, clip: str, manual_dir: Path
) -> tuple[tuple[int, int] | None, list[Finding]]:
    """Finds where a clip begins and ends that no table lists.

    Args:
        folder: The clip's.
        clip: Its name.
        manual_dir: The owners' folder.

    Returns:
        Numbers of the first and the last frame, or None and why there are none.
    """
    where = f"{place(folder, manual_dir)}, clip {clip}"
    try:
        numbers = list(frame_files(folder, root=manual_dir.resolve()))
    except DatasetError as error:
        return None, [unreadable(error, where, clip)]
    if not numbers:
        return None, [Finding("empty", where, "expected frames, found none", clip)]
    return (numbers[0], numbers[-1]), []
