"""Faces of a video, looked for now and then and followed in between.

Looking for faces in every picture would take most of the time, and landmarks that
jitter from picture to picture would move faces that keep still. So they are looked for
a few times a second, and what lies between two finds of one face lies on a straight
line between its landmarks.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from merclip_jax.video.decode import Picture

EVERY = 0.25  # seconds between two looks
_NEAR = 0.6  # widths of a face that it may move from one look to the next
_ALIKE = 1.6  # times that it may grow or shrink

# A picture's faces: how sure, landmarks [p, 2]; the largest first.
Find = Callable[[np.ndarray], list[tuple[float, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in one picture: its number, landmarks float64 [p, 2], how sure."""

    number: int
    points: np.ndarray
    sure: float

    @property
    def size(self) -> float:
        """Pixels, the larger side of the landmarks' box."""
        return float(np.ptp(self.points, axis=0).max())


def follow(
    pictures: Iterable[Picture], find: Find, *, every: float = EVERY
) -> Iterator[tuple[Picture, list[Face]]]:
    """Yields each picture with the faces in it, the largest first.

    A face keeps its number while it is found; one that was lost comes back under a new
    one. Pictures are yielded a look late, for they wait for the next one.

    Args:
        pictures: of one video.
        find: looks for faces.
        every: seconds between two looks.
    """
    waiting: list[Picture] = []
    before: list[Face] = []
    looked, numbers = -np.inf, 0
    for picture in pictures:
        if picture.time < looked + every:
            waiting.append(picture)
            continue
        found, numbers = _numbered(find(picture.image), before, numbers)
        yield from _between(waiting, before, looked, found, picture.time)
        yield picture, found
        waiting, before, looked = [], found, picture.time
    # After the last look a face is where it was.
    for picture in waiting:
        yield picture, before


def _numbered(
    found: list[tuple[float, np.ndarray]], before: list[Face], numbers: int
) -> tuple[list[Face], int]:
    """Faces that were known keep their numbers, new ones get the next."""
    free, made = list(before), []
    for sure, points in found:
        one = Face(-1, points, sure)
        near = [
            (float(np.hypot(*(one.points.mean(0) - old.points.mean(0)))), i)
            for i, old in enumerate(free)
            if max(one.size, old.size) < _ALIKE * min(one.size, old.size)
        ]
        distance, i = min(near, default=(np.inf, -1))
        if distance < _NEAR * one.size:
            number = free.pop(i).number
        else:
            number, numbers = numbers, numbers + 1
        made.append(dataclasses.replace(one, number=number))
    return made, numbers


def _between(
    waiting: list[Picture],
    before: list[Face],
    start: float,
    after: list[Face],
    end: float,
) -> Iterator[tuple[Picture, list[Face]]]:
    """Faces of the pictures between two looks: those that both have found."""
    later = {face.number: face for face in after}
    both = [(face, later[face.number]) for face in before if face.number in later]
    for picture in waiting:
        share = (picture.time - start) / (end - start)
        yield (
            picture,
            [
                Face(
                    a.number,
                    a.points + share * (b.points - a.points),
                    min(a.sure, b.sure),
                )
                for a, b in both
            ],
        )
