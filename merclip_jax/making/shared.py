"""What the makings of systems share."""

from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.job import Job, flatten, options
from merclip_jax.models.mer_clip import Size
from merclip_jax.scoring.au_task import EmotionClasses
from merclip_jax.systems.system import System
from merclip_jax.text.table import TextTower
from merclip_jax.training.optim import Optimiser
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights import load as weights
from merclip_jax.weights.part import Part


def run_of(
    config: ConfigDict,
    clips: Clips,
    system: System,
    optimiser: Optimiser,
    *,
    start: Part | None,
    text: Part | None = None,
    remarks: Sequence[str] = (),
    emotions: Sequence[tuple[str, EmotionClasses]] = (),
) -> Job:
    """A run of a system that is made.

    Args:
        config: all of it.
        clips: as the config's view shows them.
        system: what trains.
        optimiser: how.
        start: what every member starts from, None for random weights.
        text: weights of a frozen text tower, which make the context alone.
        remarks: on the config's values.
        emotions: tasks that a system's AUs are read for.
    """
    return Job(
        name=config.name,
        recipe=config.recipe,
        system=system,
        optimiser=optimiser,
        clips=clips,
        data=options(DataOptions, config, "data"),
        protocol=options(ProtocolOptions, config, "protocol"),
        options=options(TrainOptions, config, "train"),
        values=flatten(config),
        start=start.arrays if start else {},
        origins=[part for part in (start, text) if part],
        seen=tuple(config.init.get("seen", ())),
        remarks=remarks,
        emotions=emotions,
    )


def tower_of(text: Part | None, size: Size) -> TextTower | None:
    """The text tower of some weights, None for a random one.

    Args:
        text: its weights and tokenizer.
        size: for which.
    """
    if text is None:
        return None
    module, variables = weights.text_tower(text, size)
    return TextTower(module, variables, text.tokenizer)


def rate_remarks(config: ConfigDict) -> list[str]:
    """What is odd in a learning rate that a short trial may well have."""
    warm, epochs = config.optim.warmup_epochs, config.train.epochs
    if warm < epochs:
        return []
    return [
        f"The learning rate rises over {warm} epochs and training ends after {epochs}: "
        "it never came down."
    ]


def patch_misfits(config: ConfigDict, patch: int) -> list[str]:
    """Whether pictures divide into patches of so many pixels."""
    pixels = config.data.image_size
    if pixels % patch == 0:
        return []
    return [
        f"config.data.image_size={pixels}: expected a multiple of {patch}, the "
        f"patches of config.model.size={config.model.size!r}"
    ]


def attention_misfits(config: ConfigDict) -> list[str]:
    """Whether the attention that is asked for can run here."""
    found, attention = [], config.model.attention
    if attention == "cudnn" and config.model.dtype == "float32":
        found.append(
            "config.model.attention='cudnn' computes in bfloat16, and "
            "config.model.dtype='float32' asks for more; 'auto' takes both"
        )
    for kernel, backend in (("cudnn", "gpu"), ("fused", "tpu")):
        if attention == kernel and jax.default_backend() != backend:
            found.append(
                f"config.model.attention={attention!r}: there is no {backend.upper()} "
                "here; 'auto' runs anywhere"
            )
    return found
