"""Settings of the procedural dataset: all that a clip depends on."""

import dataclasses

from data_builders.readers.findings import LONGEST
from data_builders.tasks import TASKS

GROUPS = TASKS["synthetic_3class"].names


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """All that determines a synthetic dataset, bit for bit.

    Lengths named `_px` are in pixels of the output frame; `priors` follow `GROUPS`.
    Ranges are (low, high) of a uniform draw per clip.
    """

    size: int
    subjects: int
    clips: int
    key_frames: int = 16
    fps: float = 200.0
    seconds: tuple[float, float] = (0.2, 0.5)
    apex_at: tuple[float, float] = (0.3, 0.55)  # share of onset..offset
    amplitude_px: tuple[float, float] = (1.0, 3.0)
    shade: float = 0.10  # peak relative brightness change of a wrinkle
    priors: tuple[float, float, float] = (0.65, 0.08, 0.27)
    subject_skew: float = 0.9  # clips of subject s go like (s + 1) ** -skew
    decoys: bool = True
    drift_px: float = 0.3  # standard deviation per key frame
    rotation_deg: float = 0.15
    blink_rate: float = 0.3  # probability that a clip holds a lid flutter
    blink_px: float = 2.0
    flicker: float = 0.01  # relative exposure change per frame
    noise: float = 2.0  # sensor noise, grey levels
    encoding: str = "png"  # "png" or "jpeg"
    jpeg_quality: tuple[int, int] = (80, 95)
    variety: float = 1.0  # how far faces lie from the mean face
    glasses: float = 0.25  # probability per subject
    beard: float = 0.25
    supersample: int = 4
    seed: int = 0

    def __post_init__(self):
        """Raise ValueError that lists every setting that cannot work."""
        wrong = []
        if self.size < 16:
            wrong.append(f"size={self.size}: at least 16")
        if not 1 <= self.subjects <= self.clips:
            wrong.append(f"subjects={self.subjects}: from 1 to clips={self.clips}")
        if self.key_frames < 4:
            # Two ends, and two inner ones: else there is no order to shuffle.
            wrong.append(f"key_frames={self.key_frames}: at least 4")
        for name in ("seconds", "apex_at", "amplitude_px", "jpeg_quality"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                wrong.append(f"{name}={(low, high)}: 0 < low <= high")
        if self.apex_at[1] >= 1:
            wrong.append(f"apex_at={self.apex_at}: below 1")
        if len(self.priors) != len(GROUPS) or min(self.priors) <= 0:
            wrong.append(f"priors={self.priors}: one positive number per {GROUPS}")
        elif abs(sum(self.priors) - 1) > 1e-6:
            wrong.append(f"priors={self.priors}: sum {sum(self.priors)}, not 1")
        if self.seconds[1] > LONGEST:
            wrong.append(f"seconds={self.seconds}: at most {LONGEST}")
        if self.encoding not in ("png", "jpeg"):
            wrong.append(f"encoding={self.encoding!r}: 'png' or 'jpeg'")
        # Else two key frames are one, and shuffling them is not what it is said to be.
        if self.seconds[1] * self.fps < self.key_frames + 4:
            wrong.append(
                f"seconds={self.seconds} at fps={self.fps}: too short for "
                f"{self.key_frames} distinct key frames"
            )
        if wrong:
            raise ValueError("synthetic config: " + "; ".join(wrong))


# What two cores learn in minutes. A JPEG block is a quarter of such a face and eats the
# motion, hence PNG; nuisance is small and the classes are nearly balanced.
TINY = ClipConfig(
    size=32,
    subjects=10,
    clips=1900,
    fps=100.0,
    seconds=(0.2, 0.4),
    amplitude_px=(1.0, 2.0),
    shade=0.2,
    priors=(0.4, 0.3, 0.3),
    subject_skew=0.2,
    variety=0.5,
    drift_px=0.05,
    rotation_deg=0.05,
    blink_px=0.7,
    flicker=0.004,
    noise=1.0,
)
# CAS(ME)^3's number of clips at the model's own size, with unequal classes; less
# supersampling, for larger pictures need less of it.
FULL = ClipConfig(
    size=224, subjects=36, clips=860, encoding="jpeg", supersample=2, blink_px=4.0
)
# Seed 0 draws, of 720 orders, the very one that makes a decoy an expression.
MINI = ClipConfig(
    size=32,
    subjects=3,
    clips=24,
    key_frames=8,
    fps=60.0,
    seconds=(0.2, 0.3),
    amplitude_px=(1.5, 2.0),
    priors=(0.45, 0.25, 0.30),
    subject_skew=0.35,
    drift_px=0.1,
    blink_px=0.7,
    noise=1.0,
    seed=1,
)
# For systems that see one picture: decoys would leave it open which of the AUs at the
# apex are annotated. Twice as large as `tiny`, for 32 pixels are too few for an AU's
# place, with twice the motion; half of the clips negative, whose AUs are the rare ones.
APART = ClipConfig(
    size=64,
    subjects=10,
    clips=1000,
    fps=100.0,
    seconds=(0.2, 0.4),
    amplitude_px=(2.0, 4.0),
    shade=0.2,
    priors=(0.5, 0.25, 0.25),
    subject_skew=0.2,
    decoys=False,
    variety=0.5,
    drift_px=0.1,
    rotation_deg=0.05,
    blink_px=1.4,
    flicker=0.004,
    noise=1.0,
)


def apportion(total: int, weights, *, least: int = 0) -> list[int]:
    """Splits a number into whole parts (method of the largest remainder).

    Args:
        total: What is split.
        weights: The parts are in proportion to them.
        least: What every part gets.

    Raises:
        ValueError: If `total` is too small for that.
    """
    weights = [float(w) for w in weights]
    spare = total - least * len(weights)
    if spare < 0:
        raise ValueError(f"{total} cannot give {least} to each of {len(weights)}")
    exact = [spare * w / sum(weights) for w in weights]
    parts = [int(x) for x in exact]
    # Ties go to the earlier part, so that the result is one and the same.
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: spare - sum(parts)]:
        parts[i] += 1
    return [least + p for p in parts]


def clips_per_subject(config: ClipConfig) -> list[int]:
    """Returns the clips of each subject, many to few: the imbalance of real sets."""
    weights = [(s + 1) ** -config.subject_skew for s in range(config.subjects)]
    least = min(2, config.clips // config.subjects)
    return apportion(config.clips, weights, least=least)
