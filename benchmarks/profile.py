"""Where a dispatch's time goes: a trace of the profiler, by operation and by part."""

import collections
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import jax

from benchmarks.hlo import FREE, Program, part_of


@dataclasses.dataclass(frozen=True)
class Operation:
    """What a device did under one name. seconds: all times together; label: whence."""

    name: str
    seconds: float
    times: int
    label: str


def operations(folder: str | Path, program: Program) -> list[Operation]:
    """What the devices did in a trace, the longest first.

    Args:
        folder: that `jax.profiler.start_trace` was given; its last trace is read.
        program: the compiled program's text, which knows where operations come from.
    """
    known = {i.name: i for body in program.computations.values() for i in body}
    seconds: collections.Counter = collections.Counter()
    times: collections.Counter = collections.Counter()
    last = max(Path(folder).rglob("*.xplane.pb"), key=lambda file: file.stat().st_mtime)
    # A kernel in a CUDA graph is known by its own name, which has no points.
    kernels = {re.sub(r"[.\-]", "_", name): name for name in known}
    for found, nanoseconds in _events(jax.profiler.ProfileData.from_file(str(last))):
        name = found if found in known else kernels.get(found, found)
        # What a loop or a branch runs is told on its own.
        if name not in known or known[name].kind not in FREE:
            seconds[name] += nanoseconds / 1e9
            times[name] += 1
    return [
        Operation(name, taken, times[name], known[name].label if name in known else "")
        for name, taken in seconds.most_common()
    ]


def _events(data) -> list[tuple[str, float]]:
    """(HLO instruction, or kernel where none is told; nanoseconds) of each event."""
    on_cards = any(plane.name.startswith("/device:") for plane in data.planes)
    found = []
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
                    found.append((name, event.duration_ns))
    return found


def table(
    found: Sequence[Operation], parts: Sequence[tuple[str, str]], top: int = 10
) -> list[str]:
    """Lines: the time of each part of the model, and the longest operations.

    Args:
        found: of `operations`.
        parts: as `Program.off_chip` takes them.
        top: operations that are listed.
    """
    total = sum(o.seconds for o in found)
    if not total:
        return ["  the trace holds no operation of a device"]
    sums: collections.Counter = collections.Counter()
    for o in found:
        sums[part_of(o.label, parts)] += o.seconds
    lines = [f"  {total * 1e3:.1f} ms in {sum(o.times for o in found)} operations"]
    lines += [f"    {s / total:6.1%}  {part}" for part, s in sums.most_common()]
    return lines + [
        f"    {o.seconds / total:6.1%}  {o.times:5d} x {o.name}  {o.label[-90:]}"
        for o in found[:top]
    ]
