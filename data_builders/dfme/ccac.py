"""DFME's publicly available part (CCAC 2024): a table and a tree for each split.

The competition's first hand-out had no labels for the tests and no AUs; it is read too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from data_builders.readers.cells import emotion_label, integer, is_empty
from data_builders.readers.declaration import (
    Cells,
    Columns,
    Edition,
    Named,
    Rates,
    Table,
    Tree,
)
from data_builders.readers.findings import Finding, NotFoundError
from data_builders.readers.folders import folders_in
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.gather import gather
from data_builders.readers.reader import join, locate_table
from data_builders.readers.release import Release, Row
from data_builders.readers.rows import sheet_of
from data_builders.readers.trees import place

# In order of EmotionId; this part of DFME has no others.
EMOTIONS = (
    *("anger", "contempt", "disgust", "fear"),
    *("happiness", "sadness", "surprise"),
)


def name(cells: Cells) -> Named:
    """Returns the clip of a row, such as "sub0003/sub0003_01", and what is wrong."""
    cell, clip = cells["Subject"], cells["Filename"]
    subject = cell.lower()  # one name for one subject, else it would leak
    wrong, told = {}, {}
    if not re.fullmatch("sub[0-9]+", subject):
        wrong["Subject"] = "a name such as sub0003"
    elif cell != subject:
        told["Subject"] = f"read as {subject!r}"
    if not clip:
        wrong["Filename"] = "a name"
    elif "Subject" not in wrong and not clip.lower().startswith(f"{subject}_"):
        wrong["Filename"] = f"a name that begins with {subject}_"
    if expected := _id_expected(emotion_label(cells["Emotion"]), cells["EmotionId"]):
        wrong["EmotionId"] = expected
    return Named(subject=subject, name=clip, wrong=wrong, told=told)


def _id_expected(label: str, cell: str) -> str:
    """What a wrong EmotionId should be; blank, or -1 without an emotion, is right."""
    if is_empty(cell) or (cell == "-1" and is_empty(label)):
        return ""
    if label in EMOTIONS:
        right = EMOTIONS.index(label)
        return "" if integer(cell) == right else f"{right} for {label}"
    return "" if not is_empty(label) else "none without an Emotion"


def clips(top: Path) -> Iterator[tuple[str, Path]]:
    """Yields (clip, folder) of a tree of clips such as sub0003_01."""
    for path in folders_in(top):
        yield f"{path.name.partition('_')[0]}/{path.name}", path


def _table(split: str, file: str, stem: str) -> Table:
    """The table of a split, `file`; the names of all editions begin with `stem`."""
    emotions = dict.fromkeys(EMOTIONS)
    trained_on = split == "train"
    return Table(
        called=f"the table {file}",
        editions=tuple(
            Edition(version="CCAC2024", pattern=pattern, emotions=emotions)
            for pattern in (
                f"{stem}[-_ ]?full[-_ ]?with[-_ ]?au.*[.](xlsx|csv)",
                f"{stem}([-_ ].*)?[.](xlsx|csv)",  # without AUs, so it goes last
            )
        ),
        columns=Columns(
            names=("Subject", "Filename", "Emotion", "EmotionId"),
            frames=("OnsetFrame", "ApexFrame", "OffsetFrame"),
            emotion="Emotion",
            aus="AU",
            optional=("EmotionId", "AU", *(() if trained_on else ("Emotion",))),
        ),
        fps=Rates("Fps", (200, 300, 500)),
        name=name,
        unlabelled=not trained_on,
        split=split,
    )


def _tree(folder: str) -> Tree:
    return Tree(folder=folder, inside="clips", description="", clips=clips)


# In the order in which `gather` looks at the splits: a clip twice is its first.
SPLITS: dict[str, tuple[Table, Tree]] = {
    "test_a": (
        _table("test_a", "testA_full_with_AU.xlsx", "test[-_ ]?a"),
        _tree("test_data_A"),
    ),
    "test_b": (
        _table("test_b", "testB_full_with_AU.xlsx", "test[-_ ]?b"),
        _tree("test_data_B"),
    ),
    "train": (
        _table("train", "training_full_with_AU.xlsx", "train(ing)?"),
        _tree("train_data"),
    ),
}


def read(dataset: str, manual_dir: Path, frame_numbers: str = AUTO) -> Release:
    """Reads the splits that lie there.

    Args:
        dataset: Its name.
        manual_dir: The owners' folder.
        frame_numbers: How pictures are numbered, see `frame_numbers.READINGS`.

    Returns:
        The release; a test may be lacking, which is told.

    Raises:
        DatasetError: If the part to train on is lacking, or a table has no such
            columns.
    """
    rows: list[Row] = []
    folders: dict[str, Path] = {}
    findings: list[Finding] = []
    trees, tables = [], []
    for split, (table, tree) in SPLITS.items():
        found, top = locate_table(table, manual_dir), tree.find(tree, manual_dir)
        lacking = [] if found else [table.called]
        lacking += [] if top else [f"a folder {tree.names[0]}/ with clips inside"]
        if lacking:
            text = f"expected {' and '.join(lacking)}"
            if split == "train":
                raise NotFoundError(f"{manual_dir}: {text}")
            text = f"{text}, found none; split {split} is not in the release"
            findings.append(Finding("absent", str(manual_dir), text))
            continue
        path, edition = found
        part = join(table, edition, sheet_of(table, path), tree, top)
        rows += part.rows
        folders = part.folders | folders
        findings += part.findings
        trees.append(f"{place(top, manual_dir)}/")
        tables.append(path.name)
    return gather(
        dataset,
        rows,
        folders,
        root=manual_dir,
        layout=f"{', '.join(trees)} (ccac)",
        table=", ".join(tables),
        version="CCAC2024",
        findings=[*findings, *_shared_subjects(rows)],
        whole=True,
        frame_numbers=frame_numbers,
    )


def _shared_subjects(rows: list[Row]) -> list[Finding]:
    """Published splits share no subject; a shared one would leak into the test."""
    first: dict[str, Row] = {}
    findings = []
    told = set()
    for row in rows:
        other = first.setdefault(row.subject, row)
        if other.split != row.split and (row.subject, row.split) not in told:
            told.add((row.subject, row.split))
            where = f"{row.where}, column 'Subject'"
            text = f"{row.subject} of {row.split} is in {other.split} too"
            findings.append(Finding("table", where, f"{text} ({other.where})"))
    return findings
