"""A run that is ready to go, and what every system's way to it needs."""

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from merclip_jax import declared
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.systems.describe import tuples
from merclip_jax.systems.system import System
from merclip_jax.training.optim import Optimiser
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights.part import Part

T = typing.TypeVar("T")
Groups = Mapping[str, tuple[type, ...]]


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is ready to go: what trains, on what, and what the card says of it.

    values: the config as a flat dict; start: Flax paths to the arrays that every member
    starts from; origins: all published weights that the run uses; remarks: on the
    values, for the card.
    """

    name: str
    recipe: str
    system: System
    optimiser: Optimiser
    clips: Clips
    data: DataOptions
    protocol: ProtocolOptions
    options: TrainOptions
    values: Mapping[str, object]
    start: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    origins: Sequence[Part] = ()
    remarks: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Method:
    """A system's way from a config to a job.

    groups: what the groups of its configs are made of; misfits: what does not go
    together across groups, each value by itself being sound; job: of a checked config
    and its clips.
    """

    groups: Groups
    misfits: Callable[[ConfigDict], list[str]]
    job: Callable[[ConfigDict, Clips], Job]


def flatten(config: ConfigDict) -> dict[str, object]:
    """A config as {"train.epochs": 55, ...}, tuples as lists."""
    # Through JSON: what a run's manifest holds is compared with it later.
    return json.loads(json.dumps(flatten_dict(config.to_dict(), sep=".")))


def options(kind: type[T], config: ConfigDict, group: str) -> T:
    """The dataclass that a group of the config is made of.

    Args:
        kind: the dataclass; a field that the group has not keeps its default.
        config: all of it, which `check` has seen.
        group: such as "data", "" for the keys outside of groups.
    """
    return declared.make(kind, values_of(kind, config, group))


def values_of(kind: type, config: ConfigDict, group: str) -> dict[str, object]:
    """The fields of a dataclass that a group of the config has.

    Args:
        kind: the dataclass.
        config: all of it.
        group: as in `options`.
    """
    given = config[group] if group else config
    names = [f.name for f in dataclasses.fields(kind) if f.name in given]
    return {name: tuples(given[name]) for name in names}


def remarks_of(config: ConfigDict) -> list[str]:
    """What is odd in values that a short trial may well have."""
    warm, epochs = config.optim.warmup_epochs, config.train.epochs
    if warm < epochs:
        return []
    return [
        f"The learning rate rises over {warm} epochs and training ends after {epochs}: "
        "it never came down."
    ]


def size_misfits(config: ConfigDict, patch: int) -> list[str]:
    """What is wrong with the size of the frames.

    Args:
        config: whose `data` and `model` have a size each.
        patch: pixels of a patch's side of that model.
    """
    if config.data.image_size % patch == 0:
        return []
    return [
        f"config.data.image_size={config.data.image_size}: expected a multiple of "
        f"{patch}, the patches of config.model.size={config.model.size!r}"
    ]


def attention_misfits(config: ConfigDict) -> list[str]:
    """What is wrong with an attention that some devices alone have."""
    found = []
    if config.model.attention == "cudnn" and config.model.dtype == "float32":
        found.append(
            "config.model.attention='cudnn' computes in bfloat16, and "
            "config.model.dtype='float32' asks for more; 'auto' takes both"
        )
    for attention, backend in (("cudnn", "gpu"), ("fused", "tpu")):
        if config.model.attention == attention and jax.default_backend() != backend:
            found.append(
                f"config.model.attention={attention!r}: there is no {backend.upper()} "
                "here; 'auto' runs anywhere"
            )
    return found
