"""The programs of a training from its numbers alone: no clip, no file."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from merclip_jax.augment.clips import Augmentation
from merclip_jax.data.gather import shelf
from merclip_jax.data.view import View
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models import clip_vit
from merclip_jax.models.au_regions import POINTS
from merclip_jax.models.fdp import FdpOptions
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.systems.fdp import FdpSystem
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.systems.system import Execution, System
from merclip_jax.training.finetune import FinetuneOptions, finetune
from merclip_jax.training.optim import AdamOptions, AdamWOptions, adamw, coupled_adam
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.programs import Programs, Shape, Spec

CLASSES = tuple("abcdefg")  # CAS(ME)^3's seven
TEMPLATES, COMBINATIONS = 7, 88  # of its table of sentences
CLIPS = 860  # that lie on the device
PAPER, LOSS, OPTIM = Augmentation(), LossOptions(), AdamWOptions()
NONE = Augmentation(augmix=0.0, flip=0.0, colour_jitter=0.0, static_mix=0.0)

# Where an operation belongs, by the label that XLA keeps of it.
PARTS = (
    (r"/augment/|augment\)", "augmentation"),
    (r"block_\d+/attn", "attention of blocks"),
    (r"block_\d+/mlp", "MLPs of blocks"),
    (r"block_\d+/lmhra", "mixers over time"),
    (r"block_\d+/ln", "norms of blocks"),
    (r"global_\d+/attn", "attention of global blocks"),
    (r"global_\d+", "rest of global blocks"),
    (r"/head/", "head"),
    (r"patch_embed|ln_pre", "stem"),
)


def mer_clip(
    model: MerClipOptions,
    options: TrainOptions,
    *,
    members: int,
    mesh: Mesh,
    augmentation: Augmentation = PAPER,
    loss: LossOptions = LOSS,
    optim: AdamWOptions = OPTIM,
    clips: int = CLIPS,
    frames: int = 16,
    image_size: int = 224,
) -> Programs:
    """The programs of MER-CLIP on CAS(ME)^3; by default of the paper's recipe.

    Args:
        model: the model.
        options: of the training; scan_steps must be given.
        members: trained together.
        mesh: of the devices.
        augmentation: as the paper's, or NONE.
        loss, optim: as a recipe says.
        clips: that lie on the device.
        frames, image_size: of a clip.
    """
    view = dataclasses.replace(View(), frames=frames, image_size=image_size)
    system = MerClip(
        classes=CLASSES,
        epochs=options.epochs,
        view=view,
        model=model,
        loss_options=loss,
        augmentation=augmentation,
        execution=Execution(options.remat, options.microbatch),
    )
    s = COMBINATIONS
    spec = Spec(
        held=Shape(shelf(clips * frames, view.shape[1:]), jnp.uint8),
        frames=Shape((frames,), jnp.int32),
        columns={
            "label": Shape((), jnp.int32),
            "au_combination": Shape((), jnp.int32),
        },
        run={
            "features": Shape((TEMPLATES, s, SIZES[model.size].embed), jnp.float32),
            "mirror": Shape((s,), jnp.int32),
            "overlap": Shape((s, s), jnp.float32),
        },
        fold={},
        start={},
        steps=options.scan_steps,
    )
    optimiser = adamw(optim, epochs=options.epochs)
    return Programs(system, optimiser, options, spec, size=members, mesh=mesh)


def fdp(
    model: FdpOptions,
    options: TrainOptions,
    *,
    members: int,
    mesh: Mesh,
    clips: int = CLIPS,
) -> Programs:
    """The programs of FDP; arguments as of `mer_clip`."""
    system = FdpSystem(CLASSES[:5], model=model)
    side = system.view.image_size
    columns = {
        "label": Shape((), jnp.int32),
        "dynamic_image": Shape((side, side), jnp.uint8),
        "mean": Shape((), jnp.float32),
        "brightest": Shape((), jnp.float32),
    }
    fold = {name: Shape((), jnp.float32) for name in ("mean", "brightest")}
    spec = _spec(system, clips, columns, {}, fold, options.scan_steps)
    optimiser = coupled_adam(AdamOptions())
    return Programs(system, optimiser, options, spec, size=members, mesh=mesh)


def micro_au_clip(
    model: MicroAUOptions,
    options: TrainOptions,
    *,
    members: int,
    mesh: Mesh,
    clips: int = CLIPS,
) -> Programs:
    """The programs of the detector of AUs; arguments as of `mer_clip`."""
    system = MicroAuClip(model=model, execution=Execution(options.remat))
    a, embed = len(model.aus), clip_vit.SIZES[model.size].embed
    columns = {
        "aus": Shape((a,), jnp.int32),
        "landmarks": Shape((POINTS, 2), jnp.float32),
    }
    run = {"features": Shape((a, 2, embed), jnp.float32)}
    fold = {
        "weights": Shape((a,), jnp.float32),
        "prior": Shape((a, a), jnp.float32),
        "phi": Shape((a, a), jnp.float32),
    }
    spec = _spec(system, clips, columns, run, fold, options.scan_steps)
    optimiser = finetune(
        FinetuneOptions(), epochs=options.epochs, frozen=system.model.frozen
    )
    return Programs(system, optimiser, options, spec, size=members, mesh=mesh)


def _spec(
    system: System, clips: int, columns: dict, run: dict, fold: dict, steps: int
) -> Spec:
    t, *picture = system.view.shape
    return Spec(
        held=Shape(shelf(clips * t, tuple(picture)), jnp.uint8),
        frames=Shape((t,), jnp.int32),
        columns=columns,
        run=run,
        fold=fold,
        start={},
        steps=steps,
    )


def arguments(programs: Programs, *, batch: int, clips: int, frames: int) -> list:
    """Random clips, and what else a dispatch is given, on the devices.

    Args:
        programs: of `mer_clip`.
        batch: clips of a member's batch.
        clips: that are held.
        frames: of a clip.

    Returns:
        The arguments of `programs.train`.
    """
    rng = np.random.default_rng(0)
    spec, size = programs.spec, programs.size
    held = rng.integers(0, 256, spec.held.shape, dtype=np.uint8)
    run = {
        "features": jax.random.normal(jax.random.key(0), spec.run["features"].shape),
        "mirror": jnp.arange(spec.run["mirror"].shape[0], dtype=jnp.int32),
        "overlap": jnp.eye(spec.run["overlap"].shape[0]),
    }
    context = jax.device_put(
        programs.context.replace(run=run, fold={}), programs.everywhere
    )
    keys = jnp.stack([jax.random.key(i) for i in range(size)])
    member = programs.member.replace(
        key=keys,
        steps_per_epoch=jnp.full((size,), 100, jnp.int32),
        steps=jnp.full((size,), 10**6, jnp.int32),
    )
    member = jax.device_put(member, programs.by_member)
    lead = (spec.steps, size, batch)
    index = rng.integers(0, clips, lead)
    batches = {
        "frames": index[..., None] * frames + np.arange(frames),
        "label": rng.integers(0, len(CLASSES), lead),
        "au_combination": rng.integers(0, COMBINATIONS, lead),
    }
    batches = {k: v.astype(np.int32) for k, v in batches.items()}
    return [
        jax.device_put(held, programs.everywhere),
        context,
        programs.init(member.key, {}),
        member,
        jax.device_put(batches, programs.scanned),
    ]
