"""Long recordings of a procedural face, drawn from a script, picture by picture.

A person sits before a camera: the head drifts, lids blink, the mouth talks, and now and
then a micro-expression flits by, at times that are known.
"""

import dataclasses
import functools
from collections.abc import Iterator

import cv2
import numpy as np

from data_builders.synthetic.clip import profile_at
from data_builders.synthetic.config import ClipConfig
from data_builders.synthetic.face_points import moved, to_pixels
from data_builders.synthetic.fields import CELLS, AUFields
from data_builders.synthetic.render import subject_face
from data_builders.synthetic.script import RecordingConfig, Script

_SPEECH = tuple(CELLS.index(f"{side}{au}") for au in (25, 16) for side in "LR")


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture, uint8 [h, w, 3] RGB, and what tells where the face's points lie."""

    picture: np.ndarray
    face: tuple[np.ndarray, ...]

    def points(self) -> np.ndarray:
        """Finds the 68 landmarks, float32 [68, 2] x, y in pixels.

        They take as long as the picture: asked for where they are needed alone.
        """
        neutral, moves, pose, corner = self.face
        return (moved(neutral, moves[None], pose[None])[0] + corner).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Sitter:
    """Who is recorded: a face that fades into a wall, and how its AUs move it.

    texture: float32 [s, s, 3] RGB, of the supersampled square; wall: its colour;
    points: float64 [68, 2] in face coordinates.
    """

    texture: np.ndarray
    wall: tuple[float, ...]
    fields: AUFields
    points: np.ndarray


@functools.lru_cache(maxsize=4)
def sitter_of(config: ClipConfig, subject: int) -> Sitter:
    """Makes a procedural subject ready to be recorded."""
    face, fields = subject_face(config, subject)
    edge = len(face.texture) // 20
    wall = face.texture[-3 * edge : -edge, :edge].mean((0, 1))  # hair is at the top
    return Sitter(*before_a_wall(face.texture, wall), fields, face.points)


def before_a_wall(
    texture: np.ndarray, wall: np.ndarray
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Lets a square end in a wall, not at its edge.

    Args:
        texture: float32 [s, s, 3].
        wall: Its colour, [3].

    Returns:
        The texture and the colour.
    """
    across = np.abs(np.linspace(-1, 1, len(texture)))
    outside = np.hypot(across**3, across[:, None] ** 3)
    alpha = np.clip((1.0 - outside) / 0.25, 0, 1)[..., None]
    faded = wall + alpha * (texture - wall)
    return faded.astype(np.float32), tuple(map(float, wall))


def frames_at(
    config: RecordingConfig,
    script: Script,
    times: np.ndarray,
    rng: np.random.Generator,
    *,
    sitter: Sitter | None = None,
) -> Iterator[Frame]:
    """Draws a recording, one picture at a time.

    Args:
        config: What recordings are like.
        script: What happens.
        times: [n] seconds of the pictures.
        rng: Gives the sensor's noise.
        sitter: Who sits there; None for the script's subject.
    """
    sitter = sitter or sitter_of(config.face, script.subject)
    weights = np.concatenate(
        [script.curves(times), _lids(config, script, times)[:, None]], 1
    )
    weights[:, _SPEECH] += _lips(config, script, times)[:, None]
    waves = script.waves[..., None]
    angle = 2 * np.pi * waves[:, :, 1] * times + waves[:, :, 2]
    pose = (waves[:, :, 0] * np.sin(angle)).sum(1).T
    exposure = 1 + config.face.flicker * rng.standard_normal(len(times))
    points = to_pixels(sitter.points, config.face.size)
    corner = _corner(config)
    for own, turned, light in zip(weights, pose, exposure, strict=True):
        picture, moves = _drawn(config, sitter, own, turned)
        picture *= np.float32(light)
        noise = rng.standard_normal(picture.shape, np.float32)
        picture += np.float32(config.face.noise) * noise
        yield Frame(
            np.clip(np.rint(picture), 0, 255).astype(np.uint8),
            (points, moves, turned, corner),
        )


def _corner(config: RecordingConfig) -> np.ndarray:
    """Where the face's square begins in the picture, x, y."""
    size = config.face.size
    return np.array([(config.width - size) // 2, (config.height - size) // 2])


def _drawn(
    config: RecordingConfig,
    sitter: Sitter,
    weights: np.ndarray,
    pose: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A picture float32 [h, w, 3], and where the skin of the square goes [s, s, 2]."""
    size, scale = config.face.size, config.face.supersample
    rows = np.flatnonzero(weights)
    moves = np.tensordot(weights[rows], sitter.fields.displacement[rows], 1)
    moves = moves.astype(np.float32)
    peak = max(config.face.amplitude_px[1], config.face.blink_px)
    strength = weights[rows] * (config.face.shade / peak)
    shade = np.tensordot(strength, sitter.fields.shade[rows], 1)
    left, top = _corner(config).tolist()
    x, y = np.meshgrid(
        np.arange(config.width, dtype=np.float32) - left,
        np.arange(config.height, dtype=np.float32) - top,
    )
    centre = np.float32((size - 1) / 2)
    dx, dy, turn = pose.astype(np.float32)
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    hx, hy = x - dx - centre, y - dy - centre
    sx, sy = c * hx + s * hy + centre, -s * hx + c * hy + centre
    # The square alone moves its skin; what is around it is wall, hair and shoulders.
    inside = np.s_[max(top, 0) : top + size, max(left, 0) : left + size]
    own = np.s_[max(-top, 0) : config.height - top, max(-left, 0) : config.width - left]
    sx[inside] -= moves[own][..., 0]
    sy[inside] -= moves[own][..., 1]
    half = 0.5 if scale % 2 == 0 else 0.0
    picture = cv2.remap(
        sitter.texture,
        scale * (sx + 0.5) - 0.5 + half,
        scale * (sy + 0.5) - 0.5 + half,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=sitter.wall,
    )
    picture[inside] *= np.exp(shade)[own][..., None]
    return picture, moves


def _lids(config: RecordingConfig, script: Script, times: np.ndarray) -> np.ndarray:
    """How far the lids have closed, px [n]: a blink takes a fifth of a second."""
    found = np.zeros(len(times), np.float32)
    for at in script.blinks:
        found += profile_at(times, at, at + 0.08, at + 0.22)
    return config.face.blink_px * np.minimum(found, 1)


def _lips(config: RecordingConfig, script: Script, times: np.ndarray) -> np.ndarray:
    """How far the lips have parted in speech, px [n]."""
    found = np.zeros(len(times), np.float32)
    for start, end, rate in script.speech:
        there = (times >= start) & (times <= end)
        found += there * np.sin(np.pi * rate * (times - start)) ** 2
    return config.speech_px * found
