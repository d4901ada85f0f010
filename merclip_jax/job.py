"""A run that is ready to go, and what a system's config is made of."""

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from merclip_jax import declared
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.scoring.au_task import EmotionClasses
from merclip_jax.systems.describe import tuples
from merclip_jax.systems.system import System
from merclip_jax.training.optim import Optimiser
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights.part import Part

T = typing.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is ready to go: what trains, on what, and what the card says of it.

    values: the config as a flat dict; start: Flax paths to the arrays that every member
    starts from; origins: all weights that the run uses; seen: datasets that these were
    trained on, by the config; remarks: on the values, for the card; emotions: tasks
    that a system's AUs are read for.
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
    seen: Sequence[str] = ()
    remarks: Sequence[str] = ()
    emotions: Sequence[tuple[str, EmotionClasses]] = ()


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
    return declared.make(kind, values(kind, config, group))


@dataclasses.dataclass(frozen=True)
class Making:
    """How a system is made of a config.

    groups: group -> the dataclasses it is made of, "" for the keys outside of groups;
    job: config and clips to a run; misfits: what does not go together across groups,
    each value by itself being sound.
    """

    groups: Mapping[str, tuple[type, ...]]
    job: Callable[[ConfigDict, Clips], Job]
    misfits: Callable[[ConfigDict], list[str]]


def values(kind: type, config: ConfigDict, group: str) -> dict[str, object]:
    """The fields of a dataclass that a group of the config has."""
    given = config[group] if group else config
    names = [f.name for f in dataclasses.fields(kind) if f.name in given]
    return {name: tuples(given[name]) for name in names}


def problems(kind: type, config: ConfigDict, group: str) -> list[str]:
    """All that is wrong with a dataclass's values; those that go together come last."""
    prefix = f"config.{group}." if group else "config."
    given = values(kind, config, group)
    if found := declared.problems(kind, given):
        return [f"{prefix}{name}={text}" for name, text in found.items()]
    try:
        declared.make(kind, given)
    except ValueError as error:
        return [f"{prefix}{error}"]
    return []
