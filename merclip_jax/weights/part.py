"""The carriers of weights: a part with its provenance, and the parts of a source."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from merclip_jax.text.tokenizer import ClipTokenizer

# Apart, because the text tower is frozen and usually another file's.
PARTS = ("video", "text")


def _empty():
    return dataclasses.field(default_factory=dict)


# Frozen: each step makes a new part, so that what a source held stays what it held.
@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Arrays by Flax path, and what became of every array on the way here.

    One carrier from a file to the start of a training: `match.place` makes it of a
    file's arrays, `match.fit` gives it the shapes of a module, bundles keep it.

    Attributes:
        kind: one of PARTS.
        name: of the source, for errors.
        module: the numbers of the module that the arrays are of, its family among them.
        sources: the files it comes from: names, sizes, checksums.
        arrays: path -> array.
        used: path -> the file's keys that it was made of.
        changed: path -> how its numbers were changed.
        initialised: path -> why the file has nothing for it.
        dropped: the file's key -> why it is left aside.
        problems: what nobody can explain; a part with any is never used.
        unusable: paths whose array is among the problems.
        tokenizer: a text tower's own, where it lay with the weights.
    """

    kind: str = "video"
    name: str = ""
    module: Mapping[str, object] = _empty()
    sources: Sequence[Mapping] = ()
    arrays: Mapping[str, np.ndarray] = _empty()
    used: Mapping[str, Sequence[str]] = _empty()
    changed: Mapping[str, str] = _empty()
    initialised: Mapping[str, str] = _empty()
    dropped: Mapping[str, str] = _empty()
    problems: Sequence[str] = ()
    unusable: frozenset[str] = frozenset()
    tokenizer: ClipTokenizer | None = None

    def parameters(self, paths: Sequence[str] | None = None) -> int:
        """How many parameters lie under some paths, or all; BN statistics are none."""
        paths = self.arrays if paths is None else paths
        return sum(int(self.arrays[p].size) for p in paths if p.startswith("params/"))


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The parts that a file, a folder or several of them hold.

    Attributes:
        name: for errors.
        parts: by their kind.
        files: names, sizes and checksums of all files, those left aside among them.
        left: keys of files whose part came from another source -> why.
        tokenizer: the one that lay with the weights, even where no text tower did.
        system: what the trainer says of its model, of weights that it kept.
        context: path -> array, the constants that such a model reads beside a batch.
    """

    name: str
    parts: Mapping[str, Part] = _empty()
    files: Sequence[Mapping] = ()
    left: Mapping[str, str] = _empty()
    tokenizer: ClipTokenizer | None = None
    system: Mapping | None = None
    context: Mapping[str, np.ndarray] = _empty()

    @property
    def problems(self) -> list[str]:
        """What nobody can explain, over all parts."""
        return [problem for part in self.parts.values() for problem in part.problems]

    @property
    def modules(self) -> dict[str, Mapping]:
        """The numbers of every part's module."""
        return {kind: part.module for kind, part in self.parts.items()}
