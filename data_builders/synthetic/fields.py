"""The 18 AUs of MER-CLIP's Table II as smooth displacement and shade fields.

Face coordinates: u to the right of the image, v down, both 0..1. A subject's left
is the image's right, as in a video that is not mirrored. Each AU is written for that
half, with x pointing away from the midline, and mirrored for the other.
"""

import dataclasses

import numpy as np

AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 24, 25, 28)
SIDES = ("L", "R")
CELLS = tuple(f"{side}{au}" for au in AUS for side in SIDES)  # the 36 AU-sides
BLINK = 45
SPAN, LEFT, TOP = 0.86, 0.07, 0.125  # the aligned crop, in face coordinates

# AU: bumps (landmark, dx, dy of the centre, width, height, motion x, motion y).
MOTION = {
    1: [
        ("brow_in", 0.01, -0.01, 0.075, 0.06, 0.0, -1.0),
        ("brow_in", 0.0, -0.10, 0.07, 0.06, 0.0, -0.5),
    ],
    2: [
        ("brow_out", -0.01, -0.01, 0.085, 0.06, 0.1, -1.0),
        ("brow_out", -0.02, -0.10, 0.07, 0.06, 0.0, -0.5),
    ],
    4: [
        ("brow_in", 0.0, 0.0, 0.06, 0.055, -0.65, 0.8),
        ("brow_mid", 0.0, 0.0, 0.07, 0.05, -0.35, 0.7),
    ],
    5: [("lid_up", 0.0, -0.01, 0.08, 0.045, 0.0, -1.0)],
    6: [
        ("cheek", 0.0, -0.02, 0.10, 0.055, 0.0, -1.0),
        ("eye_out", 0.03, 0.02, 0.04, 0.045, -0.55, -0.35),
    ],
    7: [
        ("lid_low", 0.0, 0.015, 0.08, 0.042, -0.1, -1.0),
        ("lid_up", 0.0, -0.01, 0.075, 0.035, 0.0, 0.55),
    ],
    9: [
        ("nose_wing", -0.01, -0.02, 0.055, 0.06, 0.1, -1.0),
        ("nose_root", 0.02, 0.0, 0.05, 0.05, -0.2, 0.5),
    ],
    10: [
        ("lip_up", 0.065, 0.0, 0.055, 0.04, 0.0, -1.0),
        ("nose_wing", 0.045, 0.04, 0.045, 0.05, 0.25, -0.6),
    ],
    12: [
        ("mouth_corner", 0.0, 0.0, 0.065, 0.06, 0.7, -0.75),
        ("cheek", 0.0, 0.06, 0.09, 0.07, 0.1, -0.5),
    ],
    14: [("mouth_corner", 0.015, 0.0, 0.05, 0.045, 1.0, 0.0)],
    15: [("mouth_corner", -0.005, 0.015, 0.06, 0.06, 0.2, 1.0)],
    16: [("lip_low", 0.045, 0.01, 0.065, 0.045, 0.1, 1.0)],
    17: [
        ("chin", 0.03, 0.0, 0.085, 0.06, 0.0, -1.0),
        ("lip_low", 0.03, 0.01, 0.07, 0.04, 0.0, -0.6),
    ],
    20: [
        ("mouth_corner", -0.01, 0.0, 0.075, 0.05, 1.0, 0.1),
        ("jaw", 0.0, 0.0, 0.08, 0.07, 0.7, 0.3),
    ],
    23: [
        ("mouth_corner", -0.02, 0.0, 0.06, 0.045, -1.0, 0.0),
        ("lip_up", 0.05, 0.0, 0.05, 0.035, 0.0, 0.4),
    ],
    24: [
        ("lip_up", 0.03, -0.01, 0.08, 0.038, 0.0, 0.9),
        ("lip_low", 0.03, 0.01, 0.08, 0.038, 0.0, -0.9),
    ],
    25: [
        ("lip_up", 0.02, -0.01, 0.075, 0.038, 0.0, -0.6),
        ("lip_low", 0.02, 0.015, 0.075, 0.045, 0.0, 1.0),
    ],
    28: [
        ("lip_up", 0.02, -0.02, 0.09, 0.045, 0.0, 1.0),
        ("lip_low", 0.02, 0.025, 0.09, 0.045, 0.0, -1.0),
    ],
    BLINK: [("lid_up", 0.0, 0.0, 0.085, 0.04, 0.0, 1.0)],
}

# AU: wrinkles and bulges (landmark, dx, dy, width, height, brightness -1..1).
SHADE = {
    1: [("brow_in", 0.0, -0.085, 0.07, 0.010, -1.0)],
    2: [("brow_out", -0.02, -0.085, 0.07, 0.010, -1.0)],
    4: [("brow_in", -0.055, -0.005, 0.010, 0.045, -1.0)],
    5: [("lid_up", 0.0, -0.03, 0.06, 0.010, -0.5)],
    6: [
        ("eye_out", 0.045, 0.02, 0.03, 0.010, -0.8),
        ("cheek", 0.0, 0.0, 0.06, 0.035, 0.5),
    ],
    7: [("lid_low", 0.0, 0.028, 0.06, 0.010, -0.8)],
    9: [
        ("nose_root", 0.015, 0.03, 0.03, 0.008, -1.0),
        ("nose_root", 0.015, 0.06, 0.03, 0.008, -0.8),
    ],
    10: [("nose_wing", 0.05, 0.02, 0.016, 0.04, -1.0)],
    12: [
        ("mouth_corner", 0.035, -0.05, 0.014, 0.055, -1.0),
        ("cheek", 0.0, 0.04, 0.06, 0.04, 0.5),
    ],
    14: [("mouth_corner", 0.035, 0.0, 0.014, 0.022, -1.0)],
    15: [("mouth_corner", 0.01, 0.045, 0.020, 0.030, -1.0)],
    16: [("lip_low", 0.02, 0.05, 0.07, 0.012, -0.8)],
    17: [
        ("chin", 0.02, -0.045, 0.06, 0.010, -1.0),
        ("chin", 0.02, 0.01, 0.05, 0.03, 0.5),
    ],
    20: [("mouth_corner", 0.04, 0.02, 0.012, 0.04, -0.6)],
    23: [("mouth_corner", 0.015, 0.0, 0.02, 0.012, -0.7)],
    24: [("lip_up", 0.02, 0.02, 0.08, 0.010, -0.9)],
    25: [("lip_up", 0.01, 0.026, 0.06, 0.012, -1.0)],
    28: [
        ("lip_up", 0.02, 0.0, 0.08, 0.018, -1.0),
        ("lip_low", 0.02, 0.0, 0.08, 0.018, -0.9),
    ],
    BLINK: [("lid_up", 0.0, 0.02, 0.07, 0.018, -1.0)],
}


@dataclasses.dataclass(frozen=True)
class AUFields:
    """Fields of one face, one row per entry of `CELLS`, then both lids' blink.

    displacement float32 [37, h, w, 2]: where the skin goes, in units of the AU's peak
    displacement with both sides active. shade float32 [37, h, w]: relative brightness.
    """

    displacement: np.ndarray
    shade: np.ndarray


def pixel_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns face coordinates u, v of the pixel centres of a crop, each [h, w]."""
    centres = (np.arange(size) + 0.5) / size * SPAN
    u, v = np.meshgrid(centres + LEFT, centres + TOP)
    return u, v


def _half(table, landmarks, u, v) -> np.ndarray:
    """Sum of the bumps of one AU on the image's right half, [h, w, values]."""
    total = 0.0
    for name, dx, dy, width, height, *values in table:
        x, y = landmarks[name]
        bump = np.exp(
            -0.5 * (((u - 0.5 - x - dx) / width) ** 2 + ((v - y - dy) / height) ** 2)
        )
        total = total + bump[..., None] * np.asarray(values)
    return total


def au_fields(landmarks: dict[str, tuple[float, float]], size: int) -> AUFields:
    """Makes displacement and shade of every AU-side for one face.

    Args:
        landmarks: Name -> (distance from the midline, v) of the image's right half.
        size: Pixels of a side.
    """
    u, v = pixel_grid(size)
    # Halves meet smoothly: a sharp edge at the midline would tear one-sided AUs.
    left = 1.0 / (1.0 + np.exp(-(u - 0.5) / 0.008))  # subject's left: image right
    masks = (left, 1.0 - left)
    displacement, shade = [], []
    for au in (*AUS, BLINK):
        half = _half(MOTION[au], landmarks, u, v)
        both = half + half[:, ::-1] * np.array([-1.0, 1.0])
        # With both sides active, so that a one-sided AU moves its skin no further.
        both /= np.sqrt((both**2).sum(-1)).max()
        half = _half(SHADE[au], landmarks, u, v)[..., 0]
        dark = half + half[:, ::-1]
        dark /= np.abs(dark).max()
        if au == BLINK:
            displacement.append(both)
            shade.append(dark)
        else:
            displacement.extend(both * mask[..., None] for mask in masks)
            shade.extend(dark * mask for mask in masks)
    return AUFields(
        np.stack(displacement).astype(np.float32), np.stack(shade).astype(np.float32)
    )


def cells_of(aus: tuple[tuple[int, str], ...]) -> tuple[int, ...]:
    """Returns the rows of `CELLS` that an AU combination (number, side) switches on."""
    rows = []
    for number, side in aus:
        rows.extend(CELLS.index(f"{s}{number}") for s in ([side] if side else SIDES))
    return tuple(sorted(set(rows)))
