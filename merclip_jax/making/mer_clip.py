"""MER-CLIP of a config."""

from ml_collections import ConfigDict

from merclip_jax.augment.clips import Augmentation
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.job import Job, Making, options
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.making.shared import (
    attention_misfits,
    patch_misfits,
    rate_remarks,
    run_of,
    tower_of,
)
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.naming import RunOptions
from merclip_jax.scoring.au_task import EmotionClasses
from merclip_jax.scoring.emotion_rules import has_rules
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Execution
from merclip_jax.text.prompts import PromptOptions
from merclip_jax.text.wording import Wording
from merclip_jax.training.optim import AdamWOptions, adamw
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights import load as weights
from merclip_jax.weights.options import InitOptions


def job(config: ConfigDict, clips: Clips) -> Job:
    """A run of MER-CLIP.

    Args:
        config: all of it.
        clips: as the config's view shows them.
    """
    init = options(InitOptions, config, "init")
    size = SIZES[config.model.size]
    text = weights.load_tower(
        size, text=init.text, merclip=init.merclip, weights=init.weights
    )
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
        tower=tower_of(text, size),
    )
    video = weights.load_start(system.module, system.view.shape, init)
    optimiser = adamw(
        options(AdamWOptions, config, "optim"), epochs=config.train.epochs
    )
    # The text tower is frozen: it makes the context, members start as the video.
    return run_of(
        config,
        clips,
        system,
        optimiser,
        start=video,
        text=text,
        remarks=rate_remarks(config),
        emotions=_emotions(config),
    )


def _emotions(config: ConfigDict) -> list[tuple[str, EmotionClasses]]:
    """The config's own task, where rules tell its emotions by AUs."""
    classes = tuple(config.data.classes)
    known = has_rules([name for name, _ in classes])
    return [(config.data.task or config.name, classes)] if known else []


def _misfits(config: ConfigDict) -> list[str]:
    """What does not go together across groups; each value by itself is sound."""
    found = []
    batch, group = config.train.batch_size, config.model.bn_group_size
    if group and batch % group:
        found.append(
            f"config.model.bn_group_size={group} does not divide a batch of {batch}"
        )
    found += patch_misfits(config, SIZES[config.model.size].patch_size)
    micro = config.train.microbatch
    together = options(MerClipOptions, config, "model").together
    if micro and (not together or micro % together):
        found.append(
            f"config.train.microbatch={micro}: BatchNorm's statistics are of "
            f"{group or batch} clips, more than are in the model at a time; set "
            f"config.model.bn_group_size to {micro} or a divisor of it"
        )
    if config.loss.contrastive == "soft_sides" and config.model.learn_temperature:
        found.append(
            "config.loss.contrastive='soft_sides' has a fixed temperature; set "
            "config.model.learn_temperature to False"
        )
    return found + attention_misfits(config)


MER_CLIP = Making(
    groups={
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
    },
    job=job,
    misfits=_misfits,
)
