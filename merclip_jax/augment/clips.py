"""Augmentation on the device: one draw per clip, the same for all its frames.

Clips are [b, t, h, w, 3] with values 0..255.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from merclip_jax.augment.augmix import augmix_batch
from merclip_jax.augment.colour import jitter_batch
from merclip_jax.augment.geometry import flip
from merclip_jax.augment.static_face_mix import REGIONS, static_face_mix
from merclip_jax.declared import Range, check
from merclip_jax.typing import Array, Bool, Float, Int, Num

MEAN = (123.675, 116.28, 103.53)  # of ImageNet, on the 0..255 scale
STD = (58.395, 57.12, 57.375)
Share = Annotated[float, Range(0, 1)]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How often each augmentation acts on a clip, and how.

    augmix, flip, colour_jitter, static_mix: probabilities. `flip_swaps_sides` False
    leaves the sentence of a mirrored clip as it was (an error of the released code).
    LocalStaticFaceMix: `static_mix_weight` of the clip's own pixels remains,
    `static_mix_self` lets a clip be its own partner, `static_mix_inverse` mixes all
    but the region. Raises ValueError for what is no probability.
    """

    augmix: Share = 0.5
    flip: Share = 0.5
    flip_swaps_sides: bool = True
    colour_jitter: Share = 0.5
    static_mix: Share = 0.5
    static_mix_weight: Share = 0.5
    static_mix_self: bool = False
    static_mix_inverse: bool = False

    def __post_init__(self):
        check(self)


def normalise(clips: Num[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
    """(x - ImageNet mean) / ImageNet std on the 0..255 scale, float32."""
    mean, std = jnp.asarray(MEAN), jnp.asarray(STD)
    shape = (1, 1, 1, 1, 3)
    return (clips.astype(jnp.float32) - mean.reshape(shape)) / std.reshape(shape)


def denormalise(clips: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
    """The inverse of `normalise`, to look at what a model was shown."""
    mean, std = jnp.asarray(MEAN), jnp.asarray(STD)
    shape = (1, 1, 1, 1, 3)
    return clips * std.reshape(shape) + mean.reshape(shape)


def augment(
    key: jax.Array,
    clips: Num[Array, "b t h w c"],
    options: Augmentation,
    jitter_order: Int[Array, "4"],
) -> tuple[Float[Array, "b t h w c"], Bool[Array, "b"]]:
    """AugMix, flip, colour jitter, normalisation, LocalStaticFaceMix, in this order.

    Args:
        key: of this batch.
        clips: whole grey levels 0..255.
        options: how often each acts.
        jitter_order: order of the four colour steps, drawn once a run as the released
            code does.

    Returns:
        The normalised clips, and for which of them the caller must take the sentence
        with left and right swapped.
    """
    b = len(clips)
    keys = jax.random.split(key, 9)
    x = clips

    def drawn(key: jax.Array, share: float | Array) -> Array:
        return jax.random.bernoulli(key, jnp.asarray(share, float), (b,))

    if _acts(options.augmix):
        mixed = drawn(keys[7], options.augmix)
        x = augmix_batch(keys[8], x.astype(jnp.uint8), mixed)
    # Drawn also when nothing flips: what is returned keeps its shape.
    mirrored = drawn(keys[0], options.flip)
    if _acts(options.flip):
        x = flip(x, mirrored)
    if _acts(options.colour_jitter):
        jittered = drawn(keys[1], options.colour_jitter)
        factors = jax.random.uniform(keys[2], (b, 3), minval=0.5, maxval=1.5)
        turn = jax.random.uniform(keys[3], (b, 1), minval=-0.1, maxval=0.1)
        strength = jnp.concatenate([factors, turn], axis=1)
        x = jitter_batch(x.astype(jnp.uint8), jittered, jitter_order, strength)
    x = normalise(x)
    if _acts(options.static_mix):
        mixed = drawn(keys[4], options.static_mix)
        # At least one place further is another clip; 0 may be the clip itself, as the
        # released code allows. A batch of one has no other.
        nearest = 0 if options.static_mix_self or b == 1 else 1
        away = jax.random.randint(keys[5], (b,), nearest, b)
        region = jax.random.randint(keys[6], (b,), 0, len(REGIONS))
        x = static_face_mix(
            x,
            mixed,
            (jnp.arange(b) + away) % b,
            region,
            weight=options.static_mix_weight,
            inverse=options.static_mix_inverse,
        )
    return x, mirrored & options.flip_swaps_sides


def _acts(share: float | Array) -> bool:
    """Whether something may act: what is known never to is not compiled."""
    return isinstance(share, jax.Array) or share > 0
