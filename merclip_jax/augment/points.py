"""Augmentation that moves landmarks with the pixels under them, on the device.

Clips are [b, t, h, w, 3] in 0..255, landmarks [b, 68, 2] as (x, y) in pixels, whole
numbers at the pixels' centres. One draw a clip, the same for all its frames.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.augment.geometry import flip, per_clip
from merclip_jax.declared import Range, check
from merclip_jax.models.per_device import per_device
from merclip_jax.typing import Array, Bool, Float, Num

SIDE = 224  # of the pictures that shifts are told for


def _swapped() -> np.ndarray:
    """The landmark that a mirror puts in each one's place."""
    order = np.arange(68)
    order[:17] = order[16::-1]  # jaw
    order[17:27] = order[26:16:-1]  # brows
    order[31:36] = order[35:30:-1]  # nostrils
    order[36:48] = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order[48:60] = [*range(54, 47, -1), *range(59, 54, -1)]  # outer lips
    order[60:68] = [*range(64, 59, -1), *range(67, 64, -1)]  # inner lips
    return order


MIRRORED = _swapped()


@dataclasses.dataclass(frozen=True)
class PointAugmentation:
    """How far a clip may be moved, and how much its light changed.

    flip: probability; rotation: degrees to either side; scale: share by which it may
    grow or shrink; shift: pixels of a picture of 224, along each axis; brightness,
    contrast: shares.
    """

    flip: Annotated[float, Range(0, 1)] = 0.5
    rotation: Annotated[float, Range(0, 45)] = 8.0
    scale: Annotated[float, Range(0, 0.5)] = 0.05
    shift: Annotated[float, Range(0, 56)] = 4.0
    brightness: Annotated[float, Range(0, 0.9)] = 0.1
    contrast: Annotated[float, Range(0, 0.9)] = 0.1

    def __post_init__(self):
        check(self)


def augment(
    key: jax.Array,
    clips: Num[Array, "b t h w 3"],
    landmarks: Float[Array, "b 68 2"],
    options: PointAugmentation,
    *,
    motion: bool = False,
) -> tuple[Float[Array, "b t h w 3"], Float[Array, "b 68 2"]]:
    """Flip, then rotation, scale and shift, then contrast and brightness.

    Args:
        key: of this batch.
        clips: grey levels, or with `motion` pictures of motion (horizontal, vertical,
            strain), whose first two are vectors around 127.5: they turn with the face,
            and contrast makes them longer; brightness does nothing.
        landmarks: of each clip.
        options: how much of each.
        motion: see above.

    Returns:
        Both, moved alike.
    """
    keys = dict(zip(("flip", "turn", "light"), jax.random.split(key, 3), strict=True))
    b, _, h, w, _ = clips.shape
    mirrored = jax.random.bernoulli(keys["flip"], float(options.flip), (b,))
    x, points = mirror(clips.astype(jnp.float32), landmarks, mirrored)
    turn, grow, *moved = jax.random.uniform(keys["turn"], (4, b), minval=-1.0)
    angle = jnp.deg2rad(options.rotation * turn)
    unit = options.shift / SIDE  # shares of a side: the same for every size
    shift = jnp.stack([moved[0] * unit * w, moved[1] * unit * h], axis=1)
    x, points = move(x, points, angle, 1 + options.scale * grow, shift)
    if motion:
        x = _turned(x, mirrored, angle)
    brighter, starker = jax.random.uniform(keys["light"], (2, b), minval=-1.0)
    factor = per_clip(1 + options.contrast * starker, x)
    if motion:
        middle, offset = jnp.full_like(factor, 127.5), jnp.zeros_like(factor)
    else:
        # About the mean of all frames: each about its own would make a motion.
        middle = x.mean((1, 2, 3, 4), keepdims=True)
        offset = 255 * per_clip(options.brightness * brighter, x)
    return jnp.clip((x - middle) * factor + middle + offset, 0, 255), points


def mirror(
    clips: Float[Array, "b t h w 3"],
    landmarks: Float[Array, "b 68 2"],
    chosen: Bool[Array, "b"],
) -> tuple[Float[Array, "b t h w 3"], Float[Array, "b 68 2"]]:
    """Returns clips and landmarks, the chosen ones mirrored left to right.

    Landmarks change places: number 36 is the outer corner of the eye on the left of the
    picture, whosever eye that is.

    Args:
        clips: of any values.
        landmarks: of each clip.
        chosen: which to mirror.
    """
    other = landmarks[:, MIRRORED]
    other = other.at[..., 0].set(clips.shape[3] - 1 - other[..., 0])
    return flip(clips, chosen), jnp.where(chosen[:, None, None], other, landmarks)


def move(
    clips: Float[Array, "b t h w 3"],
    landmarks: Float[Array, "b 68 2"],
    angle: Float[Array, "b"],
    scale: Float[Array, "b"],
    shift: Float[Array, "b 2"],
) -> tuple[Float[Array, "b t h w 3"], Float[Array, "b 68 2"]]:
    """Returns clips and landmarks turned and scaled about the centre, then shifted.

    What comes into the picture repeats its border.

    Args:
        clips: of any values.
        landmarks: of each clip.
        angle: radians, from x towards y.
        scale: above 0.
        shift: pixels along x and y.
    """
    h, w = clips.shape[2:4]
    centre = jnp.asarray([(w - 1) / 2, (h - 1) / 2], jnp.float32)[None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.stack([jnp.stack([cos, -sin], 1), jnp.stack([sin, cos], 1)], 1)
    precise = jax.lax.Precision.HIGHEST
    # In full, as a TPU's quick product would be off by half a pixel.
    points = jnp.einsum(
        "bij,bpj->bpi", turn, landmarks - centre[:, None], precision=precise
    )
    points = scale[:, None, None] * points + (centre + shift)[:, None]
    # Each pixel asks where it comes from: the inverse, about the same centre.
    back = turn.swapaxes(1, 2) / scale[:, None, None]
    start = centre - jnp.einsum("bij,bj->bi", back, centre + shift, precision=precise)
    return per_device(_warped)(clips, back, start), points


def _warped(
    clips: Float[Array, "b t h w 3"],
    back: Float[Array, "b 2 2"],
    start: Float[Array, "b 2"],
) -> Float[Array, "b t h w 3"]:
    """Pixels from back @ (x, y) + start, linear between neighbours.

    In two passes, first along rows, then along columns (Catmull and Smith, 1980), each
    a product with the shares that pixels have: TPUs gather slowly.
    """

    def one(arrays):
        clip, matrix, offset = arrays
        h, w = clip.shape[1:3]
        (a, b), (d, e) = matrix
        x, y = jnp.arange(w, dtype=jnp.float32), jnp.arange(h, dtype=jnp.float32)
        # The first pass has row `y` of the source before it and column `x` of what is
        # wanted; which row that pixel will be in follows from y = d x + e row + offset.
        row = (y[:, None] - d * x[None] - offset[1]) / e
        columns = jnp.clip(a * x[None] + b * row + offset[0], 0, w - 1)
        rows = jnp.clip(d * x[None] + e * y[:, None] + offset[1], 0, h - 1)
        # In full, as a pixel's 0..255 times a share has more than bfloat16's 8 bits.
        precise = jax.lax.Precision.HIGHEST
        share = _shares(columns, w)
        clip = jnp.einsum("yux,tyxc->tyuc", share, clip, precision=precise)
        share = _shares(rows, h)
        return jnp.einsum("vuy,tyuc->tvuc", share, clip, precision=precise)

    # One clip at a time: its shares are as many as w x h x w.
    return jax.lax.map(one, (clips, back, start))


def _shares(place: Float[Array, "r s"], size: int) -> Float[Array, "r s n"]:
    """How much each of `size` pixels has of what is asked for at some places."""
    pixel = jnp.arange(size, dtype=jnp.float32)
    return jnp.maximum(1 - jnp.abs(place[..., None] - pixel[None, None]), 0)


def _turned(
    clips: Float[Array, "b t h w 3"],
    mirrored: Bool[Array, "b"],
    angle: Float[Array, "b"],
) -> Float[Array, "b t h w 3"]:
    """Vectors of motion mirrored and turned as the picture was."""
    u, v = clips[..., 0] - 127.5, clips[..., 1] - 127.5
    u = jnp.where(mirrored[:, None, None, None], -u, u)
    cos, sin = (f(angle)[:, None, None, None] for f in (jnp.cos, jnp.sin))
    turned = jnp.stack([cos * u - sin * v, sin * u + cos * v], axis=-1) + 127.5
    return jnp.concatenate([turned, clips[..., 2:]], axis=-1)
