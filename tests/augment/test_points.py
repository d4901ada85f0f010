"""Landmarks stay on the pixels that they were on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.augment import points
from merclip_jax.augment.points import PointAugmentation

B, T, H, W = 3, 2, 40, 48
STILL = PointAugmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
CASES = {
    "none": (0.0, 1.0, (0.0, 0.0)),
    "turn": (8.0, 1.0, (0.0, 0.0)),
    "grow": (0.0, 1.05, (0.0, 0.0)),
    "shift": (0.0, 1.0, (3.0, -2.0)),
    "all": (-8.0, 0.95, (-1.5, 2.25)),
}


def spot(at, h=H, w=W):
    """A clip [1, 1, h, w, 3] with a soft spot at (x, y)."""
    y, x = np.mgrid[:h, :w]
    value = 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 6)
    return np.repeat(value[None, None, ..., None], 3, -1).astype(np.float32)


def centre(clip):
    """Where the spot is now."""
    value = np.asarray(clip)[0, 0, ..., 0]
    y, x = np.mgrid[: value.shape[0], : value.shape[1]]
    return np.asarray([(x * value).sum(), (y * value).sum()]) / value.sum()


def marks(at):
    """68 landmarks, the one of the spot at number 7."""
    found = np.full((1, 68, 2), 5.0, np.float32)
    found[0, 7] = at
    return jnp.asarray(found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("at", [(14.0, 12.0), (30.0, 25.0), (20.5, 27.25)])
def test_a_landmark_stays_on_its_spot(case, at):
    degrees, scale, shift = CASES[case]
    clip, moved = jax.jit(points.move)(
        jnp.asarray(spot(at)),
        marks(at),
        jnp.deg2rad(jnp.asarray([degrees], jnp.float32)),
        jnp.asarray([scale], jnp.float32),
        jnp.asarray([shift], jnp.float32),
    )
    np.testing.assert_allclose(centre(clip), moved[0, 7], atol=0.06)
    far = abs(degrees) + abs(scale - 1) + abs(shift[0])
    assert (np.abs(np.asarray(moved[0, 7]) - at).max() > 0.1) == bool(far)


def test_a_turn_is_from_x_towards_y():
    right_of_the_centre = jnp.asarray([[[33.5, 19.5]] * 68], jnp.float32)
    one = jnp.ones(1)
    _, moved = points.move(
        jnp.zeros((1, 1, H, W, 3)),
        right_of_the_centre,
        jnp.pi / 2 * one,
        2 * one,
        jnp.zeros((1, 2)),
    )
    np.testing.assert_allclose(moved[0, 0], [23.5, 39.5], atol=1e-4)


def test_nothing_changes_nothing():
    """The shares of a pixel are then 1 and 0, but for rounding."""
    key = jax.random.key(0)
    clips = jnp.round(jax.random.uniform(key, (B, T, H, W, 3)) * 255)
    where = jax.random.uniform(key, (B, 68, 2)) * 40
    frames, moved = jax.jit(functools.partial(points.augment, options=STILL))(
        key, clips.astype(jnp.uint8), where
    )
    np.testing.assert_allclose(frames, clips, atol=2e-3)
    np.testing.assert_allclose(moved, where, atol=1e-4)


@pytest.mark.parametrize("at", [(14.0, 12.0), (30.0, 25.0)])
def test_a_mirror_swaps_landmarks_and_keeps_them_on_their_pixels(at):
    clip, moved = points.mirror(jnp.asarray(spot(at)), marks(at), jnp.asarray([True]))
    # Point 7 of the jaw is point 9 in the mirror.
    np.testing.assert_allclose(centre(clip), moved[0, 9], atol=0.01)
    np.testing.assert_allclose(moved[0, 9], [W - 1 - at[0], at[1]], rtol=1e-6)
    same, still = points.mirror(clip, moved, jnp.asarray([False]))
    np.testing.assert_array_equal(same, clip)
    np.testing.assert_array_equal(still, moved)
    back, again = points.mirror(clip, moved, jnp.asarray([True]))
    np.testing.assert_array_equal(back, spot(at))
    np.testing.assert_allclose(again, marks(at), rtol=1e-6)


def test_the_mirror_of_each_landmark():
    """iBUG's numbers: jaw, brows, nose, eyes, lips; those on the middle line stay."""
    pairs = {0: 16, 7: 9, 17: 26, 21: 22, 31: 35, 36: 45, 37: 44, 39: 42, 40: 47}
    pairs |= {41: 46, 48: 54, 49: 53, 55: 59, 56: 58, 60: 64, 61: 63, 65: 67}
    for a, b in pairs.items():
        assert (points.MIRRORED[a], points.MIRRORED[b]) == (b, a)
    middle = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    np.testing.assert_array_equal(points.MIRRORED[middle], middle)
    np.testing.assert_array_equal(points.MIRRORED[points.MIRRORED], np.arange(68))
    assert sum(points.MIRRORED == np.arange(68)) == len(middle)


def test_one_draw_a_clip():
    """Frames of a clip move alike, clips do not; the key decides all."""
    key = jax.random.key(3)
    frame = jax.random.uniform(key, (1, 1, H, W, 3)) * 255
    clips = jnp.broadcast_to(frame, (B, T, H, W, 3))
    where = jnp.broadcast_to(marks((14.0, 12.0)), (B, 68, 2))
    run = jax.jit(functools.partial(points.augment, options=PointAugmentation()))
    frames, moved = run(jax.random.key(0), clips, where)
    assert frames.min() >= 0 and frames.max() <= 255
    np.testing.assert_allclose(frames[:, 0], frames[:, 1], atol=1e-3)
    for i in range(1, B):
        assert not np.allclose(frames[0], frames[i], atol=1)
        assert not np.allclose(moved[0], moved[i], atol=0.1)
    again, _ = run(jax.random.key(0), clips, where)
    np.testing.assert_array_equal(again, frames)
    assert not np.allclose(run(jax.random.key(1), clips, where)[0], frames, atol=1)


@pytest.mark.parametrize("size", [32, 64])
def test_moves_stay_within_their_limits_at_every_size(size):
    b = 64
    options = dataclasses.replace(STILL, shift=14.0)
    where = jnp.full((b, 68, 2), 10.0)
    clips = jnp.zeros((b, 1, size, size, 3))
    _, moved = points.augment(jax.random.key(0), clips, where, options)
    away = np.asarray(moved - where)[:, 0] * 224 / size
    assert (np.abs(away) <= 14).all() and np.abs(away).max() > 12
    assert (np.abs(away).max(0) > 10).all()


def test_light_changes_all_frames_by_one_line():
    """Grey levels a x + b with the same a and b in all frames of a clip."""
    options = dataclasses.replace(STILL, brightness=0.1, contrast=0.1)
    key = jax.random.key(0)
    clips = 100 + 50 * jax.random.uniform(key, (B, T, 8, 8, 3))
    frames, _ = points.augment(key, clips, jnp.zeros((B, 68, 2)), options)
    for before, after in zip(np.asarray(clips), np.asarray(frames), strict=True):
        line = np.polyfit(before.reshape(-1), after.reshape(-1), 1)
        np.testing.assert_allclose(np.polyval(line, before), after, atol=1e-2)
        assert 0.9 <= line[0] <= 1.1


def test_vectors_of_motion_turn_with_the_face():
    """A step to the right is one to the left in the mirror, and one down after 90."""
    u, v, strain = 167.5, 127.5, 60.0
    clips = jnp.broadcast_to(jnp.asarray([u, v, strain]), (2, 1, 8, 8, 3))
    chosen = jnp.asarray([True, False])
    turned = points._turned(clips, chosen, jnp.asarray([0.0, jnp.pi / 2]))
    np.testing.assert_allclose(turned[0, 0, 0, 0], [87.5, 127.5, 60.0], atol=1e-3)
    np.testing.assert_allclose(turned[1, 0, 0, 0], [127.5, 167.5, 60.0], atol=1e-3)
    still = jnp.full((2, 1, 8, 8, 3), 127.5)
    options = PointAugmentation(brightness=0.5, contrast=0.5)
    frames, _ = points.augment(
        jax.random.key(0), still, jnp.zeros((2, 68, 2)), options, motion=True
    )
    np.testing.assert_allclose(frames, 127.5, atol=1e-2)
