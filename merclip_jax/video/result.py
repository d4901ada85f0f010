"""How a video is looked at, and what was found in it."""

import dataclasses

import numpy as np

from merclip_jax.video import events
from merclip_jax.video.decode import Facts
from merclip_jax.video.events import Event, Scored
from merclip_jax.video.follow import EVERY
from merclip_jax.video.windows import STRIDE, Window

LARGEST, ALL = "largest", "all"
SLOWEST = 25.0  # pictures a second, below which a micro-expression is easily missed


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a video is looked at.

    seconds, stride: of windows, seconds 0 for what the model was trained on; threshold:
    a window's score from which it holds an expression; face: "largest", "all", or a
    number in order of appearance; every: seconds between two looks for faces.
    """

    seconds: float = 0.0
    stride: float = STRIDE
    threshold: float = events.THRESHOLD
    face: str | int = LARGEST
    every: float = EVERY


@dataclasses.dataclass(frozen=True, slots=True)  # a long video has many
class Row:
    """A face in one picture; number -1 where there is none."""

    index: int
    time: float
    face: int
    sure: float
    motion: float


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """An event with pictures: faces uint8 [n, h, w, 3] at their times, its window.

    Of very many events those of lower scores have none.
    """

    event: Event
    times: tuple[float, ...]
    faces: tuple[np.ndarray, ...]
    window: Window | None


@dataclasses.dataclass
class Result:
    """What was found in a video, or in the part that was read.

    rows: by time; windows: face -> its scored ones by time; stopped: why the rest is
    missing, "" where it is whole.
    """

    facts: Facts
    rows: list[Row] = dataclasses.field(default_factory=list)
    windows: dict[int, list[Scored]] = dataclasses.field(default_factory=dict)
    shown: list[Shown] = dataclasses.field(default_factory=list)
    stopped: str = ""

    @property
    def events(self) -> list[Event]:
        """By their onsets."""
        return [shown.event for shown in self.shown]

    @property
    def best(self) -> Scored | None:
        """The window with the largest score, None where there is no window."""
        every = [w for own in self.windows.values() for w in own]
        return max(every, key=lambda w: (w.score, -w.start), default=None)

    @property
    def rate(self) -> float:
        """Pictures a second, as they came."""
        times = sorted({row.time for row in self.rows})
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
