"""What build and doctor say on the terminal: only characters that are safe there."""

import os
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
    try:
        print(shown, file=stream, flush=True)
    except BrokenPipeError:
        # Its reader, such as `head`, has seen enough; the work goes on without it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
