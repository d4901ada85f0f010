"""Encoded frames to the pixels that a view asks for, and points to where they fall."""

import cv2
import numpy as np

from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.faces import align as faces


def decode_frame(
    encoded: bytes,
    view: View,
    *,
    clip: str,
    position: int,
    points: np.ndarray | None = None,
) -> np.ndarray:
    """Decode one picture: short side to `view.resize`, then the centre crop.

    Of an aligned view the face is cut out of the picture as it is stored instead, by
    one interpolation.

    Args:
        encoded: a JPEG, PNG or BMP file.
        view: gives size, crop and channels.
        clip: its name, for the error.
        position: of the frame in its record, for the error.
        points: [p, 2] landmarks of this very frame in pixels of the stored picture;
            of an aligned view alone.

    Returns uint8 [h, w, 3] RGB, or [h, w, 1] of a grey view.
    Raises UserError if it is not a readable picture, or its landmarks are no face.
    """
    image = _read(encoded, view, clip=clip, position=position)
    if view.align:
        matrix = _matrix(points, view, clip=clip, position=position)
        image = faces.warp(image, matrix, view.image_size)
        return image[..., None] if view.grey else image
    h, w, top, left = _placed(*image.shape[:2], view)
    if image.shape[:2] != (h, w):
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    size = view.image_size
    image = image[top : top + size, left : left + size]
    return image[..., None] if view.grey else image


def decode_points(
    encoded: bytes, points: np.ndarray, view: View, *, clip: str, position: int
) -> np.ndarray:
    """Where landmarks of a stored picture lie in what `decode_frame` makes of it.

    Args:
        encoded: the picture.
        points: [p, 2] x, y in its pixels, whole numbers at their centres.
        view: gives size, crop and alignment.
        clip: its name, for the error.
        position: of the frame in its record, for the error.

    Returns float32 [p, 2]; some may lie outside of the picture.
    Raises UserError if it is not a readable picture, or its landmarks are no face.
    """
    points = np.asarray(points, np.float64)
    if view.align:
        matrix = _matrix(points, view, clip=clip, position=position)
        return faces.transform_points(matrix, points).astype(np.float32)
    # A header would do, but says nothing of how an EXIF tag turns the picture.
    height, width = _read(encoded, view, clip=clip, position=position).shape[:2]
    h, w, top, left = _placed(height, width, view)
    # As OpenCV's resize maps them: pixel areas to pixel areas, each side by itself,
    # for the long one was rounded.
    moved = (points + 0.5) * [w / width, h / height] - 0.5 - [left, top]
    return moved.astype(np.float32)


def _read(encoded: bytes, view: View, *, clip: str, position: int) -> np.ndarray:
    """The stored picture, uint8 [h, w] of a grey view or [h, w, 3] RGB."""
    flag = cv2.IMREAD_GRAYSCALE if view.grey else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error:  # such as for a header that says more than 2^30 pixels
        image = None
    if image is None:
        raise UserError(f"clip {clip}: frame {position} is not a readable picture")
    return image


def _placed(h: int, w: int, view: View) -> tuple[int, int, int, int]:
    """Height and width after the resize, top and left of the crop in it."""
    size, short = view.image_size, view.resize or view.image_size
    if min(h, w) != short:
        scale = short / min(h, w)
        # The long side is rounded half up, as the authors' loader does.
        h, w = (short if x == min(h, w) else int(x * scale + 0.5) for x in (h, w))
    return h, w, (h - size) // 2, (w - size) // 2


def _matrix(
    points: np.ndarray | None, view: View, *, clip: str, position: int
) -> np.ndarray:
    """Similarity transform [2, 3] from the stored picture to the aligned face."""
    try:
        if points is None:
            raise ValueError("it has no landmarks")
        return faces.align_matrix(points, size=view.image_size)
    except ValueError as error:  # a build checks them; others may have written them
        raise UserError(
            f"clip {clip}: frame {position} cannot be aligned: {error}"
        ) from error
