"""Last words where C++ ends the process: JAX does, when its process 0 is gone."""

import ctypes
import os
import signal
from collections.abc import Callable

_kept: list[object] = []  # what C calls must not be collected


def install(last_words: Callable[[], object]) -> None:
    """Calls something where the process would abort.

    Python's handlers run in its main thread, which an abort in another does not wait
    for; so this one is C's, called by the thread that aborts.

    Args:
        last_words: ends the process if it knows why, else returns.
    """

    def handler(number: int) -> None:
        last_words()
        # Another reason: let it be told in its own way.
        signal_c(number, None)
        os.kill(os.getpid(), number)

    signal_c = ctypes.CDLL(None).signal
    signal_c.argtypes = [ctypes.c_int, ctypes.c_void_p]
    kept = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
    _kept.append(kept)
    signal_c(signal.SIGABRT, ctypes.cast(kept, ctypes.c_void_p))
