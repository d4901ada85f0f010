"""Folders and files that appear whole or not at all."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from merclip_jax.errors import UserError

_OLD = ".replaced"


def write_whole(
    dst: Path, write: Callable[[Path], None], *, folder: bool, replace: bool = False
) -> None:
    """Write beside the destination and rename.

    An older folder is moved aside and deleted when the new one is in its place. Who is
    killed between these two leaves both; the next writer puts the older one back.

    Args:
        dst: the destination; an empty folder may be there already.
        write: makes the file or folder at the path that it is given.
        folder: whether it makes a folder.
        replace: whether an older `dst` gives way, once the new one is whole.

    Raises:
        UserError: `dst` is there already or cannot be written; nothing of it is left.
    """
    try:
        if dst.parent.is_dir():
            _sweep(dst)
        # An empty folder may be mounted or made beforehand: that is no loss.
        empty = folder and dst.is_dir() and not any(dst.iterdir())
        if dst.is_symlink() or (dst.exists() and not empty and not replace):
            raise UserError(f"{dst}: is there already; give another --dst or delete it")
        if empty and dst.samefile("."):
            raise UserError(f"{dst}: this command runs in it; give a --dst of its own")
        dst.parent.mkdir(parents=True, exist_ok=True)
        with _room(dst) as room:
            half = room / dst.name
            write(half)
            # A full folder is never renamed over; a file and an empty folder are.
            if dst.is_dir() and not empty:
                os.rename(dst, room / _OLD)
            try:
                os.replace(half, dst)
            except OSError:
                if (room / _OLD).exists():
                    os.rename(room / _OLD, dst)
                raise
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as one
        raise UserError(f"{dst}: could not be written ({error})") from error


@contextlib.contextmanager
def _room(dst: Path) -> Iterator[Path]:
    """A hidden folder beside the destination, locked by its owner while it lives.

    In the same folder, so that the rename is atomic. Its name cannot be guessed.
    """
    room, lock = _locked(dst)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        os.close(lock)


def _locked(dst: Path) -> tuple[Path, int]:
    """A new hidden folder, and the open file that locks it."""
    while True:
        room = Path(
            tempfile.mkdtemp(prefix=f".{dst.name}.", suffix=".tmp", dir=dst.parent)
        )
        lock = os.open(room, os.O_RDONLY)
        with contextlib.suppress(OSError):  # some network drives know no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Before it was locked, another writer may have swept it as a dead one's.
        if room.is_dir():
            return room, lock
        os.close(lock)


def _sweep(dst: Path) -> None:
    """Clears what killed writers of the same destination left, and puts back."""
    for room in dst.parent.iterdir():
        if not (room.name.startswith(f".{dst.name}.") and room.name.endswith(".tmp")):
            continue
        if room.is_symlink() or not room.is_dir():
            continue
        lock = os.open(room, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            # Only a dead writer's: a living one holds its lock.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (room / _OLD).is_dir() and not dst.exists():
                os.rename(room / _OLD, dst)
            shutil.rmtree(room, ignore_errors=True)
        except OSError:  # a living one's, or a drive without locks
            continue
        finally:
            os.close(lock)
