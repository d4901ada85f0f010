"""CAS(ME)^2: 57 micro-expressions among 357 expressions of 22 subjects, 30 fps.

Qu et al., 2018. README.md beside this file: access, layout, oddities.
"""

import re
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder
from data_builders.casme_sq import table
from data_builders.files import DatasetError, find_tree, subfolders
from data_builders.release import Finding, Release, check_counts, gather

TREES = {"cropped": "cropped", "selected": "selectedpic", "raw": "rawpic"}


class CasmeSq(ClipBuilder):
    """CAS(ME)^2; configs: cropped (default), selected, raw."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="cropped", description="cropped/: the owners' face crops"
        ),
        tfds.core.BuilderConfig(
            name="selected",
            description="selectedpic/: camera frames of the expressions",
        ),
        tfds.core.BuilderConfig(
            name="raw", description="rawpic/: camera frames of whole recordings"
        ),
    ]
    CROPPED = frozenset({"cropped"})
    DESCRIPTION = "The micro-expressions of CAS(ME)^2, with AUs and emotions"
    HOMEPAGE = "http://casme.psych.ac.cn/casme/e3"
    LICENSE = "signed licence agreement; academic use; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
CAS(ME)^2 may not be redistributed: each institution applies to its owners.
1. Apply: http://casme.psych.ac.cn/casme/e3 (a licence agreement signed by a member of
   staff of your institution; academic use only).
2. Put the files into one folder, unpacked, for example ~/data/CASME_sq:
     ~/data/CASME_sq/CAS(ME)^2code_final(Updated).xlsx
     ~/data/CASME_sq/cropped/s15/15_0101disgustingteeth/img1.jpg ... casme_sq/cropped
     ~/data/CASME_sq/selectedpic/s15/15_0101disgustingteeth/...      casme_sq/selected
     ~/data/CASME_sq/rawpic/s15/15_0101disgustingteeth/...           casme_sq/raw
   One of the three trees is enough; rawvideo/ is not needed.
3. Type:
     python -m data_builders.build --dataset=casme_sq --manual_dir=~/data/CASME_sq
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        path = table.find(manual_dir)
        coding = table.read(path)
        tree = find_tree(manual_dir, [TREES[config]])
        if tree is None:
            raise DatasetError(
                f"{manual_dir}: expected a folder {TREES[config]}/ with s15/ and so on "
                "inside"
            )
        folders, shared, moved = clip_folders(tree, coding)
        counts = check_counts(coding.rows, table.EMOTIONS, path.name)
        kept = ", clips in their recording's folder" if shared else ""
        return gather(
            cls.name,
            coding.rows,
            folders,
            root=manual_dir,
            layout=f"{tree.relative_to(manual_dir)}/ ({config}){kept}",
            table=path.name,
            version=(
                f"{len(coding.rows)} micro-expressions; {coding.macro} "
                "macro-expressions passed over"
            ),
            findings=[*coding.findings, *moved, *counts],
            # The other frames of a recording's folder belong to other expressions.
            whole=config == "raw" or shared,
        )


def clip_folders(
    tree: Path, coding: table.Coding
) -> tuple[dict[str, Path], bool, list[Finding]]:
    """(clip in lower case -> folder, whether clips share folders, what is odd there).

    A folder of the clip's own name is preferred to that of its recording, whose name
    begins with the subject's number and the recording's code.
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
                where = f"{row.where}, clip {row.clip}"
                findings.append(Finding("misplaced", where, said, row.clip))
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
