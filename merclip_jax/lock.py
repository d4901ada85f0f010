"""One process at a time in a folder."""

import datetime
import fcntl
import os
import platform
from pathlib import Path

from merclip_jax.errors import UserError


def lock(path: Path, what: str) -> int:
    """Locks a file until it is closed, or the process ends.

    Args:
        path: of a file for this alone; it stays, and says who holds it.
        what: is going on under it, for the message to others.

    Returns:
        The open file, for `os.close`.

    Raises:
        UserError: another holds it, here or on another machine.
        OSError: the file cannot be made.
    """
    # Neither truncated before it is ours, nor through a link to somebody's file.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path, flags, 0o666)
    # The system lets go of it when the process ends, however it ends.
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(file, 200).decode(errors="replace") or "another process"
        os.close(file)
        raise UserError(
            f"{path.parent}: {what} is going on by {holder}; wait for it, stop it, or "
            "name another folder"
        ) from error
    except OSError:  # some network drives know no locks
        print(f"{path.parent}: this drive has no locks: start nothing else in it")
        return file
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    os.ftruncate(file, 0)
    os.write(file, f"process {os.getpid()} on {platform.node()} ({now})".encode())
    return file
