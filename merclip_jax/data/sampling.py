"""Which frames of a clip the model sees.

`key_frames` follows the rule inferred from the frame counts in MER-CLIP's lists (the
sampling of ME-PLAN); `uniform_frames` is the one MER-CLIP uses on CAS(ME)^3.
"""

import numpy as np

Integer = int | np.integer


def key_frames(
    onset: Integer,
    apex: Integer,
    offset: Integer,
    count: int = 16,
    *,
    strides: str = "float",
) -> np.ndarray:
    """Positions of `count` frames that keep onset, apex and offset.

    Returns int64 [count], non-decreasing, within onset..offset. The slots left beside
    the three are shared between the two phases in proportion to their length.
    `strides="float"` spreads them evenly: all distinct when the clip has `count` frames
    or more, repeated evenly when it is shorter. `"integer"` steps whole frames from
    each phase's start and repeats the last frame when fewer than `count` come out,
    as the authors' prepared folders do (14 or 15 frames in 6.5 % of the clips).
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
    free = count - len(keys)
    rise, fall = apex - onset, offset - apex
    in_rise = round(free * rise / (rise + fall)) if offset > onset else 0
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
    count: int = 16,
    *,
    rng: np.random.Generator | np.random.RandomState | None = None,
) -> np.ndarray:
    """Positions of `count` frames, one from each of `count` equal segments.

    Returns int64 [count] in 0..length-1: the middle of each segment without `rng`
    (test), a random frame of it, both ends included, with `rng` (training). A clip
    shorter than `count` is looped from its start. A legacy RandomState gives the draws
    of the reference implementation.
    """
    if length < 1 or count < 1:
        raise ValueError(
            f"expected length and count of at least 1, got {length}, {count}"
        )
    if length < count:
        return np.arange(count, dtype=np.int64) % length
    segment = (length - 1) / count
    edges = [round(segment * i) for i in range(count + 1)]
    if rng is None:
        return np.asarray([edge + int(segment / 2) for edge in edges[:-1]], np.int64)
    draw = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    pairs = zip(edges[:-1], edges[1:], strict=True)
    return np.asarray([draw(low, high + 1) for low, high in pairs], np.int64)


def _between(start: int, stop: int, slots: int) -> list[int]:
    """`slots` positions evenly inside start..stop."""
    stride = (stop - start) / (slots + 1)
    return [start + round(k * stride) for k in range(1, slots + 1)]
