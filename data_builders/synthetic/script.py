"""What happens in a recording: expressions, blinks, speech, a head that wanders.

All of it is a function of time in seconds, so that one script is drawn at any frame
rate (`recording.py`).
"""

import dataclasses

import numpy as np

from data_builders.synthetic.clip import profile_at
from data_builders.synthetic.config import ClipConfig
from data_builders.synthetic.emotions import (
    EMOTIONS,
    draw_cell,
    emotion_priors,
    rows_of,
)
from data_builders.synthetic.fields import CELLS

_WAVES = 4  # that a drift of the head is the sum of


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """What recordings are like; lengths named `_px` are at the face's size.

    face: looks, size of the face's square and expressions; height, width: of the
    picture; drift_px, turn_deg: standard deviations of where the head is, which
    wanders over seconds; blinks: a minute; speech: share of the time; speech_px: how
    far lips go; rest: seconds between two expressions at least.
    """

    face: ClipConfig
    height: int
    width: int
    drift_px: float = 1.5
    turn_deg: float = 1.0
    blinks: float = 15.0
    speech: float = 0.2
    speech_px: float = 3.0
    rest: float = 1.5


@dataclasses.dataclass(frozen=True)
class Expression:
    """A micro-expression in a recording, in seconds from its start."""

    emotion: str
    au_cell: str
    onset: float
    apex: float
    offset: float
    amplitude_px: float

    @property
    def span(self) -> tuple[float, float]:
        """Onset and offset."""
        return self.onset, self.offset


@dataclasses.dataclass(frozen=True)
class Script:
    """All that happens in a recording.

    blinks: [k] seconds; speech: (start, end, syllables a second) of each bout; waves:
    [3, w, 3] amplitude, frequency and phase of the head's x, y and turn.
    """

    subject: int
    seconds: float
    expressions: tuple[Expression, ...]
    blinks: np.ndarray
    speech: tuple[tuple[float, float, float], ...]
    waves: np.ndarray

    def curves(self, times: np.ndarray) -> np.ndarray:
        """Displacement of every AU-side in pixels, float32 [n, 36]; without speech."""
        found = np.zeros((len(times), len(CELLS)), np.float32)
        for one in self.expressions:
            curve = profile_at(times, one.onset, one.apex, one.offset)
            rows = list(rows_of(one.au_cell))
            found[:, rows] += np.float32(one.amplitude_px) * curve[:, None]
        return found


def draw_script(
    config: RecordingConfig,
    rng: np.random.Generator,
    *,
    subject: int,
    seconds: float,
    expressions: int,
) -> Script:
    """Draws what happens.

    Args:
        config: What recordings are like.
        rng: Source of all draws.
        subject: Whose face.
        seconds: Length.
        expressions: How many micro-expressions, at random places.

    Raises:
        ValueError: If so many do not fit.
    """
    priors = list(emotion_priors(config.face).values())
    lengths = rng.uniform(*config.face.seconds, expressions)
    spare = seconds - lengths.sum() - config.rest * (expressions + 1)
    if spare < 0:
        raise ValueError(f"{expressions} expressions do not fit into {seconds:g} s")
    # The time that is left is shared at random by the rests between expressions.
    cuts = np.diff(np.sort(rng.uniform(0, spare, expressions)), prepend=0.0)
    made, at = [], 0.0
    for length, gap in zip(lengths, cuts, strict=True):
        at += config.rest + gap
        emotion = EMOTIONS[rng.choice(len(EMOTIONS), p=priors)]
        made.append(draw_expression(config, rng, emotion, at, at + length))
        at += length
    return Script(
        subject, seconds, tuple(made), *draw_nuisance(config, rng, seconds=seconds)
    )


def draw_expression(
    config: RecordingConfig,
    rng: np.random.Generator,
    emotion: str,
    onset: float,
    offset: float,
) -> Expression:
    """Draws the AUs, apex and strength of an expression.

    Args:
        config: What recordings are like.
        rng: Source of all draws.
        emotion: What it expresses.
        onset, offset: In seconds.
    """
    share = rng.uniform(*config.face.apex_at)
    return Expression(
        emotion,
        draw_cell(rng, emotion),
        onset,
        onset + share * (offset - onset),
        offset,
        float(rng.uniform(*config.face.amplitude_px)),
    )


def draw_nuisance(
    config: RecordingConfig, rng: np.random.Generator, *, seconds: float
) -> tuple[np.ndarray, tuple[tuple[float, float, float], ...], np.ndarray]:
    """Draws what happens beside expressions.

    Args:
        config: What recordings are like.
        rng: Source of all draws.
        seconds: Length.

    Returns:
        Blinks, speech and waves as of `Script`.
    """
    blinks = np.sort(rng.uniform(0, seconds, rng.poisson(config.blinks / 60 * seconds)))
    speech, at = [], 0.0
    while config.speech > 0:
        bout = rng.uniform(0.8, 3.0)
        at += rng.exponential(bout * (1 - config.speech) / config.speech)
        if at >= seconds:
            break
        speech.append((at, min(at + bout, seconds), rng.uniform(2.5, 5.0)))
        at += bout
    spread = np.array([config.drift_px, config.drift_px, config.turn_deg])
    size = rng.normal(0, 1, (3, _WAVES)) * spread[:, None] / np.sqrt(_WAVES / 2)
    frequency = rng.uniform(0.03, 0.25, (3, _WAVES))
    phase = rng.uniform(0, 2 * np.pi, (3, _WAVES))
    return blinks, tuple(speech), np.stack([size, frequency, phase], -1)
