"""Augmentation on the device: one draw per clip, the same for all its frames.

Clips are [b, t, h, w, 3] with values 0..255. Arithmetic: MER_CLIP section 7.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from merclip_jax.data.augmix import augmix_batch
from merclip_jax.shapes import Array, Bool, Float, Int, Num, Shaped

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
GREY = (0.2989, 0.587, 0.114)
REGIONS = ("forehead", "chin", "left_cheek", "right_cheek")


class Augmentation(NamedTuple):
    """How often each augmentation acts on a clip, and how (MER_CLIP section 7).

    `flip_swaps_sides` False leaves the sentence of a mirrored clip as it was (an error
    of the released code). LSFM: `static_mix_weight` of the clip's own pixels remains,
    `static_mix_self` lets a clip be its own partner, `static_mix_inverse` mixes all
    but the region.
    """

    augmix: float = 0.5
    flip: float = 0.5
    flip_swaps_sides: bool = True
    colour_jitter: float = 0.5
    static_mix: float = 0.5
    static_mix_weight: float = 0.5
    static_mix_self: bool = False
    static_mix_inverse: bool = False


def normalise(clips: Num[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
    """(x - ImageNet mean) / ImageNet std on the 0..255 scale, float32."""
    mean, std = jnp.asarray(MEAN), jnp.asarray(STD)
    shape = (1, 1, 1, 1, 3)
    return (clips.astype(jnp.float32) - mean.reshape(shape)) / std.reshape(shape)


def per_clip(values: jax.Array, clips: jax.Array) -> jax.Array:
    """[b] values shaped to broadcast against clips [b, t, h, w, c]."""
    return values.reshape(-1, *(1,) * (clips.ndim - 1))


def flip(
    clips: Float[Array, "b t h w c"], chosen: Bool[Array, "b"]
) -> Float[Array, "b t h w c"]:
    """Mirrors the chosen clips left to right (7.4b); their AU sides must swap too."""
    return jnp.where(per_clip(chosen, clips), clips[:, :, :, ::-1], clips)


def grey(frames: Float[Array, "... c"]) -> Float[Array, "... 1"]:
    """Luma of RGB frames, unrounded."""
    weights = jnp.asarray(GREY, frames.dtype)
    return (frames @ weights.reshape(3, 1)).astype(frames.dtype)


def reciprocal(x: Int[Array, "..."], numerator: int) -> Int[Array, "..."]:
    """round(4096 numerator / x) for x in 1..255, and 0 for 0."""
    table = [0] + [round(4096 * numerator / i) for i in range(1, 256)]
    return jnp.asarray(table, jnp.int32)[x]


def shift_hue(
    frames: Float[Array, "t h w c"], turn: Float[Array, ""]
) -> Float[Array, "t h w c"]:
    """Moves the hue by int(255 turn) of OpenCV's 180 steps, through 8-bit HSV.

    Frames are clipped and truncated to uint8 first. Hue and saturation come from
    OpenCV's 12-bit fixed-point reciprocals, so that they are its uint8 values.
    """
    x = jnp.clip(frames, 0, 255).astype(jnp.int32)
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    value, low = x.max(-1), x.min(-1)
    span = value - low
    hue = jnp.where(
        value == r,
        g - b,
        jnp.where(value == g, b - r + 2 * span, r - g + 4 * span),
    )
    hue = (hue * reciprocal(span, 30) + 2048) >> 12
    hue = jnp.where(hue < 0, hue + 180, hue)
    hue = (hue + jnp.trunc(255 * turn).astype(jnp.int32)) % 180
    saturation = (span * reciprocal(value, 255) + 2048) >> 12
    value, hue = value.astype(jnp.float32), hue.astype(jnp.float32)
    saturation = saturation.astype(jnp.float32) / 255
    sector = jnp.floor(hue / 30)
    f = hue / 30 - sector
    p = value * (1 - saturation)
    q = value * (1 - saturation * f)
    t = value * (1 - saturation * (1 - f))
    which = sector.astype(jnp.int32)[..., None]
    table = jnp.stack(
        [
            jnp.stack(c, -1)
            for c in (
                (value, t, p),
                (q, value, p),
                (p, value, t),
                (p, q, value),
                (t, p, value),
                (value, p, q),
            )
        ],
        -2,
    )
    out = jnp.take_along_axis(table, which[..., None], axis=-2)[..., 0, :]
    return jnp.round(out)


def colour_jitter(
    clip: Float[Array, "t h w c"],
    order: Int[Array, "4"],
    strength: Float[Array, "4"],
) -> Float[Array, "t h w c"]:
    """Brightness, contrast, saturation and hue of one clip, in `order` (7.4c).

    `strength` is (b, c, s, h): factors for the first three, a turn for the hue. The
    result is clipped and truncated to whole grey levels.
    """
    brightness, contrast, saturation, turn = strength

    def scale(x):
        return x * brightness

    def stretch(x):
        return contrast * x + (1 - contrast) * grey(x).mean((1, 2, 3), keepdims=True)

    def saturate(x):
        return saturation * x + (1 - saturation) * grey(x)

    def rotate(x):
        return shift_hue(x, turn)

    for i in range(4):
        clip = jax.lax.switch(order[i], [scale, stretch, saturate, rotate], clip)
    return jnp.floor(jnp.clip(clip, 0, 255))


def region_masks(height: int, width: int) -> Bool[Array, "4 h w"]:
    """Masks of forehead, chin, left cheek, right cheek; they tile the image (7.5)."""
    rows, cols = jnp.arange(height)[:, None], jnp.arange(width)[None]
    top, bottom, middle = height // 4, 3 * height // 4, width // 2
    cheeks = (rows >= top) & (rows < bottom)
    return jnp.stack(
        [
            (rows < top) & (cols >= 0),
            (rows >= bottom) & (cols >= 0),
            cheeks & (cols < middle),
            cheeks & (cols >= middle),
        ]
    )


def static_face_mix(
    clips: Float[Array, "b t h w c"],
    chosen: Bool[Array, "b"],
    partner: Int[Array, "b"],
    region: Int[Array, "b"],
    *,
    weight: float = 0.5,
    inverse: bool = False,
    masks: Shaped[Array, "..."] | None = None,
) -> Float[Array, "b t h w c"]:
    """LocalStaticFaceMix: blends one region with a partner's first frame (eq 1).

    Inside the region of a chosen clip every frame is weight x own + (1 - weight) x
    frame 0 of the unmixed partner clip; all else stays bit-identical. `inverse` mixes
    everywhere but in the region. `masks` are the regions, bool [r, h, w]; None: the
    paper's four. Raises ValueError when they do not fit the frames.
    """
    size = clips.shape[2:4]
    masks = region_masks(*size) if masks is None else masks
    if masks.ndim != 3 or masks.shape[1:] != size or masks.dtype != bool:
        raise ValueError(
            f"expected masks as bool [regions, {size[0]}, {size[1]}] for clips "
            f"{list(clips.shape)}, got {masks.dtype} {list(masks.shape)}"
        )
    masks = (masks[region] != inverse) & chosen[:, None, None]
    onset = clips[partner, :1]
    mixed = weight * clips + (1 - weight) * onset
    return jnp.where(masks[:, None, :, :, None], mixed, clips)


def augment(
    key: jax.Array,
    clips: Num[Array, "b t h w c"],
    options: Augmentation,
    jitter_order: Int[Array, "4"],
) -> tuple[Float[Array, "b t h w c"], Bool[Array, "b"]]:
    """AugMix, flip, colour jitter, normalisation, LocalStaticFaceMix, in this order.

    `jitter_order` is drawn once a run. Returns the normalised clips and for which of
    them the caller must take the sentence with left and right swapped.
    """
    b = len(clips)
    keys = jax.random.split(key, 9)
    x = clips.astype(jnp.float32)
    if options.augmix:
        mixed = jax.random.bernoulli(keys[7], float(options.augmix), (b,))
        x = augmix_batch(keys[8], x, mixed)
    mirrored = jax.random.bernoulli(keys[0], float(options.flip), (b,))
    if options.flip:
        x = flip(x, mirrored)
    if options.colour_jitter:
        jittered = jax.random.bernoulli(keys[1], float(options.colour_jitter), (b,))
        factors = jax.random.uniform(keys[2], (b, 3), minval=0.5, maxval=1.5)
        turn = jax.random.uniform(keys[3], (b, 1), minval=-0.1, maxval=0.1)
        strength = jnp.concatenate([factors, turn], axis=1)
        jitter = jax.vmap(colour_jitter, in_axes=(0, None, 0))
        x = jnp.where(per_clip(jittered, x), jitter(x, jitter_order, strength), x)
    x = normalise(x)
    if options.static_mix:
        mixed = jax.random.bernoulli(keys[4], float(options.static_mix), (b,))
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
