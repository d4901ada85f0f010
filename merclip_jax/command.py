"""What all command lines with absl's flags have in common."""

import sys

from absl import app, flags

_HELP = ("-h", "-help", "--help", "-helpshort", "--helpshort")


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; help that was asked for is printed and no failure.

    Absl prints the usage at once and ends with status 1, where a pipeline stops.
    """
    if any(arg in _HELP for arg in argv[1:]):
        module = sys.modules["__main__"]
        print(module.__doc__)
        print(flags.FLAGS.module_help(module))
        sys.exit(0)
    return app.parse_flags_with_usage(argv)
