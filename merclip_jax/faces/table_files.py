"""The files of a source of landmarks: which there are, all their rows, a checksum."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from merclip_jax.faces.onset import FacesError
from merclip_jax.faces.table_rows import Row, read_rows

MOST_ROWS, MOST_NUMBERS = 2_000_000, 400_000_000  # of all tables; some 3 GB


class _TooLargeError(FacesError):
    """Tables that do not fit into memory."""


def files_of(root: Path) -> list[Path]:
    """Lists the tables of a source.

    Args:
        root: A file, or a folder with `*.csv` in it and below it.

    Raises:
        FacesError: If there is none.
    """
    if not root.exists():
        raise FacesError(f"{root}: no such file or folder of landmarks")
    files = sorted(root.rglob("*.csv")) if root.is_dir() else [root]
    if not files:
        raise FacesError(f"{root}: no *.csv in it")
    return files


def rows_of(files: Sequence[Path], unread: list[str]) -> Iterator[Row]:
    """Reads all tables of a source.

    Of several, one that cannot be read is one row with that problem: a program that
    failed on one picture leaves an empty file, which is of no other clip's concern.

    Args:
        files: The tables.
        unread: Takes why a table cannot be read.

    Yields:
        Their rows.

    Raises:
        FacesError: If none can be read, or they are larger than any dataset's.
    """
    rows = numbers = 0
    for file in files:
        try:
            for row in read_rows(file):
                rows += 1
                numbers += 0 if row.points is None else row.points.size
                if rows > MOST_ROWS or numbers > MOST_NUMBERS:
                    raise _TooLargeError(
                        f"{file}: with it, more than {rows - 1} rows of landmarks; "
                        "rows of the clips' onset frames are enough"
                    )
                yield row
        except _TooLargeError:
            raise
        except FacesError as error:
            unread.append(str(error))
            if len(unread) == len(files):
                raise
            yield Row(file, 0, problem=f"cannot be read: {error}")


def checksum(root: Path, files: Sequence[Path]) -> str:
    """Returns SHA-256 of names and contents: renaming a file changes whose it is.

    Args:
        root: The source.
        files: Its tables.
    """
    base = root if root.is_dir() else root.parent
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(base).as_posix().encode(errors="surrogateescape")
        digest.update(len(name).to_bytes(8) + name)
        if not _is_readable(file):  # nothing of it is used, and a pipe would never end
            continue
        digest.update(file.stat().st_size.to_bytes(8))
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _is_readable(file: Path) -> bool:
    return file.is_file() and os.access(file, os.R_OK)
