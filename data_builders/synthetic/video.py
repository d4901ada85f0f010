"""A procedural recording as a video file, with what truly happens in it beside it.

python -m data_builders.synthetic.video --out=demo.mp4 --seconds=30 --expressions=5
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_builders.synthetic.recording import frames_at
from data_builders.synthetic.script import RecordingConfig, Script, draw_script
from data_builders.synthetic.windows import WINDOWS

TICKS = 90_000  # a second, of a video's clock


def recording(
    *, height: int = 240, width: int = 320, blinks: float = 15.0, speech: float = 0.15
) -> RecordingConfig:
    """Returns what the training windows are cut from, in a larger picture.

    Args:
        height, width: Of the picture.
        blinks: A minute.
        speech: Share of the time.
    """
    return dataclasses.replace(
        WINDOWS.recording, height=height, width=width, blinks=blinks, speech=speech
    )


def draw(
    config: RecordingConfig, *, seed: int, seconds: float, expressions: int
) -> Script:
    """Draws what happens, to a person whom no training window shows.

    Args:
        config: Of `recording`.
        seed: Of person and events.
        seconds: Length.
        expressions: How many.

    Raises:
        ValueError: If so many do not fit.
    """
    rng = np.random.default_rng(seed)
    subject = config.face.subjects + int(rng.integers(1000))
    return draw_script(
        config, rng, subject=subject, seconds=seconds, expressions=expressions
    )


def write_video(
    path: Path,
    pictures: Iterator[np.ndarray],
    times: np.ndarray,
    *,
    codec: str = "libx264",
    quality: int = 14,
) -> None:
    """Writes pictures at their times.

    Args:
        path: Its ending chooses the container.
        pictures: uint8 [h, w, 3] RGB.
        times: [n] seconds.
        codec: Of FFmpeg.
        quality: From 0, the best; larger is worse.
    """
    import av

    stream = None
    with av.open(str(path), "w") as container:
        for picture, time in zip(pictures, times.tolist(), strict=True):
            if stream is None:
                rate = Fraction(1 / float(np.diff(times[:2])[0])).limit_denominator(999)
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": str(quality), "preset": "veryfast"}
                stream.codec_context.time_base = Fraction(1, TICKS)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def film(
    path: Path,
    config: RecordingConfig,
    script: Script,
    *,
    fps: float,
    seed: int,
    change: Callable[[np.ndarray], np.ndarray] = lambda picture: picture,
) -> None:
    """Draws a recording and writes it as a video, with the truth as JSON beside it.

    Args:
        path: Of the video.
        config: What the recording is like.
        script: What happens.
        fps: Pictures a second.
        seed: Of the sensor's noise.
        change: What else becomes of a picture.
    """
    times = np.arange(round(script.seconds * fps)) / fps
    drawn = frames_at(config, script, times, np.random.default_rng(seed))
    write_video(path, (change(frame.picture) for frame in drawn), times)
    truth = [dataclasses.asdict(one) for one in script.expressions]
    path.with_suffix(".json").write_text(json.dumps(truth, indent=2))


def main() -> None:
    """Writes a video."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="such as demo.mp4")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--expressions", type=int, default=5)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    config = recording()
    script = draw(
        config, seed=flags.seed, seconds=flags.seconds, expressions=flags.expressions
    )
    film(flags.out, config, script, fps=flags.fps, seed=flags.seed)
    print(flags.out)


if __name__ == "__main__":
    main()
