"""Signals that ask a command to stop: obeyed, whatever runs when they come."""

import signal

from merclip_jax.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 1.0  # seconds: time enough to close what is open
_MESSAGE = "stopped; the same command goes on"


def install() -> None:
    """Makes each of `SIGNALS` raise `Stopped` in the main thread."""
    for number in SIGNALS:
        # A hang-up that the caller ignores (nohup) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def obeyed() -> None:
    """Ends what `install` began; what comes now is too late and ignored."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, frame: object) -> None:
    """Raises, and raises again until it is heard.

    Python drops what is raised while it collects garbage or ends an object.
    """

    def again(*_: object) -> None:
        _stop(number, frame)

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise Stopped(number, _MESSAGE)
