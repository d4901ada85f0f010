"""A motion oracle: reads the order of AU intensities, and nothing else.

It shows that what separates the classes is in the motion, and how far a perfect reader
of the motion gets on a finite set of clips.
"""

import numpy as np

from data_builders.synthetic.ceiling import (
    Ceiling,
    Observation,
    class_matrix,
    joint_probabilities,
)
from data_builders.synthetic.clip import profile
from data_builders.synthetic.config import ClipConfig
from data_builders.synthetic.emotions import EMOTIONS
from merclip_jax.data.sampling import key_frames


def read_combinations(
    au_intensity: np.ndarray, onset: int, apex: int, offset: int, *, count: int
) -> Observation:
    """Finds the smooth AU combination and the decoys behind a clip's AU curves.

    Each curve is a sum of the profile and of shuffled copies of it. Its mean says how
    many; the profile is among them if what remains without it is zero or again a
    shuffled copy. Works for any three, also where they share AUs.

    Args:
        au_intensity: Float [n, 36].
        onset: First frame.
        apex: Strongest frame.
        offset: Last frame.
        count: How many key frames there are.
    """
    keys = key_frames(onset, apex, offset, count)[1:-1]
    match = profile(onset, apex, offset)[keys]
    curves = au_intensity[keys].T.astype(np.float64)
    copies = np.rint(curves.sum(1) / match.sum()).astype(int)
    sorted_match = np.sort(match)
    smooth, alone, both = [], [], []
    for row in np.flatnonzero(copies):
        rest = curves[row] - match
        expected = {1: 0.0 * match, 2: sorted_match}.get(copies[row])
        is_smooth = expected is None or np.abs(np.sort(rest) - expected).max() < 1e-3
        if is_smooth:
            smooth.append(int(row))
        left = copies[row] - is_smooth
        if left == 2:
            both.append(int(row))
        elif left == 1:
            alone.append((int(row), rest if is_smooth else curves[row]))
    # An AU of both decoys shows neither of them, but those of one alone do.
    decoys = []
    while alone:
        curve = alone[0][1]
        same = [row for row, other in alone if np.abs(other - curve).max() < 1e-3]
        decoys.append(tuple(sorted(same + both)))
        alone = [(row, other) for row, other in alone if row not in same]
    while both and len(decoys) < 2:
        decoys.append(tuple(both))
    return tuple(smooth), tuple(sorted(decoys))


class MotionOracle:
    """Classifies clips of one config from their AU curves by the exact posterior."""

    def __init__(self, config: ClipConfig):
        """List every observation the config can give."""
        self.config = config
        self.joint = joint_probabilities(config)

    def posterior(
        self, au_intensity: np.ndarray, onset: int, apex: int, offset: int
    ) -> np.ndarray:
        """Returns P(emotion | clip), float [7] as `EMOTIONS`.

        Args:
            au_intensity: Float [n, 36].
            onset: First frame.
            apex: Strongest frame.
            offset: Last frame.

        Raises:
            ValueError: If the config cannot produce such AU curves.
        """
        seen = read_combinations(
            au_intensity, onset, apex, offset, count=self.config.key_frames
        )
        if seen not in self.joint:
            raise ValueError(f"AU combinations {seen} do not occur with {self.config}")
        return self.joint[seen] / self.joint[seen].sum()

    def label(self, posterior: np.ndarray, task: int, ceiling: Ceiling) -> int:
        """Returns the class that the best rule for UF1 picks.

        Args:
            posterior: P(emotion | clip), float [7].
            task: Its number of classes.
            ceiling: Of that task; holds the rule.
        """
        assert posterior.shape == (len(EMOTIONS),), posterior.shape
        classes = posterior @ class_matrix(task)
        return int((ceiling.gain * classes - ceiling.cost).argmax())
