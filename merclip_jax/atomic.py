"""Files that are whole or absent."""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

_SUFFIX = ".tmp"
_OWN = (Path("/dev"), Path("/dev/fd"))  # not below: /dev/shm holds common files


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Replaces a file so that a reader sees the old or the new one, whole.

    A link's target is replaced, not the link. What is no regular file (a terminal, a
    pipe, /dev/null) is written to and never replaced.

    Args:
        path: of the file, in a folder that exists.
        data: its new content.

    Raises:
        OSError: naming the file (on a full disk, say); the old one is as it was.
    """
    path = Path(path)
    target, half, kept = Path(os.path.realpath(path)), None, "nothing was written"
    try:
        if _is_stream(path):
            kept = "a part may have been written"
            with open(path, "ab") as stream:
                stream.write(data)
            return
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if target.exists():
            kept = "the old file is unchanged"
        # In the same folder, as a rename is atomic only within one file system. The
        # name is new and cannot be guessed: nobody's link is followed there.
        handle, half = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=_SUFFIX, dir=target.parent
        )
        with open(handle, "wb") as file:
            file.write(data)
            os.fchmod(handle, _mode(target))
            file.flush()
            # Else a crash could leave the new name on content not yet on the disk.
            os.fsync(handle)
        os.replace(half, target)
    except OSError as error:
        if half:
            Path(half).unlink(missing_ok=True)
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        message = f"could not write {len(data)} bytes: {why}; {kept}"
        raise OSError(error.errno, message, str(path)) from error


def sweep(folder: str | os.PathLike) -> None:
    """Deletes the halves that killed writers left in a folder.

    Only for who holds the folder's lock: a half of a running writer looks the same.
    """
    for half in Path(folder).glob(f".*{_SUFFIX}"):
        if not half.is_dir():
            half.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or a process's own output."""
    # /dev/stdout may lead to a regular file, which its owner goes on writing to.
    if path.absolute().is_relative_to("/dev") or path.absolute().is_relative_to(
        "/proc"
    ):
        return path.exists() and not path.is_dir()
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those a new file would get."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
