"""Files that are whole or absent."""

import errno
import os
from pathlib import Path


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Replaces a file so that a reader sees the old or the new one, whole.

    Args:
        path: of the file, in a folder that exists.
        data: its new content.

    Raises:
        OSError: naming the file (on a full disk, say); the old one is as it was.
    """
    path = Path(path)
    # In the same folder, as a rename is atomic only within one file system.
    half = path.with_name(f".{path.name}.tmp")
    try:
        with open(half, "wb") as file:
            file.write(data)
            file.flush()
            # Else a crash could leave the new name on content not yet on the disk.
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as error:
        half.unlink(missing_ok=True)
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        kept = "the old file is unchanged" if path.exists() else "nothing was written"
        message = f"could not write {len(data)} bytes: {why}; {kept}"
        raise OSError(error.errno, message, str(path)) from error
