"""Aligned faces: one similarity transform per clip, from landmarks of its onset frame.

The transform, that of FDP's official code, levels the eye line and makes a square box
around eyes, nose and mouth fill the picture. It is estimated once and applied to all
frames of a clip: aligning every frame would add the jitter of landmarks, which is as
large as a micro-expression, and remove part of the motion. FDP does so all the same:
`data.decode` aligns each frame by its own landmarks where a view asks for it.
"""

import cv2
import numpy as np

from merclip_jax.faces.table_rows import LARGEST

# Grey: where the picture ends the edge is weak against any face.
BORDER = (128, 128, 128)
# Corners and lids of the eyes in the MediaPipe face mesh, as iBUG 36-41 and 42-47.
MESH_EYES = ([33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380])
MESH_NOSE, MESH_MOUTH = 1, [61, 291]


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eye centres, nose tip and mouth corners of a face, float64 [5, 2] pixels.

    Image-left comes before image-right (upright face). landmarks: [68, 2] iBUG,
    [468 or 478, 2] MediaPipe face mesh, or [5, 2], which is returned as it is; x, y.
    Raises ValueError for any other shape, and for coordinates that are not finite or
    beyond any picture.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape not in ((5, 2), (68, 2), (468, 2), (478, 2)):
        raise ValueError(
            f"landmarks {list(landmarks.shape)}: expected [5, 2], [68, 2], [468, 2] "
            "or [478, 2]"
        )
    if not np.isfinite(landmarks).all():
        raise ValueError("landmarks are not finite")
    if (far := np.abs(landmarks).max()) > LARGEST:
        raise ValueError(f"landmarks up to {far:.3g} lie outside any picture")
    if len(landmarks) == 5:
        return landmarks
    # Eye centres are means of lids and corners: single landmarks jitter.
    eyes, nose, mouth = MESH_EYES, MESH_NOSE, MESH_MOUTH
    if len(landmarks) == 68:
        eyes, nose, mouth = (range(36, 42), range(42, 48)), 30, [48, 54]
    centres = [landmarks[list(eye)].mean(0) for eye in eyes]
    return np.stack([*centres, landmarks[nose], *landmarks[mouth]])


def align_matrix(
    landmarks: np.ndarray, *, size: int, margin: float = 2.5
) -> np.ndarray:
    """Similarity transform from picture to aligned face (FDP's official code).

    With R the rotation that levels the eyes, the box of the rotated points centred at
    c and half its side h: new = (R p - c + h) (size - 1) / 2h.

    Args:
        landmarks: as in `five_points`.
        size: side of the aligned face in pixels.
        margin: side of the box over the larger range of the five points.

    Returns:
        float64 [2, 3].

    Raises:
        ValueError: where the eyes coincide, or the face would be turned by 90 degrees
            or more, or stand on its head.
    """
    points = five_points(landmarks)
    along = points[1] - points[0]
    distance = np.hypot(*along)
    if distance == 0:
        raise ValueError("both eyes are at one place")
    c, s = along / distance
    if c <= 0:
        turn = abs(np.degrees(np.arctan2(s, c)))
        raise ValueError(
            f"the eyes stand as in a face that is turned by {turn:.0f} degrees: the "
            "picture lies on its side or its head, or the program names sides from the "
            "person's own view, or its x runs from right to left"
        )
    rotation = np.array([[c, s], [-s, c]])
    points = points @ rotation.T
    if points[:2, 1].mean() >= points[3:, 1].mean():
        raise ValueError(
            "the eyes lie below the mouth: the picture stands on its head, or the "
            "program's y runs upwards"
        )
    # The box is taken after the rotation: a tilted head must not make it larger.
    low, high = points.min(0), points.max(0)
    half = 0.5 * margin * (high - low).max()
    scale = (size - 1) / 2 / half
    shift = scale * (half - (low + high) / 2)
    return np.concatenate([scale * rotation, shift[:, None]], 1)


def centre_matrix(height: int, width: int, *, size: int) -> np.ndarray:
    """Similarity transform of the centred square, for a clip without a found face.

    Args:
        height, width: of the picture; its short side is the square's.
        size: side of the result in pixels.

    Returns:
        float64 [2, 3].
    """
    short = min(height, width)
    scale = size / short
    left, top = (width - short) // 2, (height - short) // 2
    # Pixel areas map to pixel areas, as in a resize: a picture that is `size` at its
    # short side keeps its pixels' values.
    x, y = (scale * (0.5 - start) - 0.5 for start in (left, top))
    return np.array([[scale, 0.0, x], [0.0, scale, y]])


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns where a transform puts points, float64 [p, 2].

    Args:
        matrix: [2, 3].
        points: [p, 2] pixels, x before y.
    """
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Returns the picture after a transform, uint8 [size, size] or [size, size, 3].

    Args:
        image: uint8 [h, w] or [h, w, 3].
        matrix: [2, 3], from picture to result.
        size: side of the result; it is grey (128) where the picture ends.
    """
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=BORDER
    )
