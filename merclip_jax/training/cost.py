"""What a training costs: seconds, clips learned from, energy where a meter tells."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

_RAPL = Path("/sys/class/powercap")


class Meter:
    """Counts from when it is made: seconds, and joules of the devices that tell."""

    def __init__(self):
        self._started = time.monotonic()
        self._energy = joules()

    def read(self, clips: int) -> dict[str, object]:
        """The cost until now, as plain JSON values.

        Args:
            clips: that were learned from in the meantime.
        """
        used = None
        if self._energy is not None and (now := joules()) is not None:
            # A counter of a processor starts again at 0 after some hours.
            used = now - self._energy if now >= self._energy else None
        seconds = time.monotonic() - self._started
        return {"seconds": seconds, "clips": clips, "joules": used}


def joules() -> float | None:
    """Energy that this host's GPUs, or its processors, have used so far.

    None where no meter can be read: NVIDIA's needs the package nvidia-ml-py, Linux's
    of processors the right to read it. Memory, fans and other hosts are not in it.
    """
    return _gpus() if jax.default_backend() == "gpu" else _processors()


def summary(costs: Sequence[Mapping[str, object]], *, seconds: float) -> dict:
    """What a card says of the cost.

    Args:
        costs: what `Meter.read` said, command after command.
        seconds: that the last command took, scoring included.
    """
    trained = sum(cost["seconds"] for cost in costs)
    clips = sum(cost["clips"] for cost in costs)
    used = [cost["joules"] for cost in costs]
    known = bool(used) and None not in used
    return {
        "training_hours": round(trained / 3600, 4),
        "clips": clips,
        "clips_per_second": round(clips / trained, 3) if trained else None,
        "energy_kwh": round(sum(used) / 3.6e6, 6) if known else None,
        "seconds_this_command": round(seconds, 1),
        **hardware(),
    }


def hardware() -> dict[str, object]:
    """The devices and the host, for people."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(pages / 1e9, 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> float | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = map(
            pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount())
        )
        used = [pynvml.nvmlDeviceGetTotalEnergyConsumption(each) for each in handles]
    except Exception:  # not installed, no driver, a card that does not tell
        return None
    return sum(used) / 1e3


def _processors() -> float | None:
    try:
        # Packages alone: "intel-rapl:0:1" is a part of "intel-rapl:0".
        found = [
            int((folder / "energy_uj").read_text())
            for folder in sorted(_RAPL.glob("*-rapl:*"))
            if folder.name.count(":") == 1
        ]
    except (OSError, ValueError):
        return None
    return sum(found) / 1e6 if found else None
