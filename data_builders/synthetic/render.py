"""From AU curves to pixels: warp the subject's texture, shade, disturb, encode.

Everything that changes over time is drawn independently per key frame, because a smooth
drift would let a reader put shuffled frames back in order.
"""

import functools

import cv2
import numpy as np

from data_builders.synthetic.config import ClipConfig
from data_builders.synthetic.face import Face, draw_face
from data_builders.synthetic.face_points import moved, to_pixels
from data_builders.synthetic.fields import CELLS, AUFields, au_fields


@functools.lru_cache(maxsize=4)
def subject_face(config: ClipConfig, subject: int) -> tuple[Face, AUFields]:
    """Makes the neutral face of a subject, ready to sample, and its AU fields.

    Args:
        config: The dataset's settings.
        subject: Its number.
    """
    seed = np.random.SeedSequence(config.seed, spawn_key=(0, subject))
    face = draw_face(
        np.random.Generator(np.random.PCG64(seed)),
        size=config.size * config.supersample,
        variety=config.variety,
        glasses=config.glasses,
        beard=config.beard,
    )
    # Averaging over an output pixel first lets the warp sample output pixels at once:
    # it is exact for a shift, and a displacement field is a shift within a pixel.
    box = (config.supersample, config.supersample)
    texture = cv2.blur(face.texture, box, borderType=cv2.BORDER_REPLICATE)
    fields = au_fields(face.landmarks, config.size)
    return Face(texture, face.landmarks, face.points), fields


def draw_nuisance(
    config: ClipConfig, rng: np.random.Generator, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws what moves beside the expression, independently at each key frame.

    Args:
        config: The dataset's settings.
        rng: The clip's own.
        keys: The key frames; between them are straight lines.

    Returns:
        Head pose [n, 3] (px, px, degrees), blink [n] in px and exposure [n].
    """
    count, time = len(keys), np.arange(keys[-1] + 1)
    spread = [config.drift_px, config.drift_px, config.rotation_deg]
    pose = rng.standard_normal((count, 3)) * spread
    blink = np.zeros(count)
    # Drawn whether the clip blinks or not: no choice moves another's numbers.
    lids = rng.permutation(np.arange(1, count - 1))[: max(1, count // 8)]
    blink[lids] = rng.uniform(0.3, 1.0, len(lids)) * config.blink_px
    blink *= rng.random() < config.blink_rate
    # Of the whole picture, as a lamp flickers.
    exposure = 1.0 + config.flicker * rng.standard_normal(count)
    columns = [np.interp(time, keys, x) for x in (*pose.T, blink, exposure)]
    return np.stack(columns[:3], -1), columns[3], columns[4]


def render(
    config: ClipConfig,
    subject: int,
    curves: np.ndarray,
    nuisance: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a clip: warp, shade, expose, add noise.

    Args:
        config: The dataset's settings.
        subject: Its number.
        curves: Displacement of every AU-side in pixels, float32 [n, 36].
        nuisance: Pose, blink and exposure, of `draw_nuisance`.
        rng: The clip's own; gives the noise.

    Returns:
        Frames, uint8 [n, h, w, 3] RGB; and where the face's 68 points lie in each,
        float32 [n, 68, 2] x, y in pixels.
    """
    face, fields = subject_face(config, subject)
    pose, blink, exposure = nuisance
    size, scale = config.size, config.supersample
    active = np.flatnonzero(curves.any(0))
    weights = np.concatenate([curves[:, active], blink[:, None]], 1)
    weights = weights.astype(np.float32)
    rows = [*active, len(CELLS)]
    moves = np.tensordot(weights, fields.displacement[rows], 1)
    # Wrinkles deepen with motion, to `config.shade` at the largest there is.
    peak = max(config.amplitude_px[1], config.blink_px)
    shade = np.exp(np.tensordot(weights * (config.shade / peak), fields.shade[rows], 1))
    shade *= exposure[:, None, None].astype(np.float32)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    centre = (size - 1) / 2
    frames = np.empty((len(curves), size, size, 3), np.uint8)
    for t in range(len(curves)):
        dx, dy, turn = pose[t]
        c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        # Output to source: undo the head's motion, then the skin's.
        hx, hy = x - dx - centre, y - dy - centre
        sx = c * hx + s * hy + centre - moves[t, ..., 0]
        sy = -s * hx + c * hy + centre - moves[t, ..., 1]
        # An even box blur is centred half a texel before the texel it is stored in.
        half = 0.5 if scale % 2 == 0 else 0.0
        image = cv2.remap(
            face.texture,
            (scale * (sx + 0.5) - 0.5 + half).astype(np.float32),
            (scale * (sy + 0.5) - 0.5 + half).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,  # no black edge that tells the pose
        )
        image *= shade[t, ..., None]
        # In float32 and after the warp, as a sensor adds it.
        noise = rng.standard_normal(image.shape, np.float32)
        image += np.float32(config.noise) * noise
        frames[t] = np.clip(np.rint(image), 0, 255)
    return frames, moved(to_pixels(face.points, size), moves, pose)


def encode(
    config: ClipConfig, rng: np.random.Generator, frames: np.ndarray
) -> tuple[bytes, ...]:
    """Returns the file bytes of every frame, PNG or JPEG of one quality per clip.

    Args:
        config: The dataset's settings.
        rng: The clip's own; gives the quality.
        frames: Uint8 [n, h, w, 3] RGB.
    """
    low, high = config.jpeg_quality
    quality = int(rng.integers(low, high + 1))
    jpeg = config.encoding == "jpeg"
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
    suffix = ".jpg" if jpeg else ".png"
    return tuple(
        cv2.imencode(suffix, frame[..., ::-1], options)[1].tobytes() for frame in frames
    )
