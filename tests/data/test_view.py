"""What a view may be, and which frames it takes."""

import dataclasses

import numpy as np
import pytest

from merclip_jax.data.sampling import onset_apex, strided_frames
from merclip_jax.data.view import View


def test_strides_are_those_of_the_official_code():
    """s = L // 8; frames 0, s, .., 7 s: the rest at the end is never seen."""
    assert strided_frames(8, 8).tolist() == list(range(8))
    assert strided_frames(15, 8).tolist() == list(range(8))
    assert strided_frames(16, 8).tolist() == list(range(0, 16, 2))
    assert strided_frames(67, 8).tolist() == [0, 8, 16, 24, 32, 40, 48, 56]
    for length in range(8, 120):
        step = length // 8
        expected = [step * k for k in range(8)]
        assert strided_frames(np.int32(length), 8).tolist() == expected
        assert expected[-1] < length
    for length, count in ((7, 8), (0, 1), (5, 0)):
        with pytest.raises(ValueError, match=f"{length} frames: cannot stride"):
            strided_frames(length, count)


def test_a_view_with_strides_begins_at_the_onset():
    view = View(frames=8, image_size=64, grey=True, sampling="stride", align="frame")
    positions = view.positions(10, 20, 27, fps=30.0)
    assert positions.tolist() == [10, 12, 14, 16, 18, 20, 22, 24]
    assert positions.dtype == np.int64 and view.least == 8
    assert view.shape == (8, 64, 64, 1) and view.contract == "onset-offset"
    assert not view.drawn and View().least == 1
    with pytest.raises(ValueError, match="7 frames"):
        view.positions(10, 12, 16, fps=30.0)


def test_onset_and_apex():
    view = View(frames=2, sampling="onset_apex")
    assert view.positions(3, 9, 20, fps=30.0).tolist() == [3, 9]
    assert view.contract == "oracle-keyframes" and view.shape == (2, 224, 224, 3)
    assert onset_apex(4, 4, 4).tolist() == [4, 4]
    with pytest.raises(ValueError, match="onset <= apex <= offset, got 5, 4, 9"):
        onset_apex(5, 4, 9)
    flow = dataclasses.replace(view, flow=True)
    assert flow.shape == (1, 224, 224, 3)
    assert flow.positions(3, 9, 20, fps=30.0).tolist() == [9]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"frames": 3, "sampling": "onset_apex"}, "onset and apex are 2 frames"),
        ({"frames": 2}, "expected 3 or more key frames"),
        ({"align": "clip"}, "align='clip': expected one of"),
        ({"align": "frame", "resize": 256}, "resize=256: with align='frame'"),
        ({"flow": True}, "flow=True: expected sampling='onset_apex'"),
        (
            {"flow": True, "frames": 2, "sampling": "onset_apex", "grey": True},
            "and grey=False",
        ),
        ({"frames": 0, "sampling": "stride"}, "frames=0"),
    ],
)
def test_views_that_cannot_be(values, match):
    with pytest.raises(ValueError, match=match):
        View(**values)


def test_a_window_lies_anywhere_in_training_and_in_the_middle_in_a_test():
    """Its length is in seconds, and no annotation has a part in it."""
    view = View(frames=5, sampling="window", seconds=0.5)
    assert view.positions(0, 0, 39, fps=20.0).tolist() == [15, 17, 19, 22, 24]
    rng = np.random.default_rng(0)
    drawn = [view.positions(0, 0, 39, fps=20.0, rng=rng) for _ in range(200)]
    starts = {int(d[0]) for d in drawn}
    assert starts == set(range(31)) and all(d[-1] - d[0] == 9 for d in drawn)
    # One that is shorter than a window is its window.
    assert view.positions(0, 0, 3, fps=20.0).tolist() == [0, 1, 2, 2, 3]
    assert view.contract == "raw-window" and view.drawn
