"""What a subject looks like, as numbers: geometry, colours, light, glasses, beard."""

import dataclasses

import numpy as np

EYE_X, EYE_Y = 0.165, 0.42  # distance from the midline and height of aligned eyes
SKINS = (
    (246, 212, 188),
    (232, 186, 152),
    (205, 152, 112),
    (164, 112, 78),
    (118, 78, 54),
)
HAIRS = ((28, 22, 20), (58, 38, 26), (104, 66, 38), (176, 132, 76), (120, 116, 112))
IRISES = ((74, 48, 30), (96, 72, 40), (86, 112, 78), (92, 124, 150))


@dataclasses.dataclass(frozen=True)
class Looks:
    """What the subject's seed decides: lengths in face coordinates, colours RGB."""

    width: float
    height: float
    jaw: float
    brow_y: float
    brow_thick: float
    brow_tilt: float
    eye_w: float
    eye_h: float
    nose_y: float
    nose_w: float
    mouth_y: float
    mouth_w: float
    lip: float
    hairline: float
    part: float
    freckles: float
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    wall: np.ndarray
    light: np.ndarray
    glasses: bool
    beard: float
    frame: np.ndarray


def draw_looks(
    rng: np.random.Generator, variety: float, glasses: float, beard: float
) -> Looks:
    """Draws a subject.

    Args:
        rng: The subject's own.
        variety: How far geometry, skin and light lie from the mean face, 0 to 1.
        glasses: Probability of them.
        beard: Probability of one.
    """

    def near(middle, spread):
        return middle + variety * spread * rng.uniform(-1.0, 1.0)

    # Between the listed tones, so that skin is no label of a few kinds.
    tone = near((len(SKINS) - 1) / 2, (len(SKINS) - 1) / 2)
    low = int(tone)
    skin = np.array(SKINS[low]) * (1 - tone + low) + np.array(
        SKINS[min(low + 1, len(SKINS) - 1)]
    ) * (tone - low)
    hair = np.array(HAIRS[rng.integers(len(HAIRS))], float) * near(1.0, 0.15)
    angle = near(-np.pi / 2, 1.0)
    light = np.array([np.cos(angle) * 0.6, np.sin(angle) * 0.6, 0.8])
    return Looks(
        width=near(0.385, 0.025),
        height=near(0.475, 0.02),
        jaw=near(0.17, 0.07),
        brow_y=near(0.325, 0.012),
        brow_thick=near(0.018, 0.005),
        brow_tilt=near(0.0, 0.012),
        eye_w=near(0.082, 0.008),
        eye_h=near(0.034, 0.006),
        nose_y=near(0.605, 0.015),
        nose_w=near(0.075, 0.012),
        mouth_y=near(0.76, 0.012),
        mouth_w=near(0.145, 0.015),
        lip=near(0.030, 0.008),
        hairline=near(0.16, 0.04),
        part=near(0.0, 0.2),
        freckles=rng.uniform(0.0, 1.0) ** 2,
        skin=skin,
        hair=hair,
        iris=np.array(IRISES[rng.integers(len(IRISES))], float),
        lips=skin * np.array([0.86, 0.60, 0.60]) * near(1.0, 0.08),
        wall=np.array([near(120, 40), near(125, 40), near(130, 40)]),
        light=light / np.linalg.norm(light),
        glasses=bool(rng.random() < glasses),
        beard=float(rng.uniform(0.3, 0.8) * (rng.random() < beard)),
        frame=np.array([near(60, 40), near(45, 30), near(45, 30)]),
    )


def landmarks(look: Looks) -> dict[str, tuple[float, float]]:
    """Returns the anchors of the AU fields, tied to this face's own features."""
    return {
        "brow_in": (EYE_X - 0.085, look.brow_y + look.brow_tilt),
        "brow_mid": (EYE_X, look.brow_y - 0.012),
        "brow_out": (EYE_X + 0.075, look.brow_y - look.brow_tilt),
        "lid_up": (EYE_X, EYE_Y - look.eye_h),
        "lid_low": (EYE_X, EYE_Y + 0.8 * look.eye_h),
        "eye_out": (EYE_X + look.eye_w, EYE_Y),
        "cheek": (EYE_X + 0.02, EYE_Y + 0.13),
        "nose_root": (0.0, EYE_Y - 0.03),
        "nose_wing": (look.nose_w, look.nose_y),
        "mouth_corner": (look.mouth_w, look.mouth_y),
        "lip_up": (0.0, look.mouth_y - 0.6 * look.lip),
        "lip_low": (0.0, look.mouth_y + 0.8 * look.lip),
        "jaw": (look.mouth_w + 0.06, look.mouth_y + 0.07),
        "chin": (0.0, look.mouth_y + 0.125),
    }
