"""Files that are whole or absent."""

import errno
import os
from pathlib import Path


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Replace a file by `data` so that a reader sees the old or the new one, whole.

    An OSError (a full disk, say) names the file and leaves the old one as it was.
    """
    path = Path(path)
    half = path.with_name(f".{path.name}.tmp")
    try:
        with open(half, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as error:
        half.unlink(missing_ok=True)
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        kept = "the old file is unchanged" if path.exists() else "nothing was written"
        message = f"could not write {len(data)} bytes: {why}; {kept}"
        raise OSError(error.errno, message, str(path)) from error
