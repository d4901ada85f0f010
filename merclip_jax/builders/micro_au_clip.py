"""A detector of AUs after Micro-AU CLIP from a config."""

from ml_collections import ConfigDict

from merclip_jax.augment.points import PointAugmentation
from merclip_jax.builders.job import (
    Groups,
    Job,
    attention_misfits,
    flatten,
    options,
    remarks_of,
    size_misfits,
)
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.losses.au import AULossOptions
from merclip_jax.models.clip_vit import SIZES
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.naming import AURunOptions
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.systems.system import Execution
from merclip_jax.text.table import TextTower
from merclip_jax.training.finetune import FinetuneOptions, finetune
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights import load as weights
from merclip_jax.weights.families.numbers import by_path
from merclip_jax.weights.options import ClipInitOptions

GROUPS: Groups = {
    "": (AURunOptions,),
    "data": (DataOptions, View),
    "init": (ClipInitOptions,),
    "model": (MicroAUOptions,),
    "loss": (AULossOptions,),
    "optim": (FinetuneOptions,),
    "augment": (PointAugmentation,),
    "train": (TrainOptions,),
    "protocol": (ProtocolOptions,),
}


def misfits(config: ConfigDict) -> list[str]:
    """What does not go together across groups; each value by itself is sound."""
    found = size_misfits(config, SIZES[config.model.size].patch_size)
    wanted = 1 if config.model.input == "flow" else 2
    if config.data.frames != wanted:
        found.append(
            f"config.data.frames={config.data.frames}: config.model.input="
            f"{config.model.input!r} is made of {wanted}"
        )
    if wanted == 2 and config.data.sampling != "onset_apex":
        found.append(
            f"config.data.sampling={config.data.sampling!r}: config.model.input="
            f"{config.model.input!r} is made of 'onset_apex'"
        )
    if config.data.get("grey"):
        found.append("config.data.grey=True: CLIP's image tower sees three colours")
    if config.train.microbatch:
        found.append(
            f"config.train.microbatch={config.train.microbatch}: the contrastive loss "
            "compares all clips of a batch; 0 is what there is"
        )
    return found + attention_misfits(config)


def job(config: ConfigDict, clips: Clips) -> Job:
    """A run of the detector."""
    init = options(ClipInitOptions, config, "init")
    model = options(MicroAUOptions, config, "model")
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
        remarks=[*remarks_of(config), *_frozen_at_random(model, init)],
        start=start.arrays if start else {},
        origins=[part for part in (start, text) if part],
    )


def _frozen_at_random(model: MicroAUOptions, init: ClipInitOptions) -> list[str]:
    """What freezing means where no weights are published ones."""
    if init.vision or not model.frozen:
        return []
    return [
        "The frozen blocks of the image tower have random weights: no init.vision was "
        "given."
    ]
