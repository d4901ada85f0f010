"""Where in a file the sets of weights lie: trainers keep them among much else."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

import numpy as np

from merclip_jax.weights.formats.pickles import Damaged, Stub
from merclip_jax.weights.formats.tensors import Tensor, numpy_array

_DEPTH = 100  # of nests; the deepest that trainers make has five
_NODES = 200_000  # of one file
_LISTED = 16  # entries of a list that may hold weights: models in a row, no history
# Averages over a training, as words of names: of timm, VideoMAE, diffusers, YOLO, DINO.
_AVERAGED = re.compile(
    r"(?<![a-z])(ema\d*|averaged?|avg|swa|shadow|teacher|polyak)(?![a-z])|[a-z]E(MA|ma)\b",
)
# What holds tensors and no weights.
_BESIDE = re.compile(
    r"optim\w*|.*optimizer\w*|.*scheduler\w*|.*scaler\w*|amp|rng\w*|.*_rng_state|"
    r"random_\w*|param_groups",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, eq=False)
class WeightSet:
    """A table of tensors in a file.

    Attributes:
        names: under which it lies, () at the root.
        tensors: key -> array, or a `Tensor` that is not read yet.
        others: key -> what lies among the tensors and is none.
        averaged: whether its names, or its keys' prefix, say it is an average (EMA).
    """

    names: tuple[str, ...]
    tensors: Mapping[str, np.ndarray | Tensor]
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)
    averaged: bool = False

    @property
    def name(self) -> str:
        """What a user calls it: "state_dict", "ema.model"; "" for the whole file."""
        return ".".join(self.names)


def sets(found: object) -> list[WeightSet]:
    """All tables of tensors in what a file holds, in its order.

    Every object is looked at once, however often a file refers to it. What lies under
    the names of optimisers and their like is no set of weights.
    """
    tables = list(_walk(found))
    # mmengine puts the average in the place of the weights when it saves, and the
    # weights in the place of the average.
    names = [table.names for table in tables]
    meta = found.get("meta") if isinstance(found, Mapping) else None
    mmengine = isinstance(meta, Mapping) and "mmengine_version" in meta
    swapped = {("state_dict",): True, ("ema_state_dict",): False}
    if mmengine and set(swapped) <= set(names):
        tables = [
            dataclasses.replace(t, averaged=swapped.get(t.names, t.averaged))
            for t in tables
        ]
    return tables


def averaged(name: str) -> bool:
    """Whether a name says that weights are an average over a training."""
    return bool(_AVERAGED.search(name) or _AVERAGED.search(name.lower()))


def stubs(found: object) -> list[str]:
    """The classes that a file names and that nothing here knows, sorted."""
    return sorted({value.name for _, value in _nodes(found) if _is_stub(value)})


def _walk(found: object) -> Iterator[WeightSet]:
    for names, value in _nodes(found):
        tensors, others = _sorted(value)
        if tensors:
            # torch's AveragedModel counts what it averaged.
            mean = any(map(averaged, names)) or "n_averaged" in tensors
            yield WeightSet(names, tensors, others, mean)


def _nodes(found: object) -> Iterator[tuple[tuple[str, ...], object]]:
    """What may hold tensors, the root first, each once."""
    waiting, seen = [((), found)], set()
    while waiting:
        names, value = waiting.pop()
        if id(value) in seen or len(names) > _DEPTH:
            continue
        seen.add(id(value))
        if len(seen) > _NODES:
            raise Damaged(f"more than {_NODES} nested objects")
        yield names, value
        inner = _inside(value)
        # The stack is emptied from its end: the first of the file comes first.
        for key, item in reversed(inner.items()):
            held = isinstance(item, Mapping | Stub | list | tuple)
            if held and not _BESIDE.fullmatch(str(key)):
                waiting.append(((*names, str(key)), item))


def _inside(value: object) -> Mapping:
    """The entries of a dict, of a short list, or of an object of an unknown class."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list | tuple):
        return dict(enumerate(value)) if len(value) <= _LISTED else {}
    if not isinstance(value, Stub) or numpy_array(value) is not None:
        return {}
    if _is_module(value):
        return {}  # its parts are tensors of it, not sets of their own
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:  # with slots: (dict, dict)
        state = state[0] or state[1]
    return {**value.items, **(state if isinstance(state, dict) else {})}


def _sorted(value: object) -> tuple[dict, dict[str, str]]:
    """Tensors of a node, and what lies among them."""
    if _is_module(value):
        return dict(_module(value)), {}
    tensors, others = {}, {}
    for key, item in _inside(value).items():
        if isinstance(item, Stub) and (array := numpy_array(item)) is not None:
            item = array
        if isinstance(item, np.ndarray | Tensor) and isinstance(key, str):
            tensors[key] = item
        else:
            what = item.name if isinstance(item, Stub) else type(item).__name__
            others[str(key)] = f"a {what}, no tensor"
    return tensors, others


def _is_stub(value: object) -> bool:
    if not isinstance(value, Stub) or value.name.startswith("__torch__"):
        return False
    return not value.name.startswith(("numpy.", "torch.", "collections."))


def _is_module(value: object) -> bool:
    """Whether a stub is torch's Module, pickled whole or in a TorchScript archive."""
    if not isinstance(value, Stub) or not isinstance(value.state, dict):
        return False
    return value.name.startswith("__torch__") or "_modules" in value.state


def _module(root: Stub) -> Iterator[tuple[str, np.ndarray | Tensor]]:
    """The tensors of a module by dotted name, each module once."""
    waiting, seen = [("", root)], set()
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen or not _is_module(module):
            continue
        seen.add(id(module))
        state = module.state
        own = [state] + [state.get(of) for of in ("_parameters", "_buffers")]
        for entries in own:
            for name, value in (entries if isinstance(entries, dict) else {}).items():
                if isinstance(value, Tensor):
                    yield f"{prefix}{name}", value
        parts = state.get("_modules")
        for entries in (state, parts if isinstance(parts, dict) else {}):
            for name, value in reversed(entries.items()):
                if isinstance(value, Stub):
                    waiting.append((f"{prefix}{name}.", value))
