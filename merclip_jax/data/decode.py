"""Encoded frames to the pixels that a view asks for."""

import cv2
import numpy as np

from merclip_jax.data.view import View
from merclip_jax.errors import UserError


def decode_frame(encoded: bytes, view: View, *, clip: str, position: int) -> np.ndarray:
    """Decode one picture: short side to `view.resize`, then the centre crop.

    Args:
        encoded: a JPEG, PNG or BMP file.
        view: gives size, crop and channels.
        clip: its name, for the error.
        position: of the frame in its record, for the error.

    Returns uint8 [h, w, 3] RGB, or [h, w, 1] of a grey view.
    Raises UserError if it is not a readable picture.
    """
    flag = cv2.IMREAD_GRAYSCALE if view.grey else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error:  # such as for a header that says more than 2^30 pixels
        image = None
    if image is None:
        raise UserError(f"clip {clip}: frame {position} is not a readable picture")
    h, w = image.shape[:2]
    size, short = view.image_size, view.resize or view.image_size
    if min(h, w) != short:
        scale = short / min(h, w)
        # The long side is rounded half up, as the authors' loader does.
        h, w = (short if x == min(h, w) else int(x * scale + 0.5) for x in (h, w))
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    top, left = (h - size) // 2, (w - size) // 2
    image = image[top : top + size, left : left + size]
    return image[..., None] if view.grey else image
