"""The programs of a training from its numbers alone: no clip, no file."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from merclip_jax.augment.clips import Augmentation
from merclip_jax.data.gather import shelf
from merclip_jax.data.view import View
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Execution
from merclip_jax.training.optim import AdamWOptions, adamw
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.programs import Programs, Shape, Spec

CLASSES = tuple("abcdefg")  # CAS(ME)^3's seven
TEMPLATES, COMBINATIONS = 7, 88  # of its table of sentences
CLIPS = 860  # that lie on the device
PARTS = ("augmix", "flip", "colour_jitter", "static_mix")


def mer_clip(
    model: MerClipOptions,
    options: TrainOptions,
    *,
    members: int,
    mesh: Mesh,
    augmented: bool = True,
    clips: int = CLIPS,
    frames: int = 16,
    image_size: int = 224,
) -> Programs:
    """The programs of MER-CLIP as the released recipe trains it on CAS(ME)^3.

    Args:
        model: the model.
        options: of the training; scan_steps must be given.
        members: trained together.
        mesh: of the devices.
        augmented: with the paper's augmentation, or none.
        clips: that lie on the device.
        frames, image_size: of a clip.
    """
    share = Augmentation() if augmented else Augmentation(**dict.fromkeys(PARTS, 0.0))
    view = dataclasses.replace(View(), frames=frames, image_size=image_size)
    system = MerClip(
        classes=CLASSES,
        epochs=options.epochs,
        view=view,
        model=model,
        augmentation=share,
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
    optimiser = adamw(AdamWOptions(), epochs=options.epochs)
    return Programs(system, optimiser, options, spec, size=members, mesh=mesh)


def zeros(shapes: object) -> object:
    """Arrays of zeros in place of shapes, for what is timed."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
