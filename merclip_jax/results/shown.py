"""Clips as a report shows them: frames, maps, bars, and what training saw first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from merclip_jax.results import figures
from merclip_jax.systems.system import Exhibit


@dataclass(frozen=True)
class Example:
    """A clip to show: frames [t, h, w, c] uint8, what was annotated and answered.

    true, guess: in words; bars: (name, probability) of all that can be answered, of
    which `annotated` and `answered` say what holds; apex: an index into frames, the
    nearest that is seen; names: of key frames, by their indices; heats: (what of, maps
    [t, h, w] from 0 to 1) of where an answer comes from.
    """

    clip: str
    subject: str
    true: str
    guess: str
    bars: tuple[tuple[str, float], ...]
    annotated: tuple[bool, ...]
    answered: tuple[bool, ...]
    frames: np.ndarray
    apex: int
    names: Mapping[int, str]
    exhibits: tuple[Exhibit, ...] = ()
    heats: tuple[tuple[str, np.ndarray], ...] = ()


@dataclass(frozen=True)
class FirstBatch:
    """The first clips of a member: as stored and as training saw them, uint8.

    stored, seen: [n, t, h, w, c].
    """

    member: str
    clips: tuple[str, ...]
    stored: np.ndarray
    seen: np.ndarray


def clip_of(example: Example) -> dict:
    """Pictures and numbers of one clip, as the template takes them.

    Args:
        example: the clip.

    Raises:
        ValueError: frames, apex and maps do not fit each other.
    """
    frames = np.asarray(example.frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] not in (1, 3):
        raise ValueError(
            f"{example.clip}: expected frames [t, h, w, 1 or 3] uint8, got "
            f"{frames.shape} {frames.dtype}"
        )
    last, apex = len(frames) - 1, example.apex
    if not 0 <= apex <= last:
        raise ValueError(f"{example.clip}: apex {apex} of {len(frames)} frames")
    # The key frames, and one between each two of them.
    shown = {0, apex // 2, apex, (apex + last + 1) // 2, last}
    heat, gain = figures.onset_difference(frames, apex)
    for _, maps in example.heats:
        if maps.shape != frames.shape[:3]:
            raise ValueError(
                f"{example.clip}: heat {maps.shape} of frames {frames.shape}"
            )

    def strip(pictures: Iterable[np.ndarray]) -> list[dict]:
        return [
            {
                "name": example.names.get(i, f"frame {i + 1}"),
                "src": figures.png(picture),
                "apex": i == apex,
            }
            for i, picture in enumerate(pictures)
            if i in shown
        ]

    marks = zip(example.annotated, example.answered, strict=True)
    return {
        "clip": example.clip,
        "subject": example.subject,
        "true": example.true,
        "guess": example.guess,
        "right": example.annotated == example.answered,
        "strip": strip(frames),
        "heats": [
            {"title": title, "strip": strip(map(figures.overlaid, frames, maps))}
            for title, maps in example.heats
        ],
        "heat": {"src": figures.png(heat), "gain": gain},
        "bars": [
            {"name": name, "p": p, "annotated": annotated, "answered": answered}
            for (name, p), (annotated, answered) in zip(
                example.bars, marks, strict=True
            )
        ],
        "exhibits": [
            {
                "title": exhibit.title,
                "rows": [
                    {"value": value, "text": text, "annotated": annotated}
                    for value, text, annotated in exhibit.rows
                ],
                "pictures": [
                    {"name": caption, "src": figures.png(picture)}
                    for caption, picture in exhibit.pictures
                ],
            }
            for exhibit in example.exhibits
        ],
    }


def batch_of(batch: FirstBatch) -> dict:
    """Onset and a middle frame of each clip, as stored and as seen.

    Args:
        batch: the first one.
    """
    middle = batch.stored.shape[1] // 2
    return {
        "member": batch.member,
        "clips": [
            {
                "name": name,
                "pictures": [
                    {"name": title, "src": figures.png(frames[i], height=96)}
                    for title, frames, i in (
                        ("stored, onset", stored, 0),
                        ("trained on, onset", seen, 0),
                        ("trained on, middle", seen, middle),
                    )
                ],
            }
            for name, stored, seen in zip(
                batch.clips, batch.stored, batch.seen, strict=True
            )
        ],
    }
