"""What a group's training says of every epoch, on the terminal and in files."""

import time

from tqdm import tqdm

from merclip_jax.training.history import History
from merclip_jax.training.stack import Plan
from merclip_jax.training.step import SCALARS
from merclip_jax.training.workdir import Workdir


class EpochLog:
    """Finished epochs to the terminal and to the workdir, each once.

    Args:
        plan: of the run.
        name: of the group.
        history: of its members.
        workdir: whose scalars are written.
    """

    def __init__(self, plan: Plan, name: str, history: History, workdir: Workdir):
        self.plan, self.name, self.history = plan, name, history
        self.epoch = history.epochs_done()
        self.writer = workdir.scalars(name, resume_at=self.epoch)
        self.started = self.when = time.monotonic()
        self.steps = self._steps()
        self.clips = self._clips()

    def write_new(self) -> None:
        """Write the epochs that were finished since the last call."""
        done = self.history.epochs_done()
        if self.epoch == done:
            return
        speed = self._speed()
        while self.epoch < done:
            line = self.history.epoch(self.epoch)
            self.writer.write(self.epoch, line | speed)
            tqdm.write(self._line(line, speed))
            self.epoch += 1

    def close(self) -> None:
        """Close the files."""
        self.writer.close()

    def _speed(self) -> dict[str, float]:
        """Steps and clips a second of the whole stack since the last epoch.

        The first ones hold the time of compiling.
        """
        now, steps, clips = time.monotonic(), self._steps(), self._clips()
        seconds = max(now - self.when, 1e-9)
        speed = {
            "speed/steps_per_s": (steps - self.steps) / seconds,
            "speed/clips_per_s": (clips - self.clips) / seconds,
        }
        self.when, self.steps, self.clips = now, steps, clips
        return speed

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
        tail = f"{speed['speed/clips_per_s']:.0f} clips/s"
        tail += f"  {time.monotonic() - self.started:.0f} s"
        return "  ".join([head, *shown, tail])
