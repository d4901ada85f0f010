"""What build and doctor say on the terminal: only characters that are safe there."""

import sys

from merclip_jax.printable import printable


def say(text: str, *, aside: bool = False) -> None:
    """Prints a text that may hold names from tables and folders.

    Args:
        text: Lines of it.
        aside: Whether it goes to the standard error, as errors do.
    """
    stream = sys.stderr if aside else sys.stdout
    # A terminal of another encoding gets escapes for what it cannot show.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=stream)
