"""Which frames of a clip the model sees.

`key_frames` follows ME-PLAN's sampling, to which MER-CLIP's paper refers: the rule is
inferred from the frame counts in the released lists. `uniform_frames` is the one of the
released code for CAS(ME)^3, `strided_frames` that of FDP's official code.
"""

import numpy as np

Integer = int | np.integer
FRAMES = 16  # what MER-CLIP sees of a clip
NOTHING = "none"  # the emotion of a window without an expression


def key_frames(
    onset: Integer,
    apex: Integer,
    offset: Integer,
    count: int = FRAMES,
    *,
    strides: str = "float",
) -> np.ndarray:
    """Positions of frames that keep onset, apex and offset.

    Args:
        onset, apex, offset: positions in the clip's frames.
        count: frames to choose, 3 or more.
        strides: "float" spreads them evenly: all distinct when the clip has `count`
            frames or more, repeated evenly when it is shorter. "integer" steps whole
            frames from each phase's start and repeats the last one when fewer than
            `count` come out.

    Returns:
        int64 [count], non-decreasing, within onset..offset.

    Raises:
        ValueError: unless onset <= apex <= offset, count >= 3 and strides is known.
    """
    if not onset <= apex <= offset:
        raise ValueError(
            f"expected onset <= apex <= offset, got {onset}, {apex}, {offset}"
        )
    if count < 3:
        raise ValueError(f"count {count}: onset, apex and offset need at least 3")
    if strides not in ("float", "integer"):
        raise ValueError(f"strides is 'float' or 'integer', not {strides!r}")
    onset, apex, offset = int(onset), int(apex), int(offset)
    keys = {onset, apex, offset}
    # What is left beside the three is shared by the phases in proportion to length.
    free = count - len(keys)
    rise, fall = apex - onset, offset - apex
    in_rise = round(free * rise / (rise + fall)) if offset > onset else 0
    # The authors' prepared folders have 14 or 15 frames in 6.5 % of the clips: whole
    # strides explain these counts.
    if strides == "integer":
        step = max(1, round(rise / (in_rise + 1)))
        keys |= set(range(onset, apex, step)[: in_rise + 1])
        step = max(1, round(fall / (free - in_rise + 1)))
        keys |= set(range(apex, offset, step)[: free - in_rise + 1])
        frames = sorted(keys) + [offset] * (count - len(keys))
        return np.asarray(frames, np.int64)
    if offset - onset + 1 >= count:
        # A phase cannot give more frames than it has; the other takes the rest.
        in_rise = min(in_rise, max(rise - 1, 0))
        in_rise = max(in_rise, free - max(fall - 1, 0))
    frames = [*sorted(keys), *_between(onset, apex, in_rise)]
    frames += _between(apex, offset, free - in_rise)
    return np.asarray(sorted(frames), np.int64)


def uniform_frames(
    length: Integer,
    count: int = FRAMES,
    *,
    rng: np.random.Generator | np.random.RandomState | None = None,
) -> np.ndarray:
    """Positions of frames, one from each of `count` equal segments.

    Args:
        length: frames of the clip; one shorter than `count` is looped from its start.
        count: frames to choose.
        rng: for a random frame of each segment, both ends included (training); None:
            its middle (test). A legacy RandomState gives the released code's draws.

    Returns:
        int64 [count] in 0..length-1.

    Raises:
        ValueError: when length or count is below 1.
    """
    if length < 1 or count < 1:
        raise ValueError(
            f"expected length and count of at least 1, got {length}, {count}"
        )
    if length < count:
        return np.arange(count, dtype=np.int64) % length
    segment = (length - 1) / count
    # Python rounds halves to even, as NumPy does in the released code.
    edges = [round(segment * i) for i in range(count + 1)]
    if rng is None:
        return np.asarray([edge + int(segment / 2) for edge in edges[:-1]], np.int64)
    draw = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    pairs = zip(edges[:-1], edges[1:], strict=True)
    return np.asarray([draw(low, high + 1) for low, high in pairs], np.int64)


def strided_frames(length: Integer, count: int) -> np.ndarray:
    """Positions of every s-th frame from the first on, s = length // count.

    Up to s - 1 + length % count frames at the clip's end are thus never seen.

    Args:
        length: frames of the clip, `count` or more.
        count: frames to choose.

    Returns:
        int64 [count]: 0, s, .., (count - 1) s.

    Raises:
        ValueError: when the clip is shorter, or count is below 1.
    """
    if count < 1 or length < count:
        raise ValueError(f"{length} frames: cannot stride over them {count} times")
    return np.arange(count, dtype=np.int64) * (int(length) // count)


def window_frames(
    length: Integer,
    within: Integer,
    count: int,
    *,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Positions of frames spread evenly over a window that lies somewhere in a clip.

    Args:
        length: frames of the clip; one that is shorter than the window is its window.
        within: frames of the window.
        count: frames to choose; where the window has fewer, some are repeated.
        rng: places the window; None places it in the middle.

    Returns:
        int64 [count], non-decreasing, in 0..length-1.

    Raises:
        ValueError: when any number is below 1.
    """
    if min(length, within, count) < 1:
        raise ValueError(f"expected 1 or more, got {length}, {within}, {count}")
    within = min(int(within), int(length))
    free = int(length) - within
    start = free // 2 if rng is None else int(rng.integers(free + 1))
    return start + np.rint(np.linspace(0, within - 1, count)).astype(np.int64)


def onset_apex(onset: Integer, apex: Integer, offset: Integer) -> np.ndarray:
    """Positions of the first and of the strongest frame, int64 [2].

    Args:
        onset, apex, offset: positions in the clip's frames.

    Raises:
        ValueError: unless onset <= apex <= offset.
    """
    if not onset <= apex <= offset:
        raise ValueError(
            f"expected onset <= apex <= offset, got {onset}, {apex}, {offset}"
        )
    return np.asarray([onset, apex], np.int64)


def _between(start: int, stop: int, slots: int) -> list[int]:
    """`slots` positions evenly inside start..stop."""
    stride = (stop - start) / (slots + 1)
    return [start + round(k * stride) for k in range(1, slots + 1)]
