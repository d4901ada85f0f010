"""The one reader: from what a dataset declares and its owners' folder to a `Release`.

`read` is all that most datasets need; the others are made of the functions below it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_builders.readers.declaration import Edition, Folders, Table, Tree
from data_builders.readers.findings import DatasetError, Finding, NotFoundError
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.gather import gather
from data_builders.readers.release import Release, Row
from data_builders.readers.rows import rows_of, sheet_of
from data_builders.readers.table import Sheet, find_table


@dataclass(frozen=True)
class Part:
    """A table's rows and the folders that they take in a tree, with all that is odd."""

    rows: list[Row]
    folders: dict[str, Path]
    findings: list[Finding]


def read(
    dataset: str,
    table: Table,
    tree: Tree,
    config: str,
    manual_dir: Path,
    frame_numbers: str = AUTO,
) -> Release:
    """Reads a dataset: a table of clips, and a tree with their frames.

    Args:
        dataset: Its name.
        table: What it declares of its table.
        tree: What it declares of the config's tree.
        config: The config's name.
        manual_dir: The owners' folder.
        frame_numbers: How pictures are numbered, see `frame_numbers.READINGS`.

    Returns:
        The release.

    Raises:
        DatasetError: If there is no such table or tree, or the table has no such
            columns.
    """
    path, edition = expect_table(table, manual_dir)
    sheet = sheet_of(table, path)  # before the tree: it costs less to be told of
    top = expect_tree(dataset, tree, config, manual_dir)
    part = join(table, edition, sheet, tree, top)
    counts = check_counts(part.rows, edition.emotions, path.name)
    return gather(
        dataset,
        part.rows,
        part.folders,
        root=manual_dir,
        layout=f"{top.relative_to(manual_dir)}/ ({config})",
        table=path.name,
        version=edition.said(len(part.rows)),
        findings=[*part.findings, *counts],
        whole=tree.whole,
        frame_numbers=frame_numbers,
    )


def locate_table(table: Table, manual_dir: Path) -> tuple[Path, Edition] | None:
    """Finds a table.

    Args:
        table: What is declared of it.
        manual_dir: The owners' folder.

    Returns:
        Its path and which edition it is, None where there is none.
    """
    for depth in table.depths:
        for edition in table.editions:
            if path := find_table(manual_dir, [edition.pattern], depth=depth):
                return path, edition
    return None


def expect_table(table: Table, manual_dir: Path) -> tuple[Path, Edition]:
    """Finds a table that must be there.

    Args:
        table: What is declared of it.
        manual_dir: The owners' folder.

    Returns:
        Its path and which edition it is.

    Raises:
        NotFoundError: If there is none.
    """
    found = locate_table(table, manual_dir)
    if found is None:
        raise NotFoundError(f"{manual_dir}: expected {table.called}")
    return found


def expect_tree(dataset: str, tree: Tree, config: str, manual_dir: Path) -> Path:
    """Finds a tree that must be there.

    Args:
        dataset: Its name.
        tree: What is declared of it.
        config: The config's name.
        manual_dir: The owners' folder.

    Returns:
        Its path.

    Raises:
        NotFoundError: If there is none.
    """
    top = tree.find(tree, manual_dir)
    if top is None:
        hint = f"; {tree.hint}" if tree.hint else ""
        raise NotFoundError(
            f"{manual_dir}: expected a folder {tree.folder}/ with {tree.inside} and "
            f"so on inside ({dataset}/{config}{hint})"
        )
    return top


def join(table: Table, edition: Edition, sheet: Sheet, tree: Tree, top: Path) -> Part:
    """Reads a table's rows and chooses their folders.

    Args:
        table: What is declared of the table.
        edition: Which edition it is.
        sheet: Its rows as they are.
        tree: What is declared of the tree.
        top: Where the tree is.

    Returns:
        The rows that can be read, the folder of each that has one, and what is odd.

    Raises:
        DatasetError: If two folders are of one clip and may not be.
    """
    folders = folders_of(tree, top)
    rows, findings = rows_of(table, edition, sheet, folders)
    taken: dict[str, Path] = {}
    for row in rows:
        folder, told = tree.take(row, top, folders)
        # A clip that is listed twice is told by `gather`, and keeps its first folder.
        if folder:
            taken.setdefault(row.clip.lower(), folder)
        if told:
            findings.append(Finding("misplaced", row.place, told, row.clip))
    findings += _unlisted(folders, rows, taken, findings, sheet.path.name)
    return Part(rows, taken, findings)


def folders_of(tree: Tree, top: Path) -> dict[str, list[Path]]:
    """Lists the clips' folders in a tree.

    Args:
        tree: What is declared of it.
        top: Where it is.

    Returns:
        Clip in lower case -> its folders.

    Raises:
        DatasetError: If two folders are of one clip and may not be; names both.
    """
    folders: dict[str, list[Path]] = {}
    for clip, path in tree.clips(top):
        others = folders.setdefault(clip.lower(), [])
        if others and not tree.several:
            raise DatasetError(
                f"{path}: expected one folder of {clip}; {others[0]} is too"
            )
        others.append(path)
    return folders


def _unlisted(
    folders: Folders,
    rows: Sequence[Row],
    taken: Mapping[str, Path],
    findings: Iterable[Finding],
    table: str,
) -> list[Finding]:
    """A finding for each folder that no row takes.

    A row that cannot be read names its clip all the same: its folder is listed.
    """
    used = set(taken.values())
    unreadable = {finding.clip.lower() for finding in findings}
    unreadable -= {row.clip.lower() for row in rows}
    return [
        Finding("unlisted", str(path), f"no row of {table} takes it", clip)
        for clip, paths in folders.items()
        for path in paths
        if path not in used and clip not in unreadable
    ]


def check_counts(
    rows: Iterable[Row], published: Mapping[str, int | None], table: str
) -> list[Finding]:
    """Compares a table's emotions with the published ones.

    Args:
        rows: Those that can be read.
        published: Emotion -> rows, None if not published.
        table: What is counted, for the finding.

    Returns:
        A finding that stops the build if they differ: of more rows, the table is
        another edition. Of fewer rows, as in a copy of a part, one for each emotion
        that has more than published; it does not stop. None if no counts are published.
    """
    if None in published.values():
        return []
    found = dict(sorted(Counter(row.emotion for row in rows).items()))
    if found == dict(published):
        return []
    if sum(found.values()) < sum(published.values()):
        return [
            Finding("surplus", f"{table}, {e}", f"expected {published[e]}, found {n}")
            for e, n in found.items()
            if n > published[e]
        ]
    said = f"expected {dict(sorted(published.items()))}, found {found}"
    return [Finding("counts", f"{table}, emotions", said)]
