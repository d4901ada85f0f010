"""Augmentation agrees with the goldens and touches only what it should."""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.augment import clips as augment
from merclip_jax.augment.colour import colour_jitter
from merclip_jax.augment.hue import from_hsv, shift_hue
from merclip_jax.augment.static_face_mix import region_masks, static_face_mix


def test_colour_jitter_golden(golden):
    data = np.load(golden / "colour_jitter.npz")
    planes = jnp.asarray(data["op/clip_THWC_uint8"]).transpose(0, 3, 1, 2)
    for i in range(4):
        ours = colour_jitter(
            planes,
            jnp.asarray(data[f"colorjitter/{i}/order"].astype(np.int32)),
            jnp.asarray(data[f"colorjitter/{i}/b_c_s_h"].astype(np.float32)),
        )
        theirs = data[f"colorjitter/{i}/out"].astype(np.float32)
        np.testing.assert_array_equal(ours.transpose(0, 2, 3, 1), theirs)


@pytest.mark.parametrize("width", [1, 20, 31, 32, 33, 63, 224])
@pytest.mark.parametrize("turn", [0.0, 0.1, -0.2])
def test_the_hue_turns_as_in_opencv(width, turn):
    """Equal, by rows that its vectors hold in whole, in part, or not at all."""
    rng = np.random.default_rng(width)
    frames = rng.integers(0, 256, (3, 40, width, 3)).astype(np.uint8)
    frames[0] //= 64  # dark and grey ones too
    frames[1, :, :, 1] = frames[1, :, :, 0]
    planes = jnp.asarray(frames, jnp.float32).transpose(0, 3, 1, 2)
    ours = shift_hue(planes, jnp.float32(turn)).transpose(0, 2, 3, 1)
    for frame, found in zip(frames, np.asarray(ours), strict=True):
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV).astype(int)
        hsv[..., 0] = (hsv[..., 0] + int(255 * turn)) % 180
        theirs = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
        np.testing.assert_array_equal(found, theirs)


def test_every_hue_saturation_and_value_comes_back_as_in_opencv():
    """A quarter of all 11.8 million, by pictures of 256 pixels a row."""
    hue, saturation = np.meshgrid(np.arange(180), np.arange(256), indexing="ij")
    back = jax.jit(from_hsv)
    for first in range(4):
        value = np.arange(first, 256, 16)
        hsv = np.empty((180, 256, len(value), 3), np.uint8)
        hsv[..., 0], hsv[..., 1] = hue[..., None], saturation[..., None]
        hsv[..., 2] = value
        hsv = hsv.reshape(1, -1, 256, 3)
        theirs = cv2.cvtColor(hsv[0], cv2.COLOR_HSV2RGB)
        ours = back(*(jnp.asarray(hsv[..., i], jnp.float32) for i in range(3)))
        np.testing.assert_array_equal(ours[0].transpose(1, 2, 0), theirs)


CASES = ("p1_a05", "p05_a05", "odd_a03", "inverse_a05", "one_clip")


@pytest.mark.parametrize("case", CASES)
def test_static_face_mix_golden(golden, case):
    data = np.load(golden / "lsfm.npz")
    clip = jnp.asarray(data[f"{case}/clip_BTCHW"].transpose(0, 1, 3, 4, 2))
    partner = data[f"{case}/partner"]
    out = static_face_mix(
        clip,
        jnp.asarray(partner >= 0),
        jnp.asarray(np.maximum(partner, 0).astype(np.int32)),
        jnp.asarray(np.maximum(data[f"{case}/region"], 0).astype(np.int32)),
        weight=float(data[f"{case}/alpha"]),
        inverse=bool(data[f"{case}/mix_type"]),
    )
    theirs = data[f"{case}/out_BTCHW"].transpose(0, 1, 3, 4, 2)
    np.testing.assert_allclose(out, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(224, 224), (18, 23)])
def test_regions_golden_and_tile(golden, size):
    data = np.load(golden / "lsfm.npz")
    masks = region_masks(*size)
    for i in range(4):
        assert (masks[i] == data[f"mask/{size[0]}x{size[1]}/{i}"]).all()
    assert (masks.sum(0) == 1).all()


@pytest.mark.parametrize("size", [(9, 7), (17, 23), (5, 6)])
def test_regions_of_odd_sizes_tile(size):
    assert (region_masks(*size).sum(0) == 1).all()


def test_static_face_mix_scales_motion_inside_only():
    key = jax.random.key(1)
    clips = jax.random.normal(key, (4, 3, 9, 7, 3))
    region = jnp.asarray([0, 1, 2, 3])
    chosen = jnp.asarray([True, True, False, True])
    out = static_face_mix(clips, chosen, jnp.asarray([1, 2, 3, 0]), region, weight=0.5)
    masks = region_masks(9, 7)[region] & chosen[:, None, None]
    masks = jnp.broadcast_to(masks[:, None, :, :, None], clips.shape)
    assert (out == clips)[~masks].all()
    motion, mixed = clips[:, 1:] - clips[:, :1], out[:, 1:] - out[:, :1]
    np.testing.assert_allclose(
        mixed[masks[:, 1:]], 0.5 * motion[masks[:, 1:]], rtol=1e-5, atol=1e-6
    )


def test_the_whole_preprocessor_golden(golden):
    """Normalisation and mixing of a training batch; normalisation alone at test."""
    data = np.load(golden / "lsfm.npz")
    clips = jnp.asarray(data["full/uint8_N1CTHW"][:, 0].transpose(0, 2, 3, 4, 1))

    def theirs(name):
        return data[name][:, 0].transpose(0, 2, 3, 4, 1)

    normal = augment.normalise(clips)
    np.testing.assert_allclose(normal, theirs("full/eval_out"), rtol=1e-6, atol=1e-6)
    partner, region = data["full/decisions_partner_region"].astype(np.int32).T
    out = static_face_mix(
        normal,
        jnp.asarray(partner >= 0),
        jnp.asarray(np.maximum(partner, 0)),
        jnp.asarray(np.maximum(region, 0)),
        weight=0.5,
    )
    np.testing.assert_allclose(out, theirs("full/train_out"), rtol=1e-6, atol=1e-6)


OFF = augment.Augmentation(augmix=0.0, flip=0.0, colour_jitter=0.0, static_mix=0.0)
ORDER = jnp.asarray([3, 1, 0, 2])


def some_clips(b=6):
    shape = (b, 4, 8, 8, 3)
    return jax.random.randint(jax.random.key(0), shape, 0, 256).astype(jnp.uint8)


def test_a_partner_is_another_clip_unless_told_otherwise():
    """A clip mixed with itself keeps its onset frame: it can be told."""
    clips = some_clips()
    normal = augment.normalise(clips)

    def alone(**options):
        made = dataclasses.replace(OFF, static_mix=1.0, **options)
        count = 0
        for seed in range(30):
            out, _ = augment.augment(jax.random.key(seed), clips, made, ORDER)
            kept = jnp.isclose(out[:, 0], normal[:, 0], atol=1e-5).all((1, 2, 3))
            count += int(kept.sum())
        return count

    assert alone() == 0
    # One in six of 180, standard deviation 5.
    assert 10 <= alone(static_mix_self=True) <= 50


def test_a_clip_alone_in_its_batch_is_its_own_partner():
    clips = some_clips(1)
    out, _ = augment.augment(
        jax.random.key(0), clips, dataclasses.replace(OFF, static_mix=1.0), ORDER
    )
    np.testing.assert_allclose(out[:, 0], augment.normalise(clips)[:, 0], atol=1e-5)


def test_the_released_flip_leaves_the_sentence():
    clips = some_clips()
    flipping = dataclasses.replace(OFF, flip=1.0)
    out, swap = augment.augment(jax.random.key(0), clips, flipping, ORDER)
    assert swap.all()
    np.testing.assert_array_equal(out, augment.normalise(clips)[:, :, :, ::-1])
    same, swap = augment.augment(
        jax.random.key(0),
        clips,
        dataclasses.replace(flipping, flip_swaps_sides=False),
        ORDER,
    )
    assert not swap.any()
    np.testing.assert_array_equal(same, out)


@pytest.mark.parametrize("name", ["augmix", "flip", "colour_jitter", "static_mix"])
def test_each_augmentation_acts_on_its_share_of_the_clips(name):
    clips = some_clips(48)
    normal = augment.normalise(clips)
    for share in (0.0, 0.5, 1.0):
        options = dataclasses.replace(OFF, **{name: share})
        out, _ = augment.augment(jax.random.key(3), clips, options, ORDER)
        changed = int((out != normal).any((1, 2, 3, 4)).sum())
        low, high = {0.0: (0, 0), 0.5: (10, 38), 1.0: (44, 48)}[share]
        assert low <= changed <= high


def test_one_draw_for_all_frames():
    clips = jnp.broadcast_to(
        jax.random.randint(jax.random.key(0), (3, 1, 8, 8, 3), 0, 256), (3, 5, 8, 8, 3)
    ).astype(jnp.uint8)
    order = jnp.asarray([3, 1, 0, 2])
    always = augment.Augmentation(
        augmix=0.0, flip=0.5, colour_jitter=1.0, static_mix=0.0
    )
    out, mirrored = augment.augment(jax.random.key(7), clips, always, order)
    assert (out == out[:, :1]).all()
    assert mirrored.any() and not mirrored.all()
    assert not (out[0] == augment.normalise(clips)[0]).all()
    out, mirrored = augment.augment(jax.random.key(7), clips, OFF, order)
    assert (out == augment.normalise(clips)).all() and not mirrored.any()
