"""The folders of CAS(ME)^2: of a clip's own, or of its recording.

`disgust1_2` is the second expression of recording `disgust1`, whose folder begins with
subject and code, such as 15_0101. How the trees are divided is known of no copy of
ours, hence both.
"""

import re
from pathlib import Path

from data_builders.casme_sq.coding import Coding
from data_builders.readers.findings import Finding
from data_builders.readers.folders import subfolders


def clip_folders(
    tree: Path, coding: Coding
) -> tuple[dict[str, Path], bool, list[Finding]]:
    """Chooses each clip's folder; one of its own is preferred to its recording's.

    Args:
        tree: Holds a folder per subject.
        coding: The table's micro-expressions.

    Returns:
        Clip in lower case -> folder; whether clips take their recording's folder; what
        is odd there.
    """
    subjects = {
        int(digits[1]): subfolders(folder)
        for name, folder in subfolders(tree).items()
        if (digits := re.fullmatch("s?([0-9]+)", name))
    }
    recordings, moved, findings = _recordings(subjects)
    folders, shared = {}, False
    for row in coding.rows:
        number, name = int(row.subject[1:]), row.clip.split("/")[1].lower()
        # A folder of the clip's own holds that clip alone, so it says more.
        own = subjects.get(number, {}).get(name)
        recording = (number, coding.codes[name.split("_")[0]])
        if own:
            folders[row.clip.lower()] = own
        elif recording in recordings:
            folders[row.clip.lower()] = recordings[recording]
            shared = True
            if recording in moved:
                place = recordings[recording].relative_to(tree.parent)
                said = f"expected a folder of {row.subject}; {place} is taken for it"
                findings.append(Finding("misplaced", row.place, said, row.clip))
    return folders, shared, findings


def _recordings(
    subjects: dict[int, dict[str, Path]],
) -> tuple[dict[tuple[int, str], Path], set[tuple[int, str]], list[Finding]]:
    """(subject's number, code) -> folder, those named for another subject, and spares.

    A folder named for another subject is its parent's if that has no other for the
    code, else that of the subject in its name, if that has none, else a spare.
    """
    found: dict[tuple[int, str], Path] = {}
    odd: list[tuple[tuple[int, ...], str, Path]] = []
    for number, folders in sorted(subjects.items()):
        for name, path in folders.items():
            parts = re.fullmatch("(?:([0-9]+)_)?([0-9]{4})(?:[^0-9_].*)?", name)
            if parts and int(parts[1] or number) == number:
                if found.setdefault((number, parts[2]), path) != path:
                    odd.append(((number,), parts[2], path))
            elif parts:
                odd.append(((number, int(parts[1])), parts[2], path))
    # Only now, when all that stand in their place are known.
    moved, spare = set(), []
    for numbers, code, path in odd:
        free = [(number, code) for number in numbers if (number, code) not in found]
        if free:
            found[free[0]] = path
            moved.add(free[0])
        else:
            text = f"expected one folder, {found[numbers[0], code]} is taken already"
            spare.append(Finding("unlisted", str(path), text))
    return found, moved, spare
