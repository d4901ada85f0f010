"""From scores of overlapping windows to intervals, or to none: blind spotting.

A window's score is how surely it holds an expression: what the model does not give to
"none", where it was trained on windows without one; else how far its motion is above
the least that is one. Nothing moves without motion: below the gate a score is 0.
"""

import dataclasses

import numpy as np

from merclip_jax.video.motion import moved
from merclip_jax.video.windows import Trace

THRESHOLD = 0.8
DIGITS = 4  # of scores: rounding in batches of another size is not shown
GATE = 0.2  # % of the face's width; a still face with a camera's noise has 0.1
LONGEST = 1.0  # seconds of an event; a micro-expression has up to half of one
MICRO = 0.8  # seconds; what is estimated to be longer is no micro-expression
_EDGE = 0.3  # share of the largest displacement, at which an event begins and ends
REACH = 0.6  # seconds around an event's middle in which its course is looked at


@dataclasses.dataclass(frozen=True, slots=True, eq=False)  # a long video has many
class Scored:
    """A window without its pictures: where it lies, and what is said of it.

    score: how surely it holds an expression; classes, aus: probabilities.
    """

    face: int
    start: float
    end: float
    motion: float
    score: float
    classes: np.ndarray
    aus: np.ndarray

    @property
    def middle(self) -> float:
        """Seconds."""
        return (self.start + self.end) / 2


@dataclasses.dataclass(frozen=True, eq=False)
class Event:
    """An interval in which a face showed something, in seconds.

    score: the largest of its windows; motion: the most in them; classes, aus: of the
    window with that score; onset, apex, offset: estimates.
    """

    face: int
    onset: float
    apex: float
    offset: float
    score: float
    motion: float
    classes: np.ndarray
    aus: np.ndarray

    @property
    def span(self) -> tuple[float, float]:
        """Onset and offset."""
        return self.onset, self.offset


def score_of(
    motion: float, classes: np.ndarray, aus: np.ndarray, nothing: int | None
) -> float:
    """How surely a window holds an expression, 0 to 1.

    Args:
        motion: the most in it, % of the face's width.
        classes: [k] probabilities.
        aus: [a] probabilities; of a detector, whose classes are rules.
        nothing: which class is none, None where there is no such class.
    """
    if motion < GATE:
        return 0.0
    if nothing is not None:
        return float(1 - classes[nothing])
    above = float(1 - np.exp(-np.log(2) * motion / GATE / 2))
    return above * float(aus.max()) if aus.size else above


def merged(
    windows: list[Scored], *, threshold: float = THRESHOLD
) -> list[list[Scored]]:
    """Windows of one face at or above the threshold, those that overlap together.

    What lasts longer than `LONGEST` is divided where its score is least.

    Args:
        windows: by time.
        threshold: of their scores.
    """
    groups: list[list[Scored]] = []
    for window in windows:
        if window.score < threshold:
            continue
        if groups and window.start <= groups[-1][-1].middle:
            groups[-1].append(window)
        else:
            groups.append([window])
    return [part for group in groups for part in _divided(group)]


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two intervals, each (onset, offset)."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    whole = max(one[1], other[1]) - min(one[0], other[0])
    return max(shared, 0.0) / whole if whole > 0 else 0.0


def _divided(group: list[Scored]) -> list[list[Scored]]:
    if len(group) < 3 or group[-1].middle - group[0].middle <= LONGEST:
        return [group]
    # Not at the ends, where a score is least of all groups.
    inner = [w.score for w in group[1:-1]]
    cut = 1 + int(np.argmin(inner))
    return [*_divided(group[:cut]), *_divided(group[cut:])]


def event_of(group: list[Scored], traces: list[Trace]) -> Event:
    """An event of windows that belong together.

    Args:
        group: of `merged`.
        traces: the face's pictures around it, by time; the course of the face between
            them tells onset, apex and offset.
    """
    weights = np.array([w.score for w in group])
    best = max(group, key=lambda w: (w.score, -w.start))
    middle = float(np.average([w.middle for w in group], weights=weights**2))
    onset, apex, offset = _course(traces, middle, best)
    return Event(
        face=best.face,
        onset=onset,
        apex=apex,
        offset=offset,
        score=best.score,
        motion=max(w.motion for w in group),
        classes=best.classes,
        aus=best.aus,
    )


def _course(
    traces: list[Trace], middle: float, best: Scored
) -> tuple[float, float, float]:
    """Onset, apex and offset by how far the face is from where it was before."""
    near = [t for t in traces if abs(t.time - middle) <= REACH]
    if len(near) < 5:
        return best.start, best.middle, best.end
    times = np.array([t.time for t in near])
    # Neutral is what the face was before and after: whichever is nearer counts.
    before, after = near[0].small, near[-1].small
    gone = np.minimum(
        [moved(before, t.small) for t in near], [moved(after, t.small) for t in near]
    )
    weight = np.exp(-0.5 * ((times - middle) / (0.5 * REACH)) ** 2)
    peak = int((gone * weight).argmax())
    level = gone.min() + _EDGE * (gone[peak] - gone.min())
    below = np.flatnonzero(gone <= level)
    first = below[below < peak]
    last = below[below > peak]
    onset = times[first[-1]] if first.size else times[0]
    offset = times[last[0]] if last.size else times[-1]
    return float(onset), float(times[peak]), float(offset)
