"""Signals that ask a training to stop: noted here, obeyed behind a checkpoint."""

import contextlib
import signal
import threading

import jax
from jax.experimental import multihost_utils

from merclip_jax.stopping import SIGNALS


class Interrupts:
    """Notes signals that ask to stop while its block runs; a second one acts at once.

    Schedulers send SIGTERM and wait some seconds: enough to finish a dispatch and save.
    """

    def __init__(self):
        self.number = 0  # of the signal that came, 0 for none
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        # Python hands signals to the main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # nohup ignores hang-ups, and so does a run that it started.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self, *, saving: bool) -> int:
        """The signal by which to stop now, 0 for none.

        Args:
            saving: whether a checkpoint is due anyway. Several processes stop only
                there, together: one that went on would wait for the others for ever.
        """
        if jax.process_count() == 1:
            return self.number
        if not saving:
            return 0
        return int(multihost_utils.process_allgather(self.number).max())

    def _note(self, number: int, frame: object) -> None:
        if self.number:
            self.__exit__()
            before = self._before.get(number)
            if callable(before):
                before(number, frame)
            raise KeyboardInterrupt
        self.number = number
        with contextlib.suppress(OSError):  # the terminal may be what is gone
            name = signal.Signals(number).name
            print(
                f"\n{name}: finishing this dispatch, to save it; once more ends it",
                flush=True,
            )
