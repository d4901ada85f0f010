"""What all command lines with absl's flags have in common."""

import sys
from types import ModuleType

from absl import app, flags

from merclip_jax import packaged
from merclip_jax.errors import UserError
from merclip_jax.printable import printable

_HELP = ("-h", "-help", "--help", "-helpshort", "--helpshort")


def parse(argv: list[str], module: ModuleType | None = None) -> list[str]:
    """Parses the flags; help that was asked for is printed and no failure.

    Absl prints the usage at once and ends with status 1, where a pipeline stops.

    Args:
        argv: the command line; `--config` may name a packaged one.
        module: whose help it is; None for the script that runs.
    """
    if any(arg in _HELP for arg in argv[1:]):
        module = module or sys.modules["__main__"]
        print(module.__doc__)
        print(flags.FLAGS.module_help(module))
        sys.exit(0)
    try:
        argv = packaged.found_in(argv)
    except UserError as error:
        sys.exit(printable(f"error: {error}"))
    return app.parse_flags_with_usage(argv)
