"""A detector of AUs after Micro-AU CLIP of a config."""

import jax
from ml_collections import ConfigDict

from merclip_jax.augment.points import PointAugmentation
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.job import Job, Making, flatten, options
from merclip_jax.losses.au import AULossOptions
from merclip_jax.models.clip_vit import SIZES
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.naming import AURunOptions
from merclip_jax.scoring.au_task import AUScoreOptions
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.systems.system import Execution
from merclip_jax.text.table import TextTower
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
    tower = None
    if text:
        module, variables = weights.text_tower(text, size)
        tower = TextTower(module, variables, text.tokenizer)
    system = MicroAuClip(
        view=clips.view,
        model=model,
        loss_options=options(AULossOptions, config, "loss"),
        augmentation=options(PointAugmentation, config, "augment"),
        execution=Execution(config.train.remat),
        tower=tower,
        threshold=score.threshold,
    )
    start = None
    if init.vision:
        shapes = by_path(system.shapes())
        start = weights.load_clip(init.vision, shapes, weights=init.weights)
    return Job(
        name=config.name,
        recipe=config.recipe,
        system=system,
        optimiser=finetune(
            options(FinetuneOptions, config, "optim"),
            epochs=config.train.epochs,
            frozen=model.frozen,
        ),
        clips=clips,
        data=options(DataOptions, config, "data"),
        protocol=options(ProtocolOptions, config, "protocol"),
        options=options(TrainOptions, config, "train"),
        values=flatten(config),
        remarks=_remarks(config, model, init),
        start=start.arrays if start else {},
        origins=[part for part in (start, text) if part],
        emotions=score.emotions,
    )


def _remarks(
    config: ConfigDict, model: MicroAUOptions, init: ClipInitOptions
) -> list[str]:
    """What is odd in values that a short trial may well have."""
    said = []
    warm, epochs = config.optim.warmup_epochs, config.train.epochs
    if warm >= epochs:
        said.append(
            f"The learning rate rises over {warm} epochs and training ends after "
            f"{epochs}: it never came down."
        )
    if model.frozen and not init.vision:
        said.append(
            "The frozen blocks of the image tower have random weights: no init.vision "
            "was given."
        )
    return said


def _misfits(config: ConfigDict) -> list[str]:
    found = []
    pixels, patch = config.data.image_size, SIZES[config.model.size].patch_size
    if pixels % patch:
        found.append(
            f"config.data.image_size={pixels}: expected a multiple of {patch}, the "
            f"patches of config.model.size={config.model.size!r}"
        )
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
    if config.model.attention == "cudnn" and config.model.dtype == "float32":
        found.append(
            "config.model.attention='cudnn' computes in bfloat16, and "
            "config.model.dtype='float32' asks for more; 'auto' takes both"
        )
    if config.score.threshold == "inner" and config.protocol.selection != "inner":
        found.append(
            "config.score.threshold='inner' chooses on subjects that are held out of "
            "training: it goes with config.protocol.selection='inner' and "
            "config.protocol.inner_subjects"
        )
    for attention, backend in (("cudnn", "gpu"), ("fused", "tpu")):
        if config.model.attention == attention and jax.default_backend() != backend:
            found.append(
                f"config.model.attention={attention!r}: there is no {backend.upper()} "
                "here; 'auto' runs anywhere"
            )
    return found


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
