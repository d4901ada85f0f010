"""What a group's training says of every epoch, on the terminal and in files."""

import resource
import time

import jax

from merclip_jax.training.history import History
from merclip_jax.training.rates import data_sheet, matmul_rate
from merclip_jax.training.stack import Stack
from merclip_jax.training.step import SCALARS
from merclip_jax.training.waits import Waits
from merclip_jax.training.workdir import Workdir


class EpochLog:
    """Finished epochs to the terminal and to the workdir, each once.

    Args:
        stack: of the members.
        name: of the group.
        history: of its members.
        workdir: whose scalars are written.
        waits: for the batches.
    """

    def __init__(
        self, stack: Stack, name: str, history: History, workdir: Workdir, waits: Waits
    ):
        self.plan, self.name, self.history = stack.plan, name, history
        self.waits, self.waited = waits, 0.0
        self.devices = stack.mesh.size
        self.flops = stack.flops / stack.plan.options.batch_size  # of a clip
        self.matmul = matmul_rate()  # measured before the clock starts
        self.workdir, self.epoch = workdir, history.epochs_done()
        self.writer = workdir.scalars(name, resume_at=self.epoch)
        self.started = self.when = time.monotonic()
        self.steps = self._steps()
        self.clips = self.began = self._clips()

    def write_new(self) -> None:
        """Write the epochs that were finished since the last call."""
        done = self.history.epochs_done()
        if self.epoch == done:
            return
        speed = self._speed()
        while self.epoch < done:
            line = self.history.epoch(self.epoch)
            self.writer.write(self.epoch, line | speed)
            self.workdir.say(self._line(line, speed))
            self.epoch += 1

    def learned(self) -> int:
        """Clips that were learned from since this object was made."""
        return self._clips() - self.began

    def close(self) -> None:
        """Close the files."""
        self.writer.close()

    def _speed(self) -> dict[str, float]:
        """Steps and clips a second of the whole stack since the last epoch.

        The first ones hold the time of compiling.
        """
        now, steps, clips = time.monotonic(), self._steps(), self._clips()
        seconds = max(now - self.when, 1e-9)
        rate = (clips - self.clips) / seconds
        flops = rate * self.flops / self.devices / 1e12
        speed = {
            "speed/steps_per_s": (steps - self.steps) / seconds,
            "speed/clips_per_s": rate,
            "speed/tflops_per_s_and_device": flops,
            "speed/share_of_measured_matmul": flops / self.matmul,
            # While the loop waits for clips its device may still be at work: at most.
            "speed/share_waiting_for_clips": self._waited() / seconds,
            "memory/peak_gb": _peak_memory() / 1e9,
        }
        if sheet := data_sheet(jax.devices()[0].device_kind):
            speed["speed/mfu"] = flops / sheet  # of the maker's data sheet
        self.when, self.steps, self.clips = now, steps, clips
        return speed

    def _waited(self) -> float:
        """Seconds for which the loop waited since this was last asked."""
        before, self.waited = self.waited, self.waits.seconds
        return self.waited - before

    def _steps(self) -> int:
        return int(self.history.arrays["steps"])

    def _clips(self) -> int:
        """Clips that were learned from: no repeated member, none that is done."""
        stacked = self.history.stacked
        steps = {m.name: min(self._steps(), self.plan.steps(m)) for m in stacked}
        return sum(steps.values()) * self.plan.options.batch_size

    def _line(self, line: dict[str, float], speed: dict[str, float]) -> str:
        shown = [
            f"{s.name} {line[s.name]:{s.format}}"
            for s in (*self.plan.system.scalars, *SCALARS)
            if s.format
        ]
        epochs = self.history.epochs.max()
        head = f"{self.name} epoch {self.epoch + 1:>3}/{epochs}"
        tail = f"{speed['speed/clips_per_s']:.3g} clips/s"
        tail += f" ({speed['speed/share_of_measured_matmul']:.0%} of matmul"
        tail += f", wait {speed['speed/share_waiting_for_clips']:.0%})"
        tail += f"  {time.monotonic() - self.started:.0f} s"
        return "  ".join([head, *shown, tail])


def _peak_memory() -> int:
    """Most bytes of a device that were in use; on a CPU, of this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
