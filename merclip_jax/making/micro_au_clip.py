"""A detector of AUs after Micro-AU CLIP of a config."""

from ml_collections import ConfigDict

from merclip_jax.augment.points import PointAugmentation
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.job import Job, Making, options
from merclip_jax.losses.au import AULossOptions
from merclip_jax.making.shared import (
    attention_misfits,
    patch_misfits,
    rate_remarks,
    run_of,
    tower_of,
)
from merclip_jax.models.clip_vit import SIZES
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.naming import AURunOptions
from merclip_jax.scoring.au_task import AUScoreOptions
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.systems.system import Execution
from merclip_jax.training.finetune import FinetuneOptions, finetune
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights import load as weights
from merclip_jax.weights.families.numbers import by_path
from merclip_jax.weights.options import ClipInitOptions


def job(config: ConfigDict, clips: Clips) -> Job:
    """A run of the detector.

    Args:
        config: all of it.
        clips: as the config's view shows them.
    """
    init = options(ClipInitOptions, config, "init")
    model = options(MicroAUOptions, config, "model")
    score = options(AUScoreOptions, config, "score")
    size = SIZES[model.size]
    text = weights.load_text(init.text, size) if init.text else None
    system = MicroAuClip(
        view=clips.view,
        model=model,
        loss_options=options(AULossOptions, config, "loss"),
        augmentation=options(PointAugmentation, config, "augment"),
        execution=Execution(config.train.remat),
        tower=tower_of(text, size),
        threshold=score.threshold,
    )
    start = None
    if init.vision:
        shapes = by_path(system.shapes())
        start = weights.load_clip(init.vision, shapes, weights=init.weights)
    optimiser = finetune(
        options(FinetuneOptions, config, "optim"),
        epochs=config.train.epochs,
        frozen=model.frozen,
    )
    return run_of(
        config,
        clips,
        system,
        optimiser,
        start=start,
        text=text,
        remarks=[*rate_remarks(config), *_still_remarks(model, init)],
        emotions=score.emotions,
    )


def _still_remarks(model: MicroAUOptions, init: ClipInitOptions) -> list[str]:
    """Whether what never learns came from nowhere."""
    if init.vision or not model.frozen:
        return []
    return [
        "The frozen blocks of the image tower have random weights: no init.vision was "
        "given."
    ]


def _misfits(config: ConfigDict) -> list[str]:
    """What does not go together across groups; each value by itself is sound."""
    found = patch_misfits(config, SIZES[config.model.size].patch_size)
    if config.data.sampling != "onset_apex":
        found.append(
            f"config.data.sampling={config.data.sampling!r}: a detector of AUs sees "
            "'onset_apex'"
        )
    if (config.model.input == "flow") != config.data.flow:
        found.append(
            f"config.data.flow={config.data.flow} does not go with config.model.input="
            f"{config.model.input!r}"
        )
    if config.score.threshold == "inner" and config.protocol.selection != "inner":
        found.append(
            "config.score.threshold='inner' chooses on subjects that are held out of "
            "training: it goes with config.protocol.selection='inner' and "
            "config.protocol.inner_subjects"
        )
    return found + attention_misfits(config)


MICRO_AU_CLIP = Making(
    groups={
        "": (AURunOptions,),
        "data": (DataOptions, View),
        "init": (ClipInitOptions,),
        "model": (MicroAUOptions,),
        "loss": (AULossOptions,),
        "optim": (FinetuneOptions,),
        "augment": (PointAugmentation,),
        "train": (TrainOptions,),
        "protocol": (ProtocolOptions,),
        "score": (AUScoreOptions,),
    },
    job=job,
    misfits=_misfits,
)
