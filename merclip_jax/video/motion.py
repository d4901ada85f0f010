"""How much a face moves in itself: what is left when the head's motion is taken away.

Faces are held small and aligned, one by one; the flow between two of them, less the
best affine motion, is what skin does. It is given in hundredths of the face's width.
"""

import threading

import cv2
import numpy as np

from merclip_jax.faces.align import align_matrix, warp

SIZE = 64  # pixels of a small face
_MARGIN = 6  # pixels at its edge where hair and wall move
_SHARE = 90  # percentile over the face: an expression moves a part of it


def small_face(image: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """A face for `moved`, uint8 [64, 64]; None where landmarks are no face's.

    Args:
        image: uint8 [h, w, 3] RGB.
        points: its landmarks in pixels.
    """
    try:
        matrix = align_matrix(points, size=SIZE)
    except ValueError:
        return None
    # Every pixel of a large face counts: noise of single ones looks like motion.
    whole = int(1 / np.hypot(*matrix[0, :2]))
    if whole >= 2:
        part = _around(points, image.shape, whole)
        corner = np.array([part[1].start, part[0].start])
        image = image[part]
        size = image.shape[1] // whole, image.shape[0] // whole
        scale = np.array(size) / image.shape[1::-1]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        points = (points - corner + 0.5) * scale - 0.5
        matrix = align_matrix(points, size=SIZE)
    return cv2.cvtColor(warp(image, matrix, SIZE), cv2.COLOR_RGB2GRAY)


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """How far skin went between two small faces, % of the face's width.

    Args:
        before, after: of `small_face`.
    """
    flow = _flow().calc(before, after, None)[_INSIDE].reshape(-1, 2)
    rest = flow - _AFFINE @ (_AFFINE_INVERSE @ flow)
    length = np.hypot(rest[:, 0], rest[:, 1])
    return float(np.percentile(length, _SHARE)) * 100 / SIZE


def _around(points: np.ndarray, shape: tuple[int, ...], whole: int) -> tuple:
    """The part of a picture that a face needs."""
    low, high = points.min(0), points.max(0)
    side = 1.5 * (high - low).max()
    middle = (low + high) / 2
    left, top = np.maximum(0, np.floor(middle - side)).astype(int)
    right, bottom = np.minimum(shape[1::-1], np.ceil(middle + side) + whole).astype(int)
    return slice(top, max(bottom, top + whole)), slice(left, max(right, left + whole))


def _flow():
    # Held by each thread that asks: OpenCV's object keeps buffers.
    if not hasattr(_own, "flow"):
        made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        made.setFinestScale(0)
        _own.flow = made
    return _own.flow


_own = threading.local()
_INSIDE = np.s_[_MARGIN : SIZE - _MARGIN, _MARGIN : SIZE - _MARGIN]
_Y, _X = np.mgrid[_INSIDE[0], _INSIDE[1]].astype(np.float64) - SIZE / 2
_AFFINE = np.stack([np.ones(_X.size), _X.ravel(), _Y.ravel()], 1)
_AFFINE_INVERSE = np.linalg.pinv(_AFFINE)
