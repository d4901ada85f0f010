"""What a path may be before it is opened: a folder of one's own, a regular file."""

import os
import stat
from pathlib import Path

from merclip_jax.errors import UserError


def expanded(path: str | os.PathLike) -> Path:
    """A path with its `~` written out; UserError for one of an unknown user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: no such user's folder ({error})") from error


def expect_regular(path: Path, *, absent: bool = False) -> None:
    """Raises UserError for what is no file to read from: a device would never end.

    Args:
        path: followed where it is a link.
        absent: whether it need not be there.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if absent and not path.is_symlink():
            return
        raise UserError(f"{path}: is not there, or leads nowhere") from error
    except OSError as error:  # a loop of links, a name too long
        raise UserError(f"{shortened(str(path))}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: expected a regular file")


def shortened(text: str, most: int = 300) -> str:
    """A text with the middle of a long one left out."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"
