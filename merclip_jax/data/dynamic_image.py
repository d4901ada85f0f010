"""Dynamic images: a clip's frames as one picture of its motion."""

import numpy as np

from merclip_jax.models.rank_pooling import rank_weights

# The weights sum to zero up to rounding: a pixel that never changes becomes 1e-15, and
# stretched to the full range a still clip would be a picture of nothing but noise.
STILL = 1e-9


def opencv() -> str:
    """Version of the OpenCV that decides about the last levels of a dynamic image."""
    import cv2  # here alone: a training step imports without it

    return cv2.__version__


def dynamic_image(frames: np.ndarray) -> np.ndarray:
    """Rank pooling of grey frames, stretched to 0..255.

    As FDP's released code computes it, with the OpenCV that is installed: its stretch
    multiplies and adds in one rounding and the cast cuts off, so that the brightest
    pixel is 254 or 255.

    Args:
        frames: uint8 or float [t, h, w], grey.

    Returns:
        uint8 [h, w]; all 0 of a clip without motion.
    """
    import cv2

    grey = np.asarray(frames, np.float64)
    # Float32 in 0..1, as the released code holds frames; its sum is float64.
    grey = (grey.astype(np.float32) / np.float32(255)).astype(np.float64)
    weights = rank_weights(len(grey))
    pooled = sum(w * frame for w, frame in zip(weights, grey, strict=True))
    if np.ptp(pooled) < STILL:
        return np.zeros(pooled.shape, np.uint8)
    return cv2.normalize(pooled, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
