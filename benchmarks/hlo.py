"""What a compiled program moves: bytes off chip and collectives, read from its text."""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
SIZES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_ARRAY = re.compile(r"\b(" + "|".join(SIZES) + r")\[([0-9,]*)\](\{[^}]*\})?")
_LINE = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "iota"}
FREE |= {"while", "conditional", "call", "after-all", "partition-id"}
_COLLECTIVES = re.compile(
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?"
)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of a computation. made: the types of its results; label: whence it is."""

    name: str
    made: str
    kind: str
    rest: str
    label: str


@dataclasses.dataclass(frozen=True)
class Collective:
    """What devices exchange.

    kind: such as "all-reduce"; bytes: of its results on one device; axes: of the mesh
    that it runs over; in_loop: whether every step does it; times: how often a call
    does; label: the operation that it serves.
    """

    kind: str
    bytes: int
    axes: tuple[str, ...]
    in_loop: bool
    times: int
    label: str


class Program:
    """A compiled module's text, read once."""

    def __init__(self, text: str):
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        current: list[Instruction] | None = None
        for line in text.split("\n"):
            if head := _HEAD.match(line):
                current = self.computations.setdefault(head[2], [])
                self.entry = head[2] if head[1] else self.entry
            elif line.startswith("}"):
                current = None
            elif current is not None and (found := _LINE.match(line)):
                label = re.search(r'op_name="([^"]*)"', line)
                current.append(Instruction(*found.groups(), label[1] if label else ""))
        self.fused = set(re.findall(r"calls=%?([\w.\-]+)", text))

    @property
    def instructions(self) -> int:
        """Instructions outside of fusions."""
        return sum(len(body) for _, body in self._outside())

    def off_chip(self, parts: Sequence[tuple[str, str]] = ()) -> Mapping[str, int]:
        """Bytes that instructions read and write in the chip's main memory.

        Operands and results of every instruction outside fusions, as often as its loop
        runs; arrays in on-chip memory, S(1), do not count. What is fetched ahead counts
        once, a slice its own bytes. Of a conditional's branches all count.

        Args:
            parts: (regular expression of a label, name) in order; all else is "other".
        """
        moved: collections.Counter = collections.Counter()
        for name, body in self._outside():
            made = {i.name: array_bytes(i.made) for i in body}
            for i in body:
                if i.kind in FREE or i.kind.endswith("-done"):
                    continue
                if i.kind == "copy-start":  # (to, from, context)
                    bytes_ = array_bytes(i.made)
                elif i.kind == "slice-start":  # ((whole), part, context)
                    own = i.made.partition("), ")[2]
                    bytes_ = array_bytes(own) + array_bytes(own, everywhere=True)
                else:
                    used = re.findall(r"%([\w.\-]+)", i.rest.split("), ")[0])
                    bytes_ = array_bytes(i.made) + sum(made.get(x, 0) for x in used)
                moved[part_of(i.label, parts)] += bytes_ * self.times[name]
        return moved

    def collectives(self, mesh: Mapping[str, int]) -> list[Collective]:
        """All that is exchanged.

        Args:
            mesh: axes and their lengths, in order.
        """
        found = []
        for name, body in self._outside():
            for i in body:
                if not (kind := _COLLECTIVES.fullmatch(i.kind)):
                    continue
                found.append(
                    Collective(
                        kind=kind[1],
                        bytes=array_bytes(i.made, everywhere=True),
                        axes=_axes(i.rest, mesh),
                        in_loop=name in self.looped,
                        times=self.times[name],
                        label=i.label,
                    )
                )
        return found

    @functools.cached_property
    def times(self) -> Mapping[str, int]:
        """How often a call runs each computation; a loop of unknown length counts 1."""
        times: collections.Counter = collections.Counter({self.entry: 1})
        for name in self._callers_first():
            for called, factor in self._calls(name):
                times[called] += times[name] * factor
        return times

    @functools.cached_property
    def looped(self) -> set[str]:
        """Computations that lie inside a loop."""
        inside: set[str] = set()
        for name in self._callers_first():
            for i in self.computations[name]:
                body = re.search(r"body=%?([\w.\-]+)", i.rest)
                if i.kind == "while" and body:
                    inside.add(body[1])
            if name in inside:
                inside |= {called for called, _ in self._calls(name)}
        return inside

    def _outside(self) -> Iterator[tuple[str, list[Instruction]]]:
        for name, body in self.computations.items():
            if name not in self.fused and self.times[name]:
                yield name, body

    def _calls(self, name: str) -> list[tuple[str, int]]:
        """Computations that one runs, and how often: not those that it fuses."""
        found = []
        for i in self.computations[name]:
            trips = 1
            if i.kind == "while":
                told = re.search(r'"known_trip_count":\{"n":"(\d+)"', i.rest)
                trips = int(told[1]) if told else 1
            keys = r"(?:body|to_apply|true_computation|false_computation|condition)"
            names = re.findall(keys + r"=%?([\w.\-]+)", i.rest)
            if branches := re.search(r"branch_computations=\{([^}]*)\}", i.rest):
                names += re.findall(r"%?([\w.\-]+)", branches[1])
            # What reduces or sorts is applied to elements: no call of its own.
            if i.kind in ("while", "conditional", "call", "async-start"):
                found += [(n, trips) for n in names if n in self.computations]
        return found

    def _callers_first(self) -> list[str]:
        order: list[str] = []
        seen: set[str] = set()

        def visit(name: str) -> None:
            if name not in seen:
                seen.add(name)
                for called, _ in self._calls(name):
                    visit(called)
                order.append(name)

        visit(self.entry)
        return order[::-1]


def part_of(label: str, parts: Sequence[tuple[str, str]]) -> str:
    """The first part whose regular expression is found in a label, or "other"."""
    return next((name for found, name in parts if re.search(found, label)), "other")


def array_bytes(types: str, *, everywhere: bool = False) -> int:
    """Bytes of the arrays of a type that lie in the main memory, or anywhere."""
    total = 0
    for name, dims, layout in _ARRAY.findall(types):
        if "S(1)" in layout and not everywhere:
            continue
        count = 1
        for d in filter(None, dims.split(",")):
            count *= int(d)
        total += count * SIZES[name]
    return total


def _axes(rest: str, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The axes of the mesh along which the devices of one group differ."""
    lengths = list(mesh.values())

    def place(device: int) -> tuple[int, ...]:
        found = []
        for n in reversed(lengths):
            device, i = divmod(device, n)
            found.append(i)
        return tuple(reversed(found))

    groups = [[place(d) for d in group] for group in _groups(rest, lengths)]
    return tuple(
        axis
        for k, axis in enumerate(mesh)
        if any(len({p[k] for p in group}) > 1 for group in groups)
    )


def _groups(rest: str, lengths: Sequence[int]) -> list[list[int]]:
    """Devices that exchange with one another."""
    count = 1
    for n in lengths:
        count *= n
    if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}", rest):
        return [
            [int(x) for x in pair.split(",")]
            for pair in re.findall(r"(\d+,\d+)", pairs[1])
        ]
    if listed := re.search(r"replica_groups=\{(\{.*?\})\}", rest):
        return [
            [int(x) for x in group.split(",")]
            for group in re.findall(r"\{([\d,]+)\}", listed[1])
        ]
    if named := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", rest):
        axes = dict(re.findall(r"('\w+')=(\d+)", named[1]))
        over = [x.split(":")[0] for x in re.findall(r"'\w+'", named[2])]
        ids = np.arange(count).reshape([int(n) for n in axes.values()])
        moved = [i for i, axis in enumerate(axes) if axis in over]
        kept = [i for i in range(ids.ndim) if i not in moved]
        size = math.prod(ids.shape[i] for i in moved)
        return ids.transpose(kept + moved).reshape(-1, size).tolist()
    iota = re.search(
        r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", rest
    )
    if iota:
        shape, dims = ([int(x) for x in iota[i].split(",")] for i in (1, 2))
        ids = np.arange(count).reshape(dims)
        if iota[3]:
            ids = ids.transpose([int(x) for x in iota[3].split(",")])
        return ids.reshape(shape).tolist()
    return [list(range(count))]
