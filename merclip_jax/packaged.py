"""Configs that came with the package, by name where no such file exists."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from merclip_jax.errors import UserError

# Beside this package, where it is installed as in a checkout.
_FOLDER = Path(__file__).parents[1] / "configs"
_FLAGS = ("config", "pretrain")  # that name a config
_SHARED = ("common", "synthetic", "fdp/base")  # what configs are made with


def names() -> list[str]:
    """All packaged configs, such as "fdp/casme2_5class"."""
    files = [path.relative_to(_FOLDER) for path in _FOLDER.rglob("[!_]*.py")]
    found = {file.with_suffix("").as_posix() for file in files}
    return sorted(found - set(_SHARED))


def find(config: str) -> str:
    """A config as it can be opened: a file that exists, else a packaged one.

    Args:
        config: "FILE[:argument]"; a packaged one may lack `configs/` and `.py`.

    Raises:
        UserError: there is neither; names the nearest.
    """
    file, colon, argument = config.partition(":")
    if Path(file).exists():
        return config
    name = file.removeprefix("configs/").removesuffix(".py")
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.5)
        meant = f"did you mean {', '.join(near)}?" if near else f"there are {known}"
        raise UserError(f"{file}: no such file, and no packaged config; {meant}")
    return f"{_FOLDER / name}.py{colon}{argument}"


def found_in(argv: Sequence[str]) -> list[str]:
    """A command line whose `--config` and `--pretrain` can be opened.

    Raises:
        UserError: as `find` does.
    """
    given, after = [], False
    for argument in argv:
        flag, equals, value = argument.partition("=")
        if after or (equals and flag.lstrip("-") in _FLAGS and flag[:1] == "-"):
            path = find(argument if after else value)
            argument = path if after else f"{flag}={path}"
        after = not after and argument.lstrip("-") in _FLAGS and argument[:1] == "-"
        given.append(argument)
    return given
