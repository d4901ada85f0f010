"""Pictures of a video with their times, one after another, never all at once."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from merclip_jax.errors import UserError

MAX_SIDE = 1280  # pixels of the long side; larger pictures are made smaller
_SHORTEST = 1e-4  # seconds between two pictures


class VideoError(UserError):
    """A video that cannot be read; says which and what to do."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture: its number from 0, seconds from the start, uint8 [h, w, 3] RGB."""

    index: int
    time: float
    image: np.ndarray


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a video says of itself: pictures a second, seconds (0: unknown), pixels."""

    fps: float
    seconds: float
    width: int
    height: int


class Video:
    """A video file that is read from its start to its end, once.

    `problem` tells afterwards why reading ended early, "" where it did not.

    Args:
        path: any container and codec that FFmpeg reads.
        start, end: seconds, of the part that is wanted.
        max_side: larger pictures are reduced to this long side.

    Raises:
        VideoError: there is no such file, or no video in it.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: float = 0.0,
        end: float | None = None,
        max_side: int = MAX_SIDE,
    ):
        self.path, self.problem = path, ""
        self._start, self._end, self._max_side = start, end, max_side
        if not path.is_file():
            raise VideoError(f"{path}: no such file")
        with self._opened() as (_, stream):
            rate = stream.average_rate or stream.guessed_rate
            length = stream.duration and float(stream.duration * stream.time_base)
            whole = stream.container.duration
            self.facts = Facts(
                float(rate) if rate else 0.0,
                float(length or (whole / 1e6 if whole else 0.0)),
                stream.codec_context.width,
                stream.codec_context.height,
            )

    def __iter__(self) -> Iterator[Picture]:
        """Yields pictures in order of their times, upright.

        Raises VideoError where not one picture can be read.
        """
        av = _av()
        count, before = 0, -np.inf
        with self._opened() as (container, stream):
            if self._start > 0:
                with contextlib.suppress(av.error.FFmpegError):
                    container.seek(int(self._start * 1e6))
            frames, index = container.decode(stream), -1
            while True:
                try:
                    frame = next(frames, None)
                except av.error.FFmpegError as error:
                    self.problem = f"damaged after {max(before, 0):.2f} s ({error})"
                    break
                if frame is None:
                    break
                index += 1
                time = frame.time
                if time is None:  # no clock in the file: by its rate
                    time = index / (self.facts.fps or 25.0)
                time = float(time)
                # Times that stand still or go back are a broken clock's.
                if time < self._start or time < before + _SHORTEST:
                    continue
                if self._end is not None and time > self._end:
                    break
                before = time
                yield Picture(count, time, self._upright(frame))
                count += 1
        if not count:
            part = " in the part that was asked for" if self._start or self._end else ""
            why = f": {self.problem}" if self.problem else ""
            raise VideoError(f"{self.path}: holds no picture{part}{why}")
        if not self.problem and self._cut(before):
            self.problem = (
                f"ends at {before:.2f} s, but says that it is "
                f"{self.facts.seconds:.2f} s long: it was cut off, or is still being "
                "written"
            )

    def _cut(self, last: float) -> bool:
        wanted = self.facts.seconds
        if self._end is not None:
            return False
        return wanted > 0 and last < wanted - max(0.5, 0.02 * wanted)

    def _upright(self, frame) -> np.ndarray:
        # Reduced by FFmpeg: a picture of 4K takes 24 MB.
        scale = min(1.0, self._max_side / max(frame.width, frame.height))
        size = {}
        if scale < 1:
            size = {
                "width": max(2, round(frame.width * scale)),
                "height": max(2, round(frame.height * scale)),
            }
        image = frame.to_ndarray(format="rgb24", **size)
        turns = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180}
        turns[270] = cv2.ROTATE_90_CLOCKWISE
        turn = turns.get(round(frame.rotation) % 360)
        return image if turn is None else cv2.rotate(image, turn)

    @contextlib.contextmanager
    def _opened(self):
        av = _av()
        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise VideoError(
                f"{self.path}: expected a video ({_plain(error)}). A file that is "
                "still being written, or was cut off, cannot be opened either: wait "
                "until it is whole"
            ) from error
        with container:
            if not container.streams.video:
                raise VideoError(f"{self.path}: holds no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream


def _plain(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _av():
    try:
        import av
    except ImportError:
        raise VideoError(
            "videos are read by PyAV: pip install 'merclip_jax[video]'"
        ) from None
    # What is wrong is said by us. And not through Python's logging: a decoder's threads
    # wait for the lock of Python, whose holder may be waiting for them.
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.PANIC)
    return av
