"""Folders and files that appear whole or not at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from merclip_jax.errors import UserError


def write_whole(
    dst: Path, write: Callable[[Path], None], *, folder: bool, replace: bool = False
) -> None:
    """Write beside the destination and rename.

    Args:
        dst: the destination; an empty folder may be there already.
        write: fills the path that it is given.
        folder: whether it makes a folder.
        replace: whether an older `dst` gives way, once the new one is whole.

    Raises:
        UserError: `dst` is there already or cannot be written; nothing of it is left.
    """
    # An empty folder may be mounted or made beforehand: that is no loss.
    empty = folder and dst.is_dir() and not any(dst.iterdir())
    if dst.is_symlink() or (dst.exists() and not empty and not replace):
        raise UserError(f"{dst}: is there already; give another --dst or delete it")
    if empty and dst.samefile("."):
        raise UserError(f"{dst}: this command runs in it; give a --dst of its own")
    # In the same folder, so that the rename is atomic; hidden from globs.
    half = dst.with_name(f".{dst.name}.{os.getpid()}.tmp")
    try:
        write(half)
        if dst.is_dir():  # os.replace does not put a folder in place of a full one
            shutil.rmtree(dst) if replace else dst.rmdir()
        os.replace(half, dst)
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as one
        raise UserError(f"{dst}: could not be written ({error})") from error
    finally:
        if half.is_dir():
            shutil.rmtree(half, ignore_errors=True)
        else:
            half.unlink(missing_ok=True)
