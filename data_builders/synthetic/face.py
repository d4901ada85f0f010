"""One procedural face per subject: drawn from numbers, no photo, no mesh, no weights.

Faces stand as in an aligned crop (eyes at fixed places); the rest of the geometry,
colours, skin, hair, light, glasses and beard come from the subject's own seed.
"""

import dataclasses

import cv2
import numpy as np

from data_builders.synthetic.face_points import face_points
from data_builders.synthetic.fields import SPAN, pixel_grid
from data_builders.synthetic.looks import EYE_X, EYE_Y, draw_looks, landmarks


@dataclasses.dataclass(frozen=True)
class Face:
    """A subject: the neutral texture and where its features are.

    texture: float32 [s, s, 3] RGB 0..255 at the supersampled size.
    landmarks: name -> (distance from the midline, v) of the image's right half.
    points: the 68 of iBUG, float64 [68, 2] u, v in face coordinates.
    """

    texture: np.ndarray
    landmarks: dict[str, tuple[float, float]]
    points: np.ndarray


def _inside(f: np.ndarray) -> np.ndarray:
    """Anti-aliased coverage of the region f < 0, a pixel wide at its edge."""
    gy, gx = np.gradient(f)
    return np.clip(0.5 - f / (np.hypot(gx, gy) + 1e-6), 0.0, 1.0)


def _paint(image, alpha, colour):
    """Mix a colour [3] or an image [s, s, 3] in, by coverage alpha [s, s]."""
    image += alpha[..., None] * (np.asarray(colour, np.float64) - image)


def _bump(u, v, x, y, width, height):
    return np.exp(-0.5 * (((u - x) / width) ** 2 + ((v - y) / height) ** 2))


def _noise(rng, size, cells):
    """Smooth noise of about unit variance, `cells` across: the same at any size."""
    grid = rng.standard_normal((cells, cells))
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


def _draw_head(image, look, rng, u, v):
    """Wall, hair, neck, ears, skin with relief and light; returns the face mask."""
    size = len(u)
    x, y = (u - 0.5) / look.width, (v - 0.515) / look.height
    _paint(image, np.ones_like(u), look.wall)
    image *= (1.0 + 0.10 * (0.5 - v) + 0.02 * _noise(rng, size, 8))[..., None]
    strands = 0.5 * _noise(rng, size, 40) + 0.5 * _noise(rng, size, 14)
    hair = look.hair * (1.0 + 0.18 * strands)[..., None]
    behind = np.abs(x / 1.17) ** 2.4 + np.abs((y + 0.12) / 1.08) ** 2.4 - 1
    _paint(image, _inside(behind) * (y < 0.55), hair)
    neck = np.abs(x) - 0.62
    _paint(image, _inside(neck) * (v > 0.8), look.skin * 0.62)
    for side in (-1, 1):
        ear = ((x - side * 1.0) / 0.13) ** 2 + ((v - EYE_Y - 0.09) / 0.085) ** 2 - 1
        _paint(image, _inside(ear), look.skin * 0.82)
    wide = 1.0 - look.jaw * np.clip(y, 0, 1) ** 1.5 - 0.05 * np.clip(-y, 0, 1)
    outline = np.abs(x / wide) ** 2.3 + np.abs(y) ** 2.3 - 1
    face = _inside(outline)

    # Relief: a dome, and bumps for nose, sockets, brows, cheeks, chin and mouth; lit
    # from one side it gives the shading.
    dome = np.sqrt(np.clip(-outline, 0, None) + 0.02)
    relief = 0.16 * dome
    ax = np.abs(u - 0.5)
    relief += 0.050 * _bump(u, v, 0.5, look.nose_y - 0.02, look.nose_w * 0.55, 0.05)
    relief += 0.030 * _bump(u, v, 0.5, look.nose_y - 0.10, 0.022, 0.08)
    relief += 0.016 * _bump(ax, v, look.nose_w * 0.8, look.nose_y + 0.01, 0.02, 0.02)
    relief -= 0.026 * _bump(ax, v, EYE_X - 0.02, EYE_Y, 0.085, 0.045)
    relief += 0.012 * _bump(ax, v, EYE_X, look.brow_y, 0.10, 0.03)
    relief += 0.014 * _bump(ax, v, EYE_X + 0.05, EYE_Y + 0.12, 0.07, 0.05)
    relief += 0.014 * _bump(u, v, 0.5, look.mouth_y + 0.13, 0.06, 0.04)
    relief += 0.010 * _bump(u, v, 0.5, look.mouth_y, 0.12, 0.05)
    relief -= 0.005 * _bump(u, v, 0.5, look.mouth_y - 0.075, 0.012, 0.03)
    relief -= 0.006 * _bump(u, v, 0.5, look.mouth_y + 0.065, 0.07, 0.015)
    relief += 0.0005 * _noise(rng, size, 30) + 0.0003 * _noise(rng, size, 70)
    gy, gx = np.gradient(relief * (size / SPAN))
    depth = 1.0 / np.sqrt(1.0 + gx**2 + gy**2)
    lit = (-gx * look.light[0] - gy * look.light[1] + look.light[2]) * depth
    lit = 0.50 + 0.62 * np.clip(lit, 0, None)
    # Skin of one tone would hide what moves: texture at three scales.
    tone = 1.0 + 0.020 * _noise(rng, size, 10) + 0.022 * _noise(rng, size, 28)
    tone += 0.025 * _noise(rng, size, 60)
    spots = np.clip(_noise(rng, size, 64) - 1.4, 0, 1)
    tone -= 0.16 * look.freckles * spots * (v > 0.42) * (v < 0.75)
    skin = look.skin * (tone * lit)[..., None]
    for side in (-1, 1):
        blush = _bump(u, v, 0.5 + side * 0.2, EYE_Y + 0.16, 0.07, 0.05)
        skin *= 1.0 + blush[..., None] * np.array([0.03, -0.05, -0.04])
    _paint(image, face, skin)
    fringe = v - look.hairline - 0.25 * (x - look.part) ** 2 * (0.4 + np.abs(x) ** 2)
    fringe += 0.004 * _noise(rng, size, 40)
    _paint(image, _inside(fringe) * _inside(behind), hair)
    return face, strands


def _draw_eyes(image, look, u, v):
    for side in (-1, 1):
        cx = 0.5 + side * EYE_X
        x = (u - cx) / look.eye_w * side  # grows outwards
        arch = np.clip(1 - x**2, 0, None)
        top = EYE_Y + 0.004 - 0.006 * x - look.eye_h * arch**0.75
        low = EYE_Y + 0.004 - 0.006 * x + 0.72 * look.eye_h * arch**0.85
        slit = np.maximum(np.maximum(top - v, v - low), (np.abs(x) - 1) * 0.05)
        white = _inside(slit)
        shadow = 1.0 - 0.35 * np.clip(1 - (v - top) / 0.02, 0, 1)
        _paint(image, white, np.array([238, 234, 230]) * shadow[..., None])
        r = np.hypot(u - cx, v - EYE_Y + 0.003)
        iris = look.iris * (0.75 + 12 * np.clip(r, 0, 0.035))[..., None]
        _paint(image, white * _inside(r - 0.034), iris * shadow[..., None])
        _paint(image, white * _inside(r - 0.015), (14, 12, 12))
        glint = np.hypot(u - cx + 0.012, v - EYE_Y + 0.014) - 0.0065
        _paint(image, white * _inside(glint), (250, 250, 250))
        width = 1.05 - np.abs(x) > 0
        lash = np.abs(v - top) - 0.006 * (0.7 + 0.3 * x)
        _paint(image, 0.9 * _inside(lash) * width, look.hair * 0.35)
        _paint(image, 0.35 * _inside(np.abs(v - low) - 0.0025) * width, look.skin * 0.4)
        crease = np.abs(v - top + 0.020 + 0.006 * x) - 0.003
        _paint(image, 0.35 * _inside(crease) * (np.abs(x) < 0.95), look.skin * 0.45)


def _draw_brows(image, look, strands, u, v):
    ax = np.abs(u - 0.5)
    x = (ax - EYE_X) / 0.105
    middle = look.brow_y - look.brow_tilt * x - 0.016 * (1 - x**2) + 0.006 * x
    thick = look.brow_thick * np.clip(1.0 - 0.35 * x - 0.30 * x**2, 0.12, None)
    brow = np.maximum(np.abs(v - middle) - thick, (np.abs(x) - 1.0) * 0.1)
    alpha = 0.88 * _inside(brow) * np.clip(1.0 + 0.12 * strands, 0, 1.1)
    _paint(image, np.clip(alpha, 0, 1), look.hair * 0.75)


def _draw_nose(image, look, u, v):
    ax = np.abs(u - 0.5)
    x, y = look.nose_w, look.nose_y
    nostril = _inside(
        ((ax - 0.42 * x) / 0.020) ** 2 + ((v - y - 0.030) / 0.009) ** 2 - 1
    )
    _paint(image, 0.75 * nostril, look.skin * 0.30)
    ring = np.hypot((ax - 0.62 * x) / 1.0, (v - y - 0.008) / 1.1)
    wing = np.abs(ring - 0.38 * x) - 0.004
    _paint(
        image, 0.40 * _inside(wing) * (ax > 0.72 * x) * (v > y - 0.02), look.skin * 0.45
    )
    image *= (1 - 0.16 * _bump(u, v, 0.5, y + 0.047, x * 0.9, 0.010))[..., None]


def _draw_mouth(image, look, u, v):
    x = (u - 0.5) / look.mouth_w
    arch = np.clip(1 - x**2, 0, None)
    line = look.mouth_y + 0.006 * np.cos(3.0 * x) - 0.004
    bow = 1.0 - 0.28 * np.exp(-((x / 0.16) ** 2))
    top = line - 1.0 * look.lip * arch**0.8 * bow
    low = line + 1.35 * look.lip * arch**0.9
    upper = np.maximum(np.maximum(top - v, v - line), (np.abs(x) - 1) * 0.05)
    lower = np.maximum(np.maximum(line - v, v - low), (np.abs(x) - 1) * 0.05)
    gloss = 1.0 + 0.25 * np.exp(-(((v - line - 0.6 * look.lip) / 0.009) ** 2)) * arch
    _paint(image, 0.9 * _inside(upper), look.lips * 0.86)
    _paint(image, 0.9 * _inside(lower), look.lips * gloss[..., None])
    seam = np.maximum(np.abs(v - line) - 0.0055, (np.abs(x) - 1.04) * 0.1)
    _paint(image, 0.85 * _inside(seam), look.lips * 0.35)
    image *= (1 - 0.14 * _bump(u, v, 0.5, look.mouth_y + 2.3 * look.lip, 0.07, 0.012))[
        ..., None
    ]
    ax = np.abs(u - 0.5)
    fold = np.abs(ax - look.nose_w - 0.028 - 0.45 * (v - look.nose_y)) - 0.004
    reach = np.clip((v - look.nose_y) / 0.03, 0, 1) * np.clip((0.74 - v) / 0.05, 0, 1)
    _paint(image, 0.22 * _inside(fold) * reach, look.skin * 0.45)


def _draw_extras(image, look, rng, u, v, face):
    size = len(u)
    ax = np.abs(u - 0.5)
    stubble = np.clip(0.75 + 0.25 * _noise(rng, size, 80), 0.2, 1.2)
    if look.beard > 0:
        chin = 1 / (1 + np.exp(-(v - 0.70 - 0.9 * np.clip(0.2 - ax, 0, 1)) / 0.018))
        moustache = _bump(ax, v, 0.06, look.mouth_y - 2.1 * look.lip, 0.06, 0.014)
        lips = _bump(u, v, 0.5, look.mouth_y + 0.006, look.mouth_w * 0.75, look.lip)
        alpha = np.clip(chin + moustache, 0, 1) * (1 - np.clip(1.3 * lips, 0, 1))
        _paint(image, np.clip(alpha * stubble * look.beard * face, 0, 1), look.hair)
    if look.glasses:
        x, y = (ax - EYE_X) / 0.118, (v - EYE_Y - 0.012) / 0.078
        rim = (x**4 + y**4) ** 0.25 - 1
        _paint(image, 0.06 * _inside(rim), (255, 255, 255))
        _paint(image, 0.92 * _inside(np.abs(rim) - 0.055), look.frame)
        bridge = np.maximum(np.abs(v - EYE_Y + 0.004 + 2 * ax**2) - 0.006, ax - 0.052)
        _paint(image, 0.92 * _inside(bridge), look.frame)
        arm = np.maximum(np.abs(v - EYE_Y + 0.01) - 0.006, 0.285 - ax)
        _paint(image, 0.92 * _inside(arm) * (ax < look.width), look.frame)


def draw_face(
    rng: np.random.Generator,
    *,
    size: int,
    variety: float,
    glasses: float,
    beard: float,
) -> Face:
    """Draws a subject's neutral face.

    Args:
        rng: The subject's own.
        size: Pixels of a side.
        variety: How far the face lies from the mean face.
        glasses: Probability of them.
        beard: Probability of one.
    """
    look = draw_looks(rng, variety, glasses, beard)
    u, v = pixel_grid(size)
    image = np.zeros((size, size, 3))
    # From back to front: each part covers what lies behind it.
    face, strands = _draw_head(image, look, rng, u, v)
    _draw_nose(image, look, u, v)
    _draw_mouth(image, look, u, v)
    _draw_eyes(image, look, u, v)
    _draw_brows(image, look, strands, u, v)
    _draw_extras(image, look, rng, u, v, face)
    texture = np.clip(image, 0, 255).astype(np.float32)
    return Face(texture, landmarks(look), face_points(look))
