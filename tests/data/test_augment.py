"""Augmentation agrees with the goldens and touches only what it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.data import augment


def test_colour_jitter_golden(golden):
    data = np.load(golden / "colour_jitter.npz")
    clip = jnp.asarray(data["op/clip_THWC_uint8"].astype(np.float32))
    for i in range(4):
        ours = augment.colour_jitter(
            clip,
            jnp.asarray(data[f"colorjitter/{i}/order"].astype(np.int32)),
            jnp.asarray(data[f"colorjitter/{i}/b_c_s_h"].astype(np.float32)),
        )
        theirs = data[f"colorjitter/{i}/out"].astype(np.float32)
        assert np.abs(ours - theirs).max() <= 1
        assert (np.asarray(ours) == theirs).mean() > 0.99


CASES = ("p1_a05", "p05_a05", "odd_a03", "one_clip")


@pytest.mark.parametrize("case", CASES)
def test_static_face_mix_golden(golden, case):
    data = np.load(golden / "lsfm.npz")
    clip = jnp.asarray(data[f"{case}/clip_BTCHW"].transpose(0, 1, 3, 4, 2))
    partner = data[f"{case}/partner"]
    out = augment.static_face_mix(
        clip,
        jnp.asarray(partner >= 0),
        jnp.asarray(np.maximum(partner, 0).astype(np.int32)),
        jnp.asarray(np.maximum(data[f"{case}/region"], 0).astype(np.int32)),
        weight=float(data[f"{case}/alpha"]),
    )
    theirs = data[f"{case}/out_BTCHW"].transpose(0, 1, 3, 4, 2)
    np.testing.assert_allclose(out, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(224, 224), (18, 23)])
def test_regions_golden_and_tile(golden, size):
    data = np.load(golden / "lsfm.npz")
    masks = augment.region_masks(*size)
    for i in range(4):
        assert (masks[i] == data[f"mask/{size[0]}x{size[1]}/{i}"]).all()
    assert (masks.sum(0) == 1).all()


def test_static_face_mix_scales_motion_inside_only():
    key = jax.random.key(1)
    clips = jax.random.normal(key, (4, 3, 9, 7, 3))
    region = jnp.asarray([0, 1, 2, 3])
    chosen = jnp.asarray([True, True, False, True])
    out = augment.static_face_mix(clips, chosen, jnp.asarray([1, 2, 3, 0]), region)
    masks = augment.region_masks(9, 7)[region] & chosen[:, None, None]
    masks = jnp.broadcast_to(masks[:, None, :, :, None], clips.shape)
    assert (out == clips)[~masks].all()
    motion, mixed = clips[:, 1:] - clips[:, :1], out[:, 1:] - out[:, :1]
    np.testing.assert_allclose(
        mixed[masks[:, 1:]], 0.5 * motion[masks[:, 1:]], rtol=1e-5, atol=1e-6
    )


def test_one_draw_for_all_frames():
    clips = jnp.broadcast_to(
        jax.random.randint(jax.random.key(0), (3, 1, 8, 8, 3), 0, 256), (3, 5, 8, 8, 3)
    ).astype(jnp.uint8)
    order = jnp.asarray([3, 1, 0, 2])
    always = augment.Probabilities(flip=0.5, colour_jitter=1.0, static_mix=0.0)
    out, mirrored = augment.augment(jax.random.key(7), clips, always, order)
    assert (out == out[:, :1]).all()
    assert mirrored.any() and not mirrored.all()
    assert not (out[0] == augment.normalise(clips)[0]).all()
    never = augment.Probabilities(flip=0.0, colour_jitter=0.0, static_mix=0.0)
    out, mirrored = augment.augment(jax.random.key(7), clips, never, order)
    assert (out == augment.normalise(clips)).all() and not mirrored.any()
