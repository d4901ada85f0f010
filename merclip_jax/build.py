"""From a config to the values that pieces take; nothing below reads a ConfigDict."""

import dataclasses
import difflib
import json
import typing
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from merclip_jax import declared
from merclip_jax.augment.clips import Augmentation
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.naming import RunOptions
from merclip_jax.systems.describe import tuples
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Execution, System
from merclip_jax.text.prompts import PromptOptions
from merclip_jax.text.table import TextTower
from merclip_jax.text.wording import Wording
from merclip_jax.training.optim import AdamWOptions, Optimiser, adamw
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights import load as weights
from merclip_jax.weights.options import InitOptions
from merclip_jax.weights.part import Part

T = typing.TypeVar("T")


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
    return declared.make(kind, _values(kind, config, group))


def clips(config: ConfigDict) -> Clips:
    """The clips of the config's task, as its system sees them."""
    check(config)
    data = options(DataOptions, config, "data")
    return load_clips(data, options(View, config, "data"))


def check(config: ConfigDict) -> None:
    """Compares every key with what its dataclass declares, before any work.

    Raises:
        UserError: that lists all keys with a value that cannot be.
    """
    if not isinstance(config, ConfigDict):
        expected = "a ConfigDict as configs/common.py makes it"
        try:
            # What stands for a file that cannot be loaded says why when it is asked.
            raise UserError(f"the config: expected {expected}, found {config.data!r}")
        except (OSError, AttributeError, TypeError) as error:
            raise UserError(f"the config: expected {expected} ({error})") from error
    if found := _unknown_keys(config):
        raise UserError("\n".join(found))
    found = [
        problem
        for group, kinds in GROUPS.items()
        for kind in kinds
        for problem in _problems(kind, config, group)
    ]
    if found := found or _misfits(config):
        raise UserError("\n".join(found))


def _unknown_keys(config: ConfigDict) -> list[str]:
    """Groups that lack or are none, and keys that nothing would read."""
    found = []
    for group in filter(None, GROUPS):
        if not isinstance(config.get(group), ConfigDict):
            found.append(f"config.{group}: expected the group of configs/common.py")
    for group, kinds in GROUPS.items():
        fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
        given = config.get(group) if group else config
        known = fields if group else fields | GROUPS.keys()
        for name in given if isinstance(given, ConfigDict) else ():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                found.append(
                    f"config.{group and group + '.'}{name}: no such key{meant}"
                )
    return found


def _misfits(config: ConfigDict) -> list[str]:
    """What does not go together across groups; each value by itself is sound."""
    found = []
    batch, group = config.train.batch_size, config.model.bn_group_size
    if group and batch % group:
        found.append(
            f"config.model.bn_group_size={group} does not divide a batch of {batch}"
        )
    pixels, patch = config.data.image_size, SIZES[config.model.size].patch_size
    if pixels % patch:
        found.append(
            f"config.data.image_size={pixels}: expected a multiple of {patch}, the "
            f"patches of config.model.size={config.model.size!r}"
        )
    micro = config.train.microbatch
    together = options(MerClipOptions, config, "model").together
    if micro and (not together or micro % together):
        found.append(
            f"config.train.microbatch={micro}: BatchNorm's statistics are of "
            f"{group or batch} clips, more than are in the model at a time; set "
            f"config.model.bn_group_size to {micro} or a divisor of it"
        )
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


def _values(kind: type, config: ConfigDict, group: str) -> dict[str, object]:
    """The fields of a dataclass that a group of the config has."""
    given = config[group] if group else config
    names = [f.name for f in dataclasses.fields(kind) if f.name in given]
    return {name: tuples(given[name]) for name in names}


def _problems(kind: type, config: ConfigDict, group: str) -> list[str]:
    """All that is wrong with a dataclass's values; those that go together come last."""
    prefix = f"config.{group}." if group else "config."
    values = _values(kind, config, group)
    if found := declared.problems(kind, values):
        return [f"{prefix}{name}={text}" for name, text in found.items()]
    try:
        declared.make(kind, values)
    except ValueError as error:
        return [f"{prefix}{error}"]
    return []


def job(config: ConfigDict, clips: Clips) -> Job:
    """Everything that a run of the config needs.

    Args:
        config: all of it.
        clips: of `clips(config)`, or changed ones.
    """
    check(config)
    return SYSTEMS[config.system](config, clips)


def mer_clip(config: ConfigDict, clips: Clips) -> Job:
    """A run of MER-CLIP."""
    init = options(InitOptions, config, "init")
    size = SIZES[config.model.size]
    text = weights.load_tower(
        size, text=init.text, merclip=init.merclip, weights=init.weights
    )
    tower = None
    if text:
        module, variables = weights.text_tower(text, size)
        tower = TextTower(module, variables, text.tokenizer)
    system = MerClip(
        classes=clips.classes,
        epochs=config.train.epochs,
        view=clips.view,
        model=options(MerClipOptions, config, "model"),
        loss_options=options(LossOptions, config, "loss"),
        augmentation=options(Augmentation, config, "augment"),
        prompting=options(PromptOptions, config, "text"),
        wording=options(Wording, config, "text"),
        execution=Execution(config.train.remat, config.train.microbatch),
        tower=tower,
    )
    video = weights.load_start(system.module, system.view.shape, init)
    return Job(
        name=config.name,
        recipe=config.recipe,
        system=system,
        optimiser=adamw(
            options(AdamWOptions, config, "optim"), epochs=config.train.epochs
        ),
        clips=clips,
        data=options(DataOptions, config, "data"),
        protocol=options(ProtocolOptions, config, "protocol"),
        options=options(TrainOptions, config, "train"),
        values=flatten(config),
        remarks=_remarks(config),
        # The text tower is frozen: it makes the context, members start as the video.
        start=video.arrays if video else {},
        origins=[part for part in (video, text) if part],
    )


def _remarks(config: ConfigDict) -> list[str]:
    """What is odd in values that a short trial may well have."""
    warm, epochs = config.optim.warmup_epochs, config.train.epochs
    if warm < epochs:
        return []
    return [
        f"The learning rate rises over {warm} epochs and training ends after {epochs}: "
        "it never came down."
    ]


# What a config's groups are made of, and each system's way from a config to a job.
GROUPS: dict[str, tuple[type, ...]] = {
    "": (RunOptions,),
    "data": (DataOptions, View),
    "init": (InitOptions,),
    "text": (PromptOptions, Wording),
    "model": (MerClipOptions,),
    "loss": (LossOptions,),
    "optim": (AdamWOptions,),
    "augment": (Augmentation,),
    "train": (TrainOptions,),
    "protocol": (ProtocolOptions,),
}
SYSTEMS: dict[str, Callable[[ConfigDict, Clips], Job]] = {"mer_clip": mer_clip}
