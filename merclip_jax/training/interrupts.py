"""Signals that ask a training to stop: noted here, obeyed behind a checkpoint."""

import contextlib
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from merclip_jax import processes
from merclip_jax.stopping import SIGNALS
from merclip_jax.typing import Array


class Interrupts:
    """Notes signals that ask to stop while its block runs; a second one acts at once.

    Schedulers send SIGTERM and wait some seconds: enough to finish a dispatch and save.
    Several processes stop together, one dispatch after the first of them was asked.
    """

    def __init__(self):
        self.number = 0  # of the signal that came, 0 for none
        self._before: dict[int, object] = {}
        self._told: Array | None = None  # by all processes, one dispatch ago

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

    def asked(self, *, now: bool = False) -> int:
        """The signal by which to stop, 0 for none; the same in all processes.

        Args:
            now: wait for what the others say. Else it is what they said at the call
                before: nobody waits in training, and all hear it at the same step.
        """
        if not processes.many():
            return self.number
        before, self._told = self._told, _largest(self.number)
        if now:
            before = self._told
        return 0 if before is None else int(jax.device_get(before))

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


def _largest(number: int) -> Array:
    """The largest number of all processes, as soon as the devices have found it."""
    everyone = Mesh(np.asarray(jax.devices()), ("all",), axis_types=(AxisType.Auto,))
    ours = np.full(jax.local_device_count(), number, np.int32)
    split, whole = NamedSharding(everyone, P("all")), NamedSharding(everyone, P())
    told = jax.make_array_from_process_local_data(split, ours)
    return jax.jit(jnp.max, out_shardings=whole)(told)
