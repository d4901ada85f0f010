"""One clip: who, what, when, and how it looks. A pure function of (config, index).

A clip holds one AU combination per 3-class group. That of the clip's own group follows
the micro-expression's profile; the other two ("decoys") go through the very same values
in a random order. What moves is thus the same in every class: only the order tells.
"""

import dataclasses
import functools

import numpy as np

from data_builders.synthetic.config import (
    GROUPS,
    ClipConfig,
    apportion,
    clips_per_subject,
)
from data_builders.synthetic.emotions import (
    EMOTIONS,
    draw_cell,
    draw_of_group,
    emotion_priors,
    group_of,
    rows_of,
)
from data_builders.synthetic.fields import CELLS
from data_builders.synthetic.render import draw_nuisance, encode, render
from merclip_jax.data.sampling import key_frames

# Streams of random numbers: independent, so that forcing one choice moves no other.
# (0 draws the subjects, in render.py.)
_ORDER, _SET, _TIME, _DECOY, _NUISANCE = range(1, 6)


@dataclasses.dataclass(frozen=True)
class ClipTruth:
    """All that is known about a clip before it is drawn.

    au_intensity: float32 [n, 36], summed over the three, 1 = apex, columns as
    `fields.CELLS`; decoy_cells: the decoys' AU cells in the order of their groups.
    """

    clip: str
    subject: str
    emotion: str
    au_cell: str
    decoy_cells: tuple[str, ...]
    onset: int
    apex: int
    offset: int
    fps: float
    amplitude_px: float
    au_intensity: np.ndarray


@dataclasses.dataclass(frozen=True)
class SyntheticClip(ClipTruth):
    """A drawn clip: frames uint8 [n, h, w, 3] RGB, onset to offset.

    points: float32 [n, 68, 2], the landmarks of each frame as iBUG numbers them, x, y
    in pixels; encoded: the bytes of each frame's file; a JPEG loses a little of
    `frames`.
    """

    frames: np.ndarray
    points: np.ndarray
    encoded: tuple[bytes, ...]


def _rng(config: ClipConfig, stream: int, index: int) -> np.random.Generator:
    seed = np.random.SeedSequence(config.seed, spawn_key=(stream, index))
    return np.random.Generator(np.random.PCG64(seed))


@functools.lru_cache(maxsize=4)
def assignments(config: ClipConfig) -> tuple[tuple[int, str], ...]:
    """Returns (subject number, emotion) of every clip, by subject.

    Emotions keep the config's proportions and are dealt to subjects at random.
    """
    counts = apportion(config.clips, emotion_priors(config).values())
    emotions = [e for e, n in zip(EMOTIONS, counts, strict=True) for _ in range(n)]
    order = _rng(config, _ORDER, 0).permutation(config.clips)
    subjects = [s for s, n in enumerate(clips_per_subject(config)) for _ in range(n)]
    return tuple((s, emotions[i]) for s, i in zip(subjects, order, strict=True))


def profile(onset: int, apex: int, offset: int) -> np.ndarray:
    """Draws a micro-expression over its frames.

    Args:
        onset: Its first frame.
        apex: Its strongest frame.
        offset: Its last frame.

    Returns:
        Intensity: 0 at onset, 1 at apex, 0 at offset, float [n].
    """
    t = np.arange(onset, offset + 1, dtype=np.float64)
    return profile_at(t, onset, apex, offset)


def profile_at(
    times: np.ndarray, onset: float, apex: float, offset: float
) -> np.ndarray:
    """Draws a micro-expression over time: a quick eased rise, a decay that slows down.

    Args:
        times: [n], in the unit of the others.
        onset, apex, offset: When it begins, is strongest, and ends.

    Returns:
        Intensity from 0 to 1, float [n]; 0 outside of onset..offset.
    """
    rise = np.clip((times - onset) / (apex - onset), 0.0, 1.0)
    fall = np.clip((offset - times) / (offset - apex), 0.0, 1.0)
    ease = rise * rise * (3.0 - 2.0 * rise)
    decay = np.sin(0.5 * np.pi * fall) ** 2.4
    return np.where(times <= apex, ease, decay)


def twitch(rng, smooth: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Puts a clip's intensities into random order.

    Args:
        rng: Source of the order.
        smooth: Intensity by frame, float [n].
        keys: The key frames.

    Returns:
        The values of `smooth` at the inner key frames, shuffled; 0 at the first and
        the last, straight lines in between, float [n].
    """
    # The ends stay where they are: both are 0, so they tell nothing, and everything
    # begins and ends neutral.
    values = smooth[keys].copy()
    values[1:-1] = rng.permutation(values[1:-1])
    return np.interp(np.arange(len(smooth)), keys, values)


def _draw_times(config: ClipConfig, rng) -> tuple[int, int, int]:
    """Onset, apex, offset with as many distinct frames as there are key frames."""
    shortest = config.key_frames + 4  # else rounding could take a frame twice
    length = round(rng.uniform(*config.seconds) * config.fps)
    length = max(length, shortest)
    apex = int(np.clip(round(rng.uniform(*config.apex_at) * length), 2, length - 2))
    return 0, apex, length  # a clip begins with its onset


def _draw_cells(config: ClipConfig, index: int, emotion: str) -> dict[str, str]:
    """AU cell per group: the emotion's own, and decoys drawn independently."""
    rng = _rng(config, _SET, index)
    # For every group, also the clip's own: no choice moves another's numbers.
    others = {group: draw_of_group(rng, group) for group in GROUPS}
    own = group_of(emotion)
    cells = {own: draw_cell(rng, emotion)}
    if config.decoys:
        cells |= {group: others[group] for group in GROUPS if group != own}
    return cells


def _intensity(config, index, times, cells, own) -> np.ndarray:
    """Intensity of every AU-side in every frame, float32 [n, 36]."""
    rng = _rng(config, _DECOY, index)
    smooth = profile(*times)
    keys = key_frames(*times, config.key_frames)
    curves = np.zeros((len(smooth), len(CELLS)))
    for group in GROUPS:  # always three draws: no choice moves another's numbers
        shuffled = twitch(rng, smooth, keys)
        if group in cells:
            curve = smooth if group == own else shuffled
            curves[:, list(rows_of(cells[group]))] += curve[:, None]
    return curves.astype(np.float32)


def clip_truth(
    config: ClipConfig, index: int, *, emotion: str | None = None
) -> ClipTruth:
    """Decides who, what and when of a clip.

    Args:
        config: The dataset's settings.
        index: Which clip.
        emotion: Replaces the one that is dealt to it.

    Returns:
        All that is known before it is drawn.

    Raises:
        IndexError: If `index` is outside 0..clips-1.
        KeyError: If the emotion is unknown.
    """
    if not 0 <= index < config.clips:
        raise IndexError(f"synthetic clip {index}: expected 0..{config.clips - 1}")
    subject, dealt = assignments(config)[index]
    # Tests ask for a clip with another emotion, all else being equal.
    emotion = dealt if emotion is None else emotion
    own = group_of(emotion)
    rng = _rng(config, _TIME, index)
    times = _draw_times(config, rng)
    amplitude = float(rng.uniform(*config.amplitude_px))
    cells = _draw_cells(config, index, emotion)
    return ClipTruth(
        clip=f"synthetic/s{subject:02d}/c{index:04d}",
        subject=f"synthetic/s{subject:02d}",
        emotion=emotion,
        au_cell=cells[own],
        decoy_cells=tuple(cells[g] for g in GROUPS if g != own and g in cells),
        onset=times[0],
        apex=times[1],
        offset=times[2],
        fps=config.fps,
        amplitude_px=amplitude,
        au_intensity=_intensity(config, index, times, cells, own),
    )


def make_clip(
    config: ClipConfig, index: int, *, emotion: str | None = None
) -> SyntheticClip:
    """Draws a clip; errors as of `clip_truth`.

    Forcing the emotion leaves subject, times, nuisance and noise as they are.

    Args:
        config: The dataset's settings.
        index: Which clip.
        emotion: Replaces the one that is dealt to it.
    """
    truth = clip_truth(config, index, emotion=emotion)
    rng = _rng(config, _NUISANCE, index)
    keys = key_frames(truth.onset, truth.apex, truth.offset, config.key_frames)
    nuisance = draw_nuisance(config, rng, keys)
    curves = truth.au_intensity * np.float32(truth.amplitude_px)
    subject = assignments(config)[index][0]
    frames, points = render(config, subject, curves, nuisance, rng)
    facts = {f.name: getattr(truth, f.name) for f in dataclasses.fields(truth)}
    encoded = encode(config, rng, frames)
    return SyntheticClip(**facts, frames=frames, points=points, encoded=encoded)


def make_all(config: ClipConfig) -> dict[str, np.ndarray]:
    """Returns every clip at its key frames, stacked, for quick experiments.

    frames uint8 [clips, k, h, w, 3]; au_intensity float32 [clips, k, 36]; keys [clips,
    k]; emotion, group, subject, clip, au_cell str [clips].
    """
    clips = [make_clip(config, i) for i in range(config.clips)]
    keys = [key_frames(c.onset, c.apex, c.offset, config.key_frames) for c in clips]
    pairs = list(zip(clips, keys, strict=True))
    texts = ("emotion", "subject", "clip", "au_cell")
    return {
        "frames": np.stack([c.frames[k] for c, k in pairs]),
        "au_intensity": np.stack([c.au_intensity[k] for c, k in pairs]),
        "keys": np.stack(keys),
        "group": np.array([group_of(c.emotion) for c in clips]),
        **{name: np.array([getattr(c, name) for c in clips]) for name in texts},
    }
