"""Batches are a pure function of (seed, member, step)."""

import numpy as np
import pytest

from merclip_jax.data.batches import member_batches, padded, stack_batches

TRAIN = np.asarray([3, 4, 5, 8, 9, 11, 12, 20, 21, 22, 23])
LABELS = np.asarray([0, 1, 2] * 8)
LABELS[[3, 4, 5, 8]] = [2, 1, 2, 2]


def two_frames(index, rng):
    return np.stack([index, index + 100], axis=1)


def random_frames(index, rng):
    return rng.integers(1000, size=(len(index), 2))


def batches(seed=5, *, batch_size=4, train=TRAIN, balanced=False, draw=two_frames):
    return member_batches(
        train, LABELS, draw, seed=seed, batch_size=batch_size, balanced=balanced
    )


def first(dataset, count):
    return np.stack([dataset[step][0] for step in range(count)])


@pytest.mark.parametrize("balanced", [False, True])
def test_random_access_equals_reading_in_order(balanced):
    ordered = first(batches(balanced=balanced), 30)
    again = batches(balanced=balanced)
    for step in np.random.default_rng(0).permutation(30):
        np.testing.assert_array_equal(again[int(step)][0], ordered[step])


@pytest.mark.parametrize("balanced", [False, True])
def test_the_seed_decides(balanced):
    one = first(batches(seed=5, balanced=balanced), 11)
    np.testing.assert_array_equal(one, first(batches(seed=5, balanced=balanced), 11))
    assert (one != first(batches(seed=6, balanced=balanced), 11)).any()


def test_a_large_seed_is_as_good_as_any():
    large = first(batches(seed=100_003 * 50_000), 11)
    assert set(large.ravel()) == set(TRAIN)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 16])
def test_every_pass_covers_all_clips_once(batch_size):
    """Batches run on from one pass into the next, so that none is short."""
    passes = 6
    steps = -(-passes * len(TRAIN) // batch_size)
    clips = first(batches(batch_size=batch_size), steps)
    assert clips.shape == (steps, batch_size)
    clips = clips.ravel()[: passes * len(TRAIN)].reshape(passes, len(TRAIN))
    for one in clips:
        np.testing.assert_array_equal(np.sort(one), np.sort(TRAIN))
    assert len({tuple(one) for one in clips}) == passes  # each in its own order


def test_balanced_batches_draw_every_class_equally_often():
    """With replacement: a class, then one of its clips."""
    present = np.unique(LABELS[TRAIN])
    assert len(present) == 3
    assert len(set(np.bincount(LABELS[TRAIN]))) > 1  # the set itself is not balanced
    flat = first(batches(balanced=True, batch_size=50), 60).ravel()
    assert set(flat) == set(TRAIN)
    shares = np.bincount(LABELS[flat]) / len(flat)
    np.testing.assert_allclose(shares, 1 / 3, atol=4 * (2 / 9 / len(flat)) ** 0.5)
    for k in present:
        clips = TRAIN[LABELS[TRAIN] == k]
        times = np.bincount(flat, minlength=24)[clips] / (LABELS[flat] == k).sum()
        np.testing.assert_allclose(times, 1 / len(clips), atol=0.06)


def test_balanced_passes_over_a_class_that_is_not_there():
    train = TRAIN[LABELS[TRAIN] != 1]
    flat = first(batches(balanced=True, train=train, batch_size=50), 20).ravel()
    shares = np.bincount(LABELS[flat], minlength=3) / len(flat)
    np.testing.assert_allclose(shares, [0.5, 0, 0.5], atol=0.07)


def test_frames_are_drawn_by_seed_and_step():
    ordered = [batches(draw=random_frames)[step] for step in range(9)]
    again = batches(draw=random_frames)
    for step in (7, 0, 8, 3):
        np.testing.assert_array_equal(again[step][1], ordered[step][1])
    other = batches(seed=6, draw=random_frames)
    assert (other[0][1] != ordered[0][1]).any()
    assert len({tuple(frames.ravel()) for _, frames in ordered}) == 9


def test_clips_and_their_frames_are_drawn_apart():
    """Balanced draws of one clip a batch: its frame tells nothing about it."""

    def first_number(index, rng):
        return rng.integers(3, size=(len(index), 1))

    made = batches(balanced=True, batch_size=1, draw=first_number)
    pairs = [made[step] for step in range(200)]
    classes = [int(LABELS[index[0]]) for index, _ in pairs]
    frames = [int(frame[0, 0]) for _, frame in pairs]
    assert 0.2 < np.mean(np.equal(classes, frames)) < 0.47


def test_a_stack_is_its_members_side_by_side():
    members = [batches(seed) for seed in (1, 2, 3)]
    stacked = stack_batches(members, start=0, stop=12, scan_steps=4)
    assert len(stacked) == 3
    for call in (2, 0, 1):
        index, frames = stacked[call]
        assert index.shape == (4, 3, 4)
        assert frames.shape == (4, 3, 4, 2)
        for k in range(4):
            for m, member in enumerate(members):
                one = member[call * 4 + k]
                np.testing.assert_array_equal(index[k, m], one[0])
                np.testing.assert_array_equal(frames[k, m], one[1])


def test_a_stack_goes_on_where_it_stopped():
    members = [batches(seed, draw=random_frames) for seed in (1, 2)]
    whole = list(stack_batches(members, start=0, stop=12, scan_steps=2))
    rest = list(stack_batches(members, start=8, stop=12, scan_steps=2))
    for ours, wanted in zip(rest, whole[4:], strict=True):
        np.testing.assert_array_equal(ours[0], wanted[0])
        np.testing.assert_array_equal(ours[1], wanted[1])


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
def test_padding_covers_each_clip_exactly_once(count):
    indices = np.arange(100, 100 + count)
    length = -(-count // 4) * 4
    filled = padded(indices, length)
    assert filled.shape == (length,)
    np.testing.assert_array_equal(filled[:count], indices)
    assert set(filled) == set(indices)
