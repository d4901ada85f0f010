"""Compiled programs kept between runs: minutes of compiling, once for each machine."""

import os
import stat
from pathlib import Path

import jax

from merclip_jax.errors import UserError

MOST = 10 * 2**30  # bytes; the programs that were not used for longest go first


def default_folder() -> Path:
    """Where the user's programs lie: in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "merclip_jax" / "programs"


def use(folder: Path) -> None:
    """Read compiled programs from a folder, and keep new ones there.

    Args:
        folder: made where it is missing, for this user alone: what lies in it is run.

    Raises:
        UserError: it is no folder, another user's, or others may write to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise UserError(
            f"{folder}: no folder for compiled programs ({error.strerror}); name "
            "another with --compile_cache, or none with --compile_cache="
        ) from error
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if found.st_uid != os.getuid() or writable:
        raise UserError(
            f"{folder}: compiled programs are run as they are, and others may write to "
            "this folder; make it yours alone (chmod 700), name another with "
            "--compile_cache, or none with --compile_cache="
        )
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MOST)
