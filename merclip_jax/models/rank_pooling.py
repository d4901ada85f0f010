"""Approximate rank pooling: a clip's motion as one weighted sum of its frames."""

import functools
import operator

import numpy as np


def rank_weights(frames: int) -> np.ndarray:
    """The weight of each frame, float64 [t]; they sum to zero up to rounding.

    alpha_t = sum_{i=t}^{T} (2i - T - 1) / i, of running means of the frames (Bilen et
    al., Dynamic Image Networks for Action Recognition, CVPR 2016).
    """
    # Summed up from t on: the last bits are those of the released code. From Python
    # 3.12 on `sum` of floats compensates for rounding, and they would be others.
    return np.asarray(
        [
            functools.reduce(
                operator.add, ((2 * i - frames - 1) / i for i in range(t, frames + 1))
            )
            for t in range(1, frames + 1)
        ]
    )
