"""The video again, with what was found drawn into it."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from merclip_jax.video import words
from merclip_jax.video.answer import Answerer
from merclip_jax.video.decode import Video
from merclip_jax.video.follow import Find, follow
from merclip_jax.video.result import Result, Settings

_LINE, _TEXT = (43, 103, 119), (255, 255, 255)


def annotate(
    video: Video,
    result: Result,
    answerer: Answerer,
    find: Find,
    settings: Settings,
    out: Path,
) -> None:
    """Writes an annotated copy, pictures at their own times.

    Args:
        video: opened anew; it is read a second time, and its faces are found again.
        result: of it.
        answerer: that said it.
        find: looks for faces.
        settings: how it was looked at.
        out: a file whose name ends in .mp4.
    """
    import av

    last = max((row.time for row in result.rows), default=0.0)
    container, stream = av.open(str(out), "w"), None
    with container:
        pictures = follow(iter(video), find, every=settings.every)
        for picture, faces in pictures:
            if picture.time > last:
                break
            image = picture.image.copy()
            for face in faces:
                if face.number in result.windows:
                    _box(image, face.points)
            _words(image, _now(result, answerer, picture.time))
            height, width = (side // 2 * 2 for side in image.shape[:2])
            if stream is None:
                rate = Fraction(result.rate or 25.0).limit_denominator(1000)
                stream = container.add_stream("libx264", rate=rate)
                stream.width, stream.height = width, height
                stream.pix_fmt = "yuv420p"
                stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
            frame = av.VideoFrame.from_ndarray(image[:height, :width], format="rgb24")
            frame.pts, frame.time_base = round(picture.time * 90_000), stream.time_base
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _now(result: Result, answerer: Answerer, time: float) -> str:
    for event in result.events:
        if event.onset - 0.1 <= time <= event.offset + 0.5:
            answer, _ = words.answered(event, answerer)
            return f"{answer} {event.score:.2f}"
    return ""


def _box(image: np.ndarray, points: np.ndarray) -> None:
    low, high = points.min(0), points.max(0)
    margin = 0.15 * (high - low).max()
    start, end = np.rint(low - margin).astype(int), np.rint(high + margin).astype(int)
    cv2.rectangle(image, start.tolist(), end.tolist(), _LINE, 2, cv2.LINE_AA)


def _words(image: np.ndarray, text: str) -> None:
    if not text:
        return
    scale = max(0.5, image.shape[0] / 720)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    cv2.rectangle(image, (0, 0), (width + 20, height + 20), _LINE, -1)
    cv2.putText(
        image,
        _plain(text),
        (10, height + 10),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        _TEXT,
        2,
        cv2.LINE_AA,
    )


def _plain(text: str) -> str:
    """A text in letters that OpenCV can draw."""
    return text.encode("ascii", "replace").decode()
