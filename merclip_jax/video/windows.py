"""Windows of a followed face as what a system sees of a clip.

Windows begin at whole multiples of the stride, whatever the frame rate. A window's face
is cut out by one transform, that of its first picture, so that cutting adds no motion;
a system that aligns picture by picture gets that.
"""

import collections
import dataclasses
from collections.abc import Iterator

import cv2
import numpy as np

from merclip_jax.data.flow import flow_picture
from merclip_jax.data.sampling import onset_apex, strided_frames
from merclip_jax.data.view import View
from merclip_jax.faces.align import align_matrix, transform_points, warp
from merclip_jax.video.decode import Picture
from merclip_jax.video.follow import Face
from merclip_jax.video.motion import moved, small_face

SECONDS, STRIDE = 0.5, 0.1
FEWEST = 4  # pictures, without which nothing can be said of motion
THUMB = 96  # pixels of a face to look at
_WIDE = 2.8  # as `align_matrix`'s margin: a little more than a model sees
_LOOKS = 8  # pictures among which a window's strongest is looked for
_LAG = 0.2  # seconds over which a picture's motion is measured


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """What a system sees of a window, and where it lies.

    face: its number; start, end: seconds of the first and last picture; apex: of the
    strongest; frames: uint8 [t, h, w, c]; landmarks: float32 [p, 2] in these; motion:
    the most in it, % of the face's width.
    """

    face: int
    start: float
    end: float
    apex: float
    frames: np.ndarray
    landmarks: np.ndarray
    motion: float

    @property
    def middle(self) -> float:
        """Seconds."""
        return (self.start + self.end) / 2


@dataclasses.dataclass(frozen=True)
class Trace:
    """What stays of a face in one picture: little enough to hold for seconds.

    face: its number; small: of `motion.small_face`; thumb: uint8 [h, w, 3] to look at;
    motion: since 0.2 seconds ago, % of the face's width.
    """

    face: int
    time: float
    small: np.ndarray
    thumb: np.ndarray
    motion: float


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A face in a picture that windows may yet need."""

    picture: Picture
    face: Face
    small: np.ndarray
    motion: float


class Cutter:
    """Cuts windows out of one face's pictures, which it holds as long as it needs them.

    Args:
        view: what the system sees.
        seconds: length of a window.
        stride: seconds from one window's start to the next one's.
    """

    def __init__(self, view: View, *, seconds: float, stride: float):
        self._view, self._seconds, self._stride = view, seconds, stride
        self._held: collections.deque[_Seen] = collections.deque()
        self._next: int | None = None  # number of the next window

    def add(self, picture: Picture, face: Face) -> tuple[Trace | None, list[Window]]:
        """Takes the next picture of the face.

        Args:
            picture: later than the one before.
            face: where it is.

        Returns:
            What was seen, None where the landmarks are no face's; and the windows that
            this picture completes.
        """
        small = small_face(picture.image, face.points)
        if small is None:
            self.forget()
            return None, []
        # Where the face was lost nothing is known of what lies between.
        if self._held and picture.time - self._held[-1].picture.time > self._seconds:
            self.forget()
        motion = 0.0
        ago = [s for s in self._held if s.picture.time >= picture.time - _LAG - 1e-6]
        if ago:
            motion = moved(ago[0].small, small)
        seen = _Seen(picture, face, small, motion)
        first = int(np.ceil(picture.time / self._stride - 1e-6))
        if not self._held:
            self._next = first
        self._held.append(seen)
        thumb = warp(
            picture.image, align_matrix(face.points, size=THUMB, margin=_WIDE), THUMB
        )
        trace = Trace(face.number, picture.time, small, thumb, motion)
        return trace, list(self._complete())

    def forget(self) -> None:
        """Gives up the pictures that are held; the face comes back as if new."""
        self._held.clear()

    def _complete(self) -> Iterator[Window]:
        while True:
            start = self._next * self._stride
            if self._held[-1].picture.time < start + self._seconds - 1e-6:
                return
            while self._held and self._held[0].picture.time < start - 1e-6:
                self._held.popleft()
            end = start + self._seconds + 1e-6
            inside = [s for s in self._held if s.picture.time <= end]
            self._next += 1
            if len(inside) >= FEWEST:
                yield self._cut(inside)

    def _cut(self, inside: list[_Seen]) -> Window:
        times = np.array([s.picture.time for s in inside])
        strongest = self._strongest(inside)
        frames, landmarks = self._frames(inside, self._chosen(times, strongest))
        return Window(
            face=inside[0].face.number,
            start=float(times[0]),
            end=float(times[-1]),
            apex=float(times[strongest]),
            frames=frames,
            landmarks=landmarks,
            motion=max(s.motion for s in inside),
        )

    def _strongest(self, inside: list[_Seen]) -> int:
        """The picture that differs most from the first, of some spread evenly."""
        if self._view.sampling not in ("keyframes", "keyframes_integer", "onset_apex"):
            return len(inside) // 2
        some = np.unique(np.rint(np.linspace(1, len(inside) - 1, _LOOKS)).astype(int))
        gone = [moved(inside[0].small, inside[i].small) for i in some.tolist()]
        return int(some[int(np.argmax(gone))])

    def _chosen(self, times: np.ndarray, strongest: int) -> list[int]:
        """Which pictures the system sees, by their places in the window."""
        view, last = self._view, len(times) - 1
        if view.sampling == "onset_apex":
            return onset_apex(0, strongest, last).tolist()
        if view.drawn:
            # By time and not by number: a phone's pictures come when they can. A window
            # is seen with its ends, of equal segments the middles.
            share = np.linspace(0, 1, view.frames)
            if view.sampling == "uniform":
                share = (np.arange(view.frames) + 0.5) / view.frames
            wanted = times[0] + share * (times[-1] - times[0])
            return [int(np.abs(times - at).argmin()) for at in wanted]
        if view.sampling == "stride" and len(times) >= view.frames:
            return strided_frames(len(times), view.frames).tolist()
        if view.sampling == "stride":
            return np.rint(np.linspace(0, last, view.frames)).astype(int).tolist()
        return view.positions(0, strongest, last, fps=1.0).tolist()

    def _frames(
        self, inside: list[_Seen], chosen: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        view = self._view
        size = view.resize or view.image_size
        matrix = align_matrix(inside[0].face.points, size=size)
        corner = (size - view.image_size) // 2  # the centre crop of what was resized
        matrix[:, 2] -= corner
        points = transform_points(matrix, inside[0].face.points).astype(np.float32)
        made: dict[int, np.ndarray] = {}
        for i in set(chosen):
            own = inside[i]
            if view.align:
                matrix = align_matrix(own.face.points, size=view.image_size)
            image = warp(own.picture.image, matrix, view.image_size)
            if view.grey or view.flow:
                image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
            made[i] = image
        if view.flow:
            onset, apex = (made[i][..., 0] for i in chosen)
            return flow_picture(onset, apex)[None], points
        return np.stack([made[i] for i in chosen]), points
