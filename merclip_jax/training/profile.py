"""A profiler trace of some steps, for TensorBoard or Perfetto."""

import jax

from merclip_jax.training.workdir import Workdir
from merclip_jax.typing import Array


class Profile:
    """One trace of the dispatches that hold steps first..last of the first group."""

    def __init__(self, steps: tuple[int, ...], workdir: Workdir):
        self._steps = steps if workdir.writes else ()
        self._folder = workdir.path / "profile"
        self._running = False

    def start(self, first: int, last: int) -> None:
        """Begin to trace if a dispatch of these steps holds one that is asked for."""
        asked = self._steps and last >= self._steps[0] and first <= self._steps[1]
        if asked and not self._running:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def stop(self, last: int, results: dict[str, Array]) -> None:
        """End the trace behind the last asked step, once its results are there."""
        if self._running and last >= self._steps[1]:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """End a trace that is running, and trace no more."""
        if self._running:
            jax.profiler.stop_trace()
            self._running, self._steps = False, ()
