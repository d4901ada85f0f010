import pathlib

import numpy as np
import pytest

from merclip_jax.data.sampling import key_frames, uniform_frames

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "uniform.npz"


def test_integer_strides_reproduce_the_worked_examples():
    short = [46, 49, 52, 55, 58, 59, 62, 65, 68, 71, 74, 77, 80, 83, 86, 86]
    assert key_frames(46, 59, 86, strides="integer").tolist() == short
    full = [5562, 5566, 5570, 5574, 5578, 5582, 5588, 5593]
    full += [5598, 5603, 5608, 5613, 5618, 5623, 5628, 5632]
    stored = np.asarray([5562, 5588, 5632], np.int32)  # as TFDS gives them
    assert key_frames(*stored, strides="integer").tolist() == full


@pytest.mark.parametrize("strides", ["float", "integer"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 15, 16, 17, 18, 29, 64])
def test_key_frames_keep_onset_apex_and_offset(length, strides):
    for apex in range(length):
        frames = key_frames(10, 10 + apex, 9 + length, strides=strides)
        assert frames.dtype == np.int64 and frames.shape == (16,)
        assert (np.diff(frames) >= 0).all()
        assert {10, 10 + apex, 9 + length} <= set(frames.tolist())
        assert frames[0] == 10 and frames[-1] == 9 + length


@pytest.mark.parametrize("length", range(1, 48))
def test_float_strides_repeat_no_frame_without_need(length):
    for apex in range(length):
        frames = key_frames(0, apex, length - 1)
        assert len(set(frames.tolist())) == min(length, 16)


def test_key_frames_share_the_slots_by_phase_length():
    frames = key_frames(0, 20, 100)
    assert (frames < 20).sum() == 4  # onset and round(13 * 20 / 100) = 3 more
    assert len(key_frames(0, 5, 9, 4)) == 4


@pytest.mark.parametrize("frames", [(5, 4, 9), (0, 10, 9), (3, 3, 2)])
def test_key_frames_out_of_order_raise(frames):
    with pytest.raises(ValueError, match="onset <= apex <= offset"):
        key_frames(*frames)


def test_key_frames_name_wrong_options():
    with pytest.raises(ValueError, match="count 2"):
        key_frames(0, 1, 2, 2)
    with pytest.raises(ValueError, match="'half'"):
        key_frames(0, 1, 2, strides="half")


@pytest.mark.parametrize("length", [3, 6, 15, 16, 17, 20, 31, 67, 200])
def test_uniform_frames_equal_the_reference(length):
    golden = np.load(GOLDEN)
    np.testing.assert_array_equal(uniform_frames(length), golden[f"test/{length}"])
    drawn = uniform_frames(length, rng=np.random.RandomState(length))
    np.testing.assert_array_equal(drawn, golden[f"train_seed_n/{length}"])


def test_uniform_frames_draw_from_their_segments_with_a_generator():
    draws = np.stack(
        [uniform_frames(67, rng=np.random.default_rng(seed)) for seed in range(200)]
    )
    edges = np.round(np.arange(17) * 66 / 16).astype(int)
    assert (draws.min(axis=0) == edges[:-1]).all()
    assert (draws.max(axis=0) == edges[1:]).all()
    again = uniform_frames(67, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(draws[0], again)


def test_uniform_frames_of_nothing_raise():
    with pytest.raises(ValueError, match="got 0, 16"):
        uniform_frames(0)
