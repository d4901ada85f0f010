"""How many members train at once: as many as the devices' memory holds."""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from merclip_jax.data.folds import Member
from merclip_jax.errors import UserError
from merclip_jax.systems.system import REMATS, Execution
from merclip_jax.training.stack import Plan, Stack

CPU_STACK = 12  # members a device on a CPU: more of them are no faster
SHARE = 0.8  # of a device's memory that a run may fill
GB = 1e9


class Stacks:
    """Stacks of a run by their size, each compiled once.

    Args:
        plan: of the run.
        members: all of it; the longest decide.
    """

    def __init__(self, plan: Plan, members: Sequence[Member]):
        self.plan, self.members = plan, members
        self._made: dict[int, Stack] = {}

    def of(self, size: int) -> Stack:
        """The stack of `size` members."""
        if size not in self._made:
            self._made[size] = Stack(self.plan, self.members, size)
        return self._made[size]

    def size(self) -> int:
        """Members trained at once: what the options say, or as many as fit in memory.

        The one program that is compiled is that of the first guess, if it fits and no
        more would.

        Raises:
            UserError: not even one fits; it says what would make it fit.
        """
        asked, limit = self.plan.options.stack, device_memory()
        if asked:
            size = min(asked, len(self.members))
            if self.used(size) > limit:
                raise UserError(self._too_large(size, limit))
            return size
        # On a CPU a full stack is the first guess. Elsewhere it is one member a device,
        # which tells the cost of one more: what all share, the clips, is known.
        on_cpu = jax.default_backend() == "cpu"
        most = CPU_STACK if on_cpu else len(self.members)
        size = self._even(CPU_STACK if on_cpu else 1)
        used, shared = self.used(size), _bytes(self.plan.store.held_shape)
        fit = int((limit - shared) / max((used - shared) / _each(size), 1))
        guess = self._even(min(max(fit, 1), most))
        if used > limit or guess > size:
            size = guess
        while self.used(size) > limit:
            if _each(size) == 1:
                raise UserError(self._too_large(size, limit))
            size = self._even(_each(size) - 1)
        self._made = {size: self._made[size]}
        return size

    def used(self, size: int) -> float:
        """Bytes a device that training `size` members needs; infinity for too many."""
        return _used(self.of(size))

    def _even(self, each: int) -> int:
        """Size of a stack of at most `each` members a device, all groups alike full."""
        devices, members = jax.device_count(), len(self.members)
        groups = -(-members // (each * devices))
        size = -(-members // groups)
        # Devices take whole members: a last place that is filled up costs nothing.
        return -(-size // devices) * devices if size > devices else size

    def _too_large(self, size: int, limit: float) -> str:
        """That a stack does not fit, and what would."""
        needed = self.used(size)
        much = "more" if math.isinf(needed) else f"{needed / GB:.1f} GB"
        text = (
            f"{size} {'member needs' if size == 1 else 'members need'} {much} of a "
            f"device's memory, and {limit / GB:.1f} GB may be filled"
        )
        for changes in _remedies(self.plan, size):
            options = dataclasses.replace(self.plan.options, **changes)
            plan = dataclasses.replace(
                self.plan,
                options=options,
                system=dataclasses.replace(
                    self.plan.system,
                    execution=Execution(options.remat, options.microbatch),
                ),
            )
            used = _used(Stack(plan, self.members, changes.get("stack", size)))
            if used <= limit:
                flags = " ".join(f"--config.train.{k}={v}" for k, v in changes.items())
                return f"{text}; with {flags} it is {used / GB:.1f} GB"
        return (
            f"{text}; a smaller --config.train.batch_size or model is needed, or "
            "smaller groups of clips that share statistics "
            "(--config.model.bn_group_size): --config.train.microbatch divides a batch "
            "into such groups"
        )


def device_memory() -> float:
    """Bytes of a device that a run may fill; on a CPU its part of what is free."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return SHARE * stats["bytes_limit"]
    return SHARE * _free_memory() / jax.local_device_count()


def _free_memory() -> int:
    """Bytes of the host that are free for this process."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = {line.split()[0]: line.split()[1] for line in lines}
        free = int(found["MemAvailable:"]) * 1024
    except (OSError, KeyError, ValueError, IndexError):  # not Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # A container may be allowed less than its host has.
    try:
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text())
        return min(free, most - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no such group, or no limit
        return free


def _used(stack: Stack) -> float:
    """Bytes a device that its training program needs; infinity where none compiles."""
    try:
        return float(stack.programs.memory().total)
    except jax.errors.JaxRuntimeError as error:
        # A TPU's compiler refuses what does not fit.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return math.inf


def _each(size: int) -> int:
    """Members of a stack on one device."""
    return -(-size // jax.device_count())


def _remedies(plan: Plan, size: int) -> Iterator[dict[str, object]]:
    """Changes that make room, those that cost least first."""
    options, together = plan.options, plan.system.together
    if size > 1:
        yield {"stack": 1}
    less = {"stack": 1} if size > 1 else {}
    if jax.device_count() > 1 and not options.fsdp:
        yield less | {"fsdp": True}
    # XLA's CPU backend keeps what is to be computed again (benchmarks/remat_cpu.py).
    if jax.default_backend() != "cpu":
        for remat in REMATS[REMATS.index(options.remat) + 1 :]:
            yield less | {"remat": remat}
        less |= {"remat": "blocks"}
    micro = options.microbatch or options.batch_size
    while together and micro % (2 * together) == 0:
        micro //= 2
        yield less | {"microbatch": micro}


def _bytes(shape: jax.ShapeDtypeStruct) -> int:
    return math.prod(shape.shape) * shape.dtype.itemsize
