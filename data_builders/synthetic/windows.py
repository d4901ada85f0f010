"""Windows of recordings as clips: with a micro-expression somewhere, or without.

What a model for raw video is trained on: it is not told where in a window an expression
lies, and "none" is an answer of its own, so that blinks, speech and a moving head are
no expressions.
"""

import dataclasses
import functools
from collections.abc import Mapping

import cv2
import numpy as np

from data_builders.synthetic.config import ClipConfig, clips_per_subject
from data_builders.synthetic.emotions import EMOTIONS, emotion_priors
from data_builders.synthetic.recording import frames_at
from data_builders.synthetic.script import (
    RecordingConfig,
    Script,
    draw_expression,
    draw_nuisance,
)
from data_builders.tasks import NOTHING
from merclip_jax.faces.align import align_matrix, transform_points, warp

_ORDER, _WINDOW = 1, 2  # streams of random numbers; 0 draws the subjects


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """All that determines a dataset of windows, bit for bit.

    recording: what recordings are like; its `face.clips` windows are drawn; stored:
    pixels of an aligned face; seconds: of a window as it is stored, longer than what a
    model sees; aside: how far from the middle an expression's own middle may lie, in
    seconds; empty: share of windows without one; rates: frames a second, one of which
    is drawn; unsure: standard deviation of landmarks in pixels.
    """

    recording: RecordingConfig
    stored: int
    seconds: float = 0.74
    aside: float = 0.1
    empty: float = 0.5
    rates: tuple[float, ...] = (30.0, 50.0)
    unsure: float = 0.7

    @property
    def clips(self) -> int:
        """How many."""
        return self.recording.face.clips


# Two cores learn it in two minutes: faces of 96 pixels, stored at 32.
WINDOWS = WindowConfig(
    recording=RecordingConfig(
        face=ClipConfig(
            size=96,
            subjects=12,
            clips=1000,
            key_frames=4,
            fps=50.0,
            amplitude_px=(4.0, 8.0),
            shade=0.2,
            priors=(0.4, 0.3, 0.3),
            subject_skew=0.2,
            blink_px=4.0,
            flicker=0.004,
            noise=1.5,
            variety=0.5,
        ),
        height=120,
        width=120,
        blinks=40.0,
        speech=0.25,
    ),
    stored=32,
)


# For tests: the same in little.
MINI_WINDOWS = dataclasses.replace(
    WINDOWS,
    recording=dataclasses.replace(
        WINDOWS.recording,
        face=dataclasses.replace(WINDOWS.recording.face, subjects=3, clips=48),
    ),
)


def name_of(config: WindowConfig, index: int) -> tuple[str, str]:
    """Returns a window's name and its subject's."""
    subject = f"synthetic/s{assignments(config)[index][0]:02d}"
    return f"{subject}/w{index:04d}", subject


@functools.lru_cache(maxsize=4)
def assignments(config: WindowConfig) -> tuple[tuple[int, str], ...]:
    """Returns (subject number, emotion or "none") of every window, by subject."""
    face = config.recording.face
    rng = _rng(config, _ORDER, 0)
    priors = list(emotion_priors(face).values())
    subjects = [s for s, n in enumerate(clips_per_subject(face)) for _ in range(n)]
    emotions = rng.choice(EMOTIONS, len(subjects), p=np.divide(priors, sum(priors)))
    empty = rng.permutation(len(subjects)) < config.empty * len(subjects)
    return tuple(
        (subject, NOTHING if none else str(emotion))
        for subject, emotion, none in zip(subjects, emotions, empty, strict=True)
    )


def script_of(config: WindowConfig, index: int) -> Script:
    """Decides what happens in a window."""
    rng = _rng(config, _WINDOW, index)
    return _script(config, index, rng)


def make_window(config: WindowConfig, index: int) -> Mapping[str, object]:
    """Draws a window.

    Args:
        config: The dataset's settings.
        index: Which.

    Returns:
        What `features.clip_example` takes, and the dataset's own features.
    """
    rng = _rng(config, _WINDOW, index)
    script = _script(config, index, rng)
    fps = float(config.rates[rng.integers(len(config.rates))])
    times = np.arange(round(config.seconds * fps)) / fps
    last = len(times) - 1
    onset, apex, offset = 0, last // 2, last
    if script.expressions:
        own = script.expressions[0]
        onset, apex, offset = (
            int(np.clip(round(at * fps), 0, last))
            for at in (own.onset, own.apex, own.offset)
        )
    drawn = list(frames_at(config.recording, script, times, rng))
    # One transform for all frames, as sure as a detector of landmarks is.
    first = drawn[0].points()
    seen = first + rng.normal(0, config.unsure, first.shape)
    matrix = align_matrix(seen, size=config.stored)
    faces = [warp(frame.picture, matrix, config.stored) for frame in drawn]
    strength = script.expressions[0].amplitude_px if script.expressions else 0.0
    clip, subject = name_of(config, index)
    return {
        "frames": [cv2.imencode(".png", f[..., ::-1])[1].tobytes() for f in faces],
        "frame_numbers": range(len(faces)),
        "onset": onset,
        "apex": apex,
        "offset": offset,
        "apex_valid": bool(script.expressions),
        "subject": subject,
        "clip": clip,
        "fps": fps,
        "emotion": assignments(config)[index][1],
        "au_cell": script.expressions[0].au_cell if script.expressions else "",
        "landmarks": transform_points(matrix, drawn[onset].points()),
        "au_intensity": script.curves(times) / np.float32(max(strength, 1.0)),
        "amplitude_px": strength,
    }


def _script(config: WindowConfig, index: int, rng: np.random.Generator) -> Script:
    subject, emotion = assignments(config)[index]
    nuisance = draw_nuisance(config.recording, rng, seconds=config.seconds)
    # Drawn for empty windows too: no choice moves another's numbers.
    length = rng.uniform(*config.recording.face.seconds)
    middle = config.seconds / 2 + rng.uniform(-config.aside, config.aside)
    shown = EMOTIONS[0] if emotion == NOTHING else emotion
    span = middle - length / 2, middle + length / 2
    own = draw_expression(config.recording, rng, shown, *span)
    expressions = () if emotion == NOTHING else (own,)
    return Script(subject, config.seconds, expressions, *nuisance)


def _rng(config: WindowConfig, stream: int, index: int) -> np.random.Generator:
    seed = np.random.SeedSequence(config.recording.face.seed, spawn_key=(stream, index))
    return np.random.Generator(np.random.PCG64(seed))
