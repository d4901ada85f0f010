"""One video from its first picture to its last: faces, windows, answers, events.

Pictures stream through: what is held is a few seconds of small faces, a batch of
windows, and a row of numbers for each picture, however long the video is.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from merclip_jax.video import events
from merclip_jax.video.answer import Answerer
from merclip_jax.video.decode import Picture, Video
from merclip_jax.video.events import Scored
from merclip_jax.video.follow import Face, Find, follow
from merclip_jax.video.result import ALL, LARGEST, Result, Row, Settings, Shown
from merclip_jax.video.windows import Cutter, Trace, Window

_SAME = 0.2  # intersection over union, from which two events are one
_MOST = 40  # events with pictures, those of the highest scores


class _Followed:
    """A face while the video runs."""

    def __init__(self, cutter: Cutter):
        self.cutter = cutter
        self.traces: collections.deque[Trace] = collections.deque()
        self.open: list[Scored] = []
        self.raw: collections.deque[float] = collections.deque(maxlen=3)
        self.cut: dict[float, Window] = {}


def look(
    video: Video,
    answerer: Answerer,
    find: Find,
    settings: Settings,
    *,
    tick: Callable[[float], None] = lambda time: None,
) -> Result:
    """Everything that is found in a video.

    A KeyboardInterrupt ends it with what was found until then.

    Args:
        video: opened.
        answerer: a final model.
        find: looks for faces.
        settings: how.
        tick: is told the time of each picture, to show progress.

    Raises:
        VideoError: not one picture can be read.
    """
    return _Looking(video, answerer, find, settings).run(tick)


class _Looking:
    """A video that is being looked at."""

    def __init__(
        self, video: Video, answerer: Answerer, find: Find, settings: Settings
    ):
        self.video, self.answerer, self.find = video, answerer, find
        self.settings = settings
        self.seconds = settings.seconds or answerer.seconds
        self.result = Result(video.facts)
        self.faces: dict[int, _Followed] = {}
        self.waiting: list[Window] = []

    def run(self, tick: Callable[[float], None]) -> Result:
        pictures = follow(iter(self.video), self.find, every=self.settings.every)
        try:
            for picture, faces in pictures:
                self._picture(picture, self._wanted(faces))
                tick(picture.time)
        except KeyboardInterrupt:
            at = self.result.rows[-1].time if self.result.rows else 0.0
            self.result.stopped = f"interrupted at {at:.2f} s"
        self.result.stopped = self.result.stopped or self.video.problem
        self._answer(everything=True)
        for number, kept in self.result.windows.items():
            self._settle(self.faces[number], kept, len(kept) - 1)
        self._close(np.inf)
        self.result.shown = _apart(self.result.shown)
        return self.result

    def _wanted(self, faces: Sequence[Face]) -> Iterable[Face]:
        which = self.settings.face
        if which == ALL:
            return faces
        if which == LARGEST:
            return faces[:1]
        return [face for face in faces if face.number == which]

    def _picture(self, picture: Picture, faces: Iterable[Face]) -> None:
        rows = []
        for face in faces:
            own = self.faces.get(face.number)
            if own is None:
                view = self.answerer.model.system.view
                cutter = Cutter(view, seconds=self.seconds, stride=self.settings.stride)
                own = self.faces[face.number] = _Followed(cutter)
            trace, windows = own.cutter.add(picture, face)
            if trace is None:
                continue
            own.traces.append(trace)
            self.waiting += windows
            rows.append(
                Row(picture.index, picture.time, face.number, face.sure, trace.motion)
            )
        self.result.rows += rows or [Row(picture.index, picture.time, -1, 0.0, 0.0)]
        self._answer()
        self._close(picture.time)

    def _answer(self, *, everything: bool = False) -> None:
        """Answers full batches, or all that wait."""
        size = self.answerer.size
        while len(self.waiting) >= size or (everything and self.waiting):
            some, self.waiting = self.waiting[:size], self.waiting[size:]
            said = self.answerer(some)
            for window, classes, aus in zip(some, said.classes, said.aus, strict=True):
                self._score(window, classes, aus)

    def _score(self, window: Window, classes: np.ndarray, aus: np.ndarray) -> None:
        nothing = self.answerer.nothing
        raw = events.score_of(window.motion, classes, aus, nothing)
        own = self.faces[window.face]
        own.raw.append(raw)
        own.cut[window.start] = window
        kept = self.result.windows.setdefault(window.face, [])
        kept.append(
            Scored(
                window.face, window.start, window.end, window.motion, 0.0, classes, aus
            )
        )
        if len(kept) > 1:
            self._settle(own, kept, len(kept) - 2)

    def _settle(self, own: _Followed, kept: list[Scored], i: int) -> None:
        """Gives a window its score: it is believed as far as its neighbours agree."""
        near = [
            raw
            for raw, w in zip(own.raw, kept[-3:], strict=True)
            if abs(w.start - kept[i].start) < 1.5 * self.settings.stride
        ]
        score = round(float(np.mean(near)), events.DIGITS)
        kept[i] = dataclasses.replace(kept[i], score=score)
        if score >= self.settings.threshold:
            own.open.append(kept[i])
        else:
            own.cut.pop(kept[i].start, None)

    def _close(self, now: float) -> None:
        """Ends events that nothing can be added to, and forgets what none needs."""
        for own in self.faces.values():
            if not own.traces:
                continue
            if own.traces[-1].time < now - self.seconds:
                own.cutter.forget()  # a face that was lost holds no pictures
            number = own.traces[0].face
            scored = self.result.windows.get(number, ())
            reached = np.inf if now == np.inf else scored[-1].start if scored else 0.0
            groups = events.merged(own.open, threshold=self.settings.threshold)
            # Parts of one long group are ended together: more of it moves its cuts.
            ends = [group[-1].middle for group in groups]
            for i in range(len(groups) - 2, -1, -1):
                if groups[i + 1][0].start <= groups[i][-1].middle:
                    ends[i] = ends[i + 1]
            for group, end in zip(groups, ends, strict=True):
                if end >= reached or end + events.REACH >= now:
                    break
                self._end(own, group)
            # Windows that wait for a batch may yet be an event's.
            needed = min(
                [w.start for w in own.open]
                + [w.start for w in self.waiting if w.face == number]
                + [now]
            )
            before = needed - events.REACH - self.seconds
            while own.traces and own.traces[0].time < before:
                own.traces.popleft()

    def _end(self, own: _Followed, group: list[Scored]) -> None:
        event = events.event_of(group, list(own.traces))
        best = max(group, key=lambda w: (w.score, -w.start))
        edge = 0.15
        near = [
            t for t in own.traces if event.onset - edge <= t.time <= event.offset + edge
        ]
        chosen = [near[i] for i in _some(len(near))]
        self.result.shown.append(
            Shown(
                event,
                tuple(t.time for t in chosen),
                tuple(t.thumb for t in chosen),
                own.cut.get(best.start),
            )
        )
        self._forget_pictures()
        for window in group:
            own.open.remove(window)
            own.cut.pop(window.start, None)

    def _forget_pictures(self) -> None:
        """An hour has hundreds of events, whose pictures nobody would look at."""
        shown = self.result.shown
        having = [i for i, one in enumerate(shown) if one.window is not None]
        if len(having) > _MOST:
            least = min(having, key=lambda i: shown[i].event.score)
            shown[least] = Shown(shown[least].event, (), (), None)


def _apart(shown: list[Shown]) -> list[Shown]:
    """Brief events by their onsets; of two of one face that overlap the better one."""
    kept: list[Shown] = []
    brief = [s for s in shown if s.event.offset - s.event.onset <= events.MICRO]
    for one in sorted(brief, key=lambda s: (-s.event.score, s.event.onset)):
        own = [k.event for k in kept if k.event.face == one.event.face]
        if all(events.overlap(one.event.span, other.span) < _SAME for other in own):
            kept.append(one)
    return sorted(kept, key=lambda s: (s.event.onset, s.event.face))


def _some(count: int, most: int = 7) -> list[int]:
    """Up to `most` places spread evenly over `count`."""
    if not count:
        return []
    return np.unique(np.rint(np.linspace(0, count - 1, most)).astype(int)).tolist()
