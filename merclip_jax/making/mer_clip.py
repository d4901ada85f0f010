"""MER-CLIP of a config."""

import jax
from ml_collections import ConfigDict

from merclip_jax.augment.clips import Augmentation
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.job import Job, Making, flatten, options
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.naming import RunOptions
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Execution
from merclip_jax.text.prompts import PromptOptions
from merclip_jax.text.table import TextTower
from merclip_jax.text.wording import Wording
from merclip_jax.training.optim import AdamWOptions, adamw
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights import load as weights
from merclip_jax.weights.options import InitOptions


def job(config: ConfigDict, clips: Clips) -> Job:
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
