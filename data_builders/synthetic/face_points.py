"""The 68 iBUG landmarks of a procedural face, and where a clip's motion takes them.

Numbered from 0: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67; what stands
on the image's left comes first. Each point lies on the curve that `face.py` draws.
"""

import numpy as np

from data_builders.synthetic.fields import LEFT, SPAN, TOP
from data_builders.synthetic.looks import EYE_X, EYE_Y, Looks

# A point of one half -> its mirror image: brows, nose wings, eyes.
_BROW = ((22, 21), (23, 20), (24, 19), (25, 18), (26, 17))
_NOSE = ((34, 32), (35, 31))
_EYE = ((42, 39), (43, 38), (44, 37), (45, 36), (46, 41), (47, 40))
_STEPS, _CLOSE = 40, 1e-3  # of a search whose error is about halved by each; pixels


def face_points(look: Looks) -> np.ndarray:
    """Returns the points of a neutral face, float64 [68, 2] u, v.

    The chin may lie a little below the crop.
    """
    points = np.zeros((68, 2))
    points[:17] = _jaw(look)
    points[27:31, 0] = 0.5
    points[27:31, 1] = np.linspace(EYE_Y - 0.02, look.nose_y - 0.005, 4)
    points[33] = 0.5, look.nose_y + 0.047
    pairs = (*_BROW, *_NOSE, *_EYE)
    halves = np.concatenate([_brow(look), _nose(look), _eye(look)])
    for (right, left), (x, v) in zip(pairs, halves, strict=True):
        points[right], points[left] = (0.5 + x, v), (0.5 - x, v)
    points[48:68] = _lips(look)
    return points


def to_pixels(points: np.ndarray, size: int) -> np.ndarray:
    """Returns face coordinates [p, 2] as x, y in a crop, pixel centres whole.

    Args:
        points: u, v.
        size: Pixels of a side.
    """
    return (points - [LEFT, TOP]) / SPAN * size - 0.5


def moved(points: np.ndarray, moves: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Finds where a clip's motion takes the points of its neutral face.

    A frame's pixel x shows the neutral face at R^-1 (x - shift) - move(x), about the
    picture's centre: the point q is seen at the x for which that is q.

    Args:
        points: q, [p, 2] x, y in pixels.
        moves: Where the skin goes, float32 [n, h, w, 2] pixels by output pixel.
        pose: Of the head, [n, 3]: shift in pixels, rotation in degrees.

    Returns:
        float32 [n, p, 2].
    """
    n, p = len(moves), len(points)
    # x + i y: a rotation is a product, and a field's two parts are read at once.
    field = np.ascontiguousarray(moves, np.float32).view(np.complex64)[..., 0]
    centre = (1 + 1j) * (moves.shape[1] - 1) / 2
    goal = np.tile(points @ [1, 1j], n) - centre
    shift = np.repeat(pose[:, :2] @ [1, 1j], p) + centre
    turn = np.repeat(np.exp(1j * np.deg2rad(pose[:, 2])), p)
    frame = np.repeat(np.arange(n), p)
    at, left = goal + centre, np.arange(n * p)
    for _ in range(_STEPS):
        step = turn[left] * (goal[left] + _sampled(field, frame[left], at[left]))
        step += shift[left] - at[left]
        # In small pictures a field may change by more than a pixel from one pixel to
        # the next: half of each step, for whole ones would jump to and fro.
        at[left] += 0.5 * step
        left = left[np.abs(step) > _CLOSE]
    return np.stack([at.real, at.imag], -1).reshape(n, p, 2).astype(np.float32)


def _sampled(field: np.ndarray, frame: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bilinear values [k] of a field [n, h, w] in frames [k] at x + i y [k]."""
    # Beyond the picture the field is that of its edge.
    last = field.shape[1] - 1
    x, y = (np.clip(part, 0, last) for part in (at.real, at.imag))
    column, row = (np.minimum(part.astype(int), last - 1) for part in (x, y))
    right, down = x - column, y - row
    first = (frame * (last + 1) + row) * (last + 1) + column
    flat = field.reshape(-1)
    above = flat[first] * (1 - right) + flat[first + 1] * right
    first = first + last + 1
    below = flat[first] * (1 - right) + flat[first + 1] * right
    return above * (1 - down) + below * down


def _jaw(look: Looks) -> np.ndarray:
    """Seventeen points of the outline, evenly from ear to ear by way of the chin."""
    y = np.linspace((EYE_Y - 0.515) / look.height, 1.0, 400)
    wide = 1.0 - look.jaw * np.clip(y, 0, 1) ** 1.5 - 0.05 * np.clip(-y, 0, 1)
    x = wide * (1 - np.abs(y) ** 2.3) ** (1 / 2.3)
    half = np.stack([x * look.width, 0.515 + look.height * y], -1)
    whole = np.concatenate([half * [-1, 1], half[-2::-1]]) + [0.5, 0]
    along = np.hypot(*np.diff(whole, axis=0).T).cumsum()
    along = np.concatenate([[0], along])
    even = np.linspace(0, along[-1], 17)
    return np.stack([np.interp(even, along, axis) for axis in whole.T], -1)


def _brow(look: Looks) -> np.ndarray:
    """Five points of a brow's middle line, from within: x from the midline, v."""
    x = np.linspace(-0.9, 0.9, 5)
    v = look.brow_y - look.brow_tilt * x - 0.016 * (1 - x**2) + 0.006 * x
    return np.stack([EYE_X + 0.105 * x, v], -1)


def _nose(look: Looks) -> np.ndarray:
    """Below nostril and wing: x from the midline, v."""
    x = np.array([0.42, 0.80]) * look.nose_w
    return np.stack([x, look.nose_y + np.array([0.044, 0.034])], -1)


def _eye(look: Looks) -> np.ndarray:
    """Inner corner, upper lid twice, outer corner, lower lid twice: x, v."""
    x = np.array([-1.0, -0.4, 0.4, 1.0, 0.4, -0.4])
    arch = 1 - x**2
    v = EYE_Y + 0.004 - 0.006 * x
    v[:4] -= look.eye_h * arch[:4] ** 0.75
    v[4:] += 0.72 * look.eye_h * arch[4:] ** 0.85
    return np.stack([EYE_X + look.eye_w * x, v], -1)


def _lips(look: Looks) -> np.ndarray:
    """Twelve points around the lips and eight of the seam between them: u, v."""
    x = np.array([-1, -0.6, -0.22, 0, 0.22, 0.6, 1, 0.6, 0.25, 0, -0.25, -0.6])
    arch = 1 - x**2
    v = look.mouth_y + 0.006 * np.cos(3.0 * x) - 0.004
    bow = 1.0 - 0.28 * np.exp(-((x / 0.16) ** 2))
    upper, lower = slice(0, 7), slice(7, 12)
    v[upper] -= look.lip * arch[upper] ** 0.8 * bow[upper]
    v[lower] += 1.35 * look.lip * arch[lower] ** 0.9
    inner = np.array([-0.88, -0.35, 0, 0.35, 0.88, 0.35, 0, -0.35])
    # The mouth is closed: half of the seam's width lies above, half below.
    half = 0.004 * np.array([0, -1, -1, -1, 0, 1, 1, 1])
    seam = look.mouth_y + 0.006 * np.cos(3.0 * inner) - 0.004 + half
    around = np.stack([0.5 + look.mouth_w * x, v], -1)
    return np.concatenate([around, np.stack([0.5 + look.mouth_w * inner, seam], -1)])
