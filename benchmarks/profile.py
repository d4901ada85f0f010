"""Where a dispatch's time goes: a trace of the profiler, by operation and by part."""

import collections
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from benchmarks.hlo import FREE, Program, part_of

# Kernels of libraries, which do not tell what they were called for.
LIBRARIES = (
    (r"nvjet|cublas|gemm|cutlass", "products, by cuBLAS"),
    (r"cudnn", "attention, by cuDNN"),
    (r"^depthwise", "depthwise taps, by our kernels"),
    (r"^Mem(cpy|set)|^memcpy", "copies"),
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """What a device did under one name. seconds: all times together; label: whence."""

    name: str
    seconds: float
    times: int
    label: str


@dataclasses.dataclass(frozen=True)
class Trace:
    """What the devices did, the longest first. seconds: from first to last."""

    operations: Sequence[Operation]
    seconds: float

    @classmethod
    def read(cls, folder: str | Path, program: Program) -> "Trace":
        """The last trace of a folder.

        Args:
            folder: that `jax.profiler.start_trace` was given.
            program: the compiled program, which knows where operations come from.
        """
        files = Path(folder).rglob("*.xplane.pb")
        last = max(files, key=lambda file: file.stat().st_mtime)
        events = list(_events(jax.profiler.ProfileData.from_file(str(last))))
        known = {i.name: i for body in program.computations.values() for i in body}
        # A kernel's name is that of its instruction, without points.
        kernels = {re.sub(r"[.\-]", "_", name): name for name in known}
        seconds: collections.Counter = collections.Counter()
        times: collections.Counter = collections.Counter()
        for found, _, duration in events:
            name = found if found in known else kernels.get(found, found)
            # What a loop or a branch runs is told on its own.
            if name not in known or known[name].kind not in FREE:
                seconds[name] += duration / 1e9
                times[name] += 1
        labels = {name: i.label for name, i in known.items()}
        made = [
            Operation(name, taken, times[name], labels.get(name, ""))
            for name, taken in seconds.most_common()
        ]
        first = min((start for _, start, _ in events), default=0)
        end = max((start + duration for _, start, duration in events), default=0)
        return cls(made, (end - first) / 1e9)

    def table(self, parts: Sequence[tuple[str, str]], *, top: int) -> list[str]:
        """Lines: the time of each part of the model, and the longest operations.

        Args:
            parts: as `Program.off_chip` takes them.
            top: operations that are listed.
        """
        total = sum(o.seconds for o in self.operations)
        if not total:
            return ["  the trace holds no operation of a device"]
        sums: collections.Counter = collections.Counter()
        for o in self.operations:
            part = part_of(o.label, parts) if o.label else part_of(o.name, LIBRARIES)
            sums[part] += o.seconds
        count = sum(o.times for o in self.operations)
        lines = [
            f"  {total * 1e3:.1f} ms in {count} operations, of "
            f"{self.seconds * 1e3:.1f} ms from first to last"
        ]
        lines += [f"    {s / total:6.1%}  {part}" for part, s in sums.most_common()]
        return lines + [
            f"    {o.seconds / total:6.1%}  {o.times:5d} x {o.name[:60]}  "
            f"{o.label[-90:]}"
            for o in self.operations[:top]
        ]


def _events(data) -> Iterator[tuple[str, float, float]]:
    """(HLO instruction, or kernel where none is told; start; nanoseconds)."""
    on_cards = any(plane.name.startswith("/device:") for plane in data.planes)
    for plane in data.planes:
        # Without a card the host is the device: only there do its events say an HLO.
        if on_cards and not plane.name.startswith("/device:"):
            continue
        for line in plane.lines:
            # Lines of a TPU or GPU that sum up what others hold.
            if line.name in ("Steps", "XLA Modules", "Framework Ops", "Source code"):
                continue
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats or on_cards:
                    name = str(stats.get("hlo_op", event.name))
                    # What a CUDA graph runs is known by the names of its kernels.
                    if name.startswith("command_buffer"):
                        name = event.name
                    yield name, event.start_ns, event.duration_ns
