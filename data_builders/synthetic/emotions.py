"""Emotion -> AU combinations as explicit probabilities, and the tasks by class.

The table is invented for this dataset in the spirit of FACS: the usual prototypes,
one-sided and weak variants, and smiles held back by AU14 or AU24. Emotions share
combinations on purpose, so that no observer can be always right and the best score is
known.
"""

import functools

import numpy as np

from data_builders.synthetic.config import GROUPS, ClipConfig
from data_builders.synthetic.fields import cells_of
from data_builders.tasks import tasks_of
from merclip_jax import facs

# Number of classes -> task.
TASKS = {len(task.classes): task for task in tasks_of("synthetic").values()}
# A clip's random numbers depend on this order and on that of the groups.
EMOTIONS = TASKS[7].names

# Share of each emotion within its group.
_SHARE = {
    "anger": 0.22,
    "contempt": 0.14,
    "disgust": 0.28,
    "fear": 0.16,
    "sadness": 0.20,
    "happiness": 1.0,
    "surprise": 1.0,
}
WITHIN_GROUP = {
    group: {emotion: _SHARE[emotion] for emotion in emotions}
    for group, emotions in TASKS[3].classes
}

# P(AU combination | emotion), in percent. Shared on purpose: "1+2" is surprise, fear,
# sadness or happiness, "14" contempt, happiness or sadness, "4" anger, disgust or
# sadness.
AU_COMBINATIONS = {
    "anger": {
        "4+7": 20, "4": 18, "4+5+7": 9, "4+23": 9, "4+24": 8, "7+24": 6, "7+23": 6,
        "4+17+24": 6, "5": 5, "9": 4, "L4": 3, "R4": 3, "9+16": 3,
    },
    "contempt": {
        "L14": 15, "R14": 15, "14": 12, "L12": 9, "R12": 9, "12+14": 8, "14+24": 8,
        "12+24": 6, "12": 5, "14+17": 5, "L12+L14": 4, "R12+R14": 4,
    },
    "disgust": {
        "9": 17, "4+9": 15, "10": 12, "4+7+9": 9, "4+7": 8, "6+12": 7, "9+10": 7,
        "10+17": 5, "4": 5, "12": 5, "L10": 4, "R10": 4, "9+10+16": 2,
    },
    "fear": {
        "1+2": 22, "1+2+5": 14, "1+4": 11, "1+2+4": 10, "1+2+25": 8, "20": 8, "5": 7,
        "1+2+4+5": 6, "4+20+25": 6, "2": 4, "1+4+20": 4,
    },
    "happiness": {
        "12": 22, "6+12": 20, "L12": 9, "R12": 9, "12+14": 7, "6+12+25": 6, "12+24": 6,
        "14": 5, "L14": 4, "R14": 4, "25": 3, "1+2": 3, "6": 2,
    },
    "sadness": {
        "15": 16, "15+17": 14, "1+4": 12, "17": 10, "1+4+15": 8, "4": 8, "1": 8,
        "4+15": 6, "14": 6, "28": 4, "17+28": 4, "1+2": 4,
    },
    "surprise": {
        "1+2": 30, "1+2+5": 16, "1+2+25": 12, "5": 8, "1": 7, "2": 6, "L1+L2": 5,
        "R1+R2": 5, "1+2+4": 4, "25": 4, "12+25": 3,
    },
}  # fmt: skip


def group_of(emotion: str) -> str:
    """Returns the 3-class group of an emotion.

    Raises:
        KeyError: If the emotion is unknown; names the known ones.
    """
    groups = TASKS[3].emotions
    if emotion not in groups:
        raise KeyError(f"emotion {emotion!r}: expected one of {list(groups)}")
    return groups[emotion]


@functools.cache
def aus_of(cell: str) -> tuple[tuple[int, str], ...]:
    """Returns the AUs (number, side) of an annotation cell, in the cell's order."""
    return tuple((au.number, au.side) for au in facs.parse_cell(cell).aus)


@functools.cache
def rows_of(cell: str) -> tuple[int, ...]:
    """Returns the AU-sides (rows of `fields.CELLS`) that a cell switches on."""
    return cells_of(aus_of(cell))


def probabilities(emotion: str) -> dict[str, float]:
    """Returns P(AU cell | emotion); sums to 1."""
    total = sum(AU_COMBINATIONS[emotion].values())
    return {cell: share / total for cell, share in AU_COMBINATIONS[emotion].items()}


def emotion_priors(config: ClipConfig) -> dict[str, float]:
    """Returns P(emotion), in the order of `EMOTIONS`: group prior times share in it."""
    return {
        e: config.priors[GROUPS.index(group_of(e))] * WITHIN_GROUP[group_of(e)][e]
        for e in EMOTIONS
    }


def draw_cell(rng: np.random.Generator, emotion: str) -> str:
    """Draws an AU cell.

    Args:
        rng: Source of the draw.
        emotion: What it expresses.
    """
    table = probabilities(emotion)
    return list(table)[rng.choice(len(table), p=list(table.values()))]


def draw_of_group(rng: np.random.Generator, group: str) -> str:
    """Draws an AU cell of a group: an emotion by its share, then a cell of it.

    Args:
        rng: Source of the draws.
        group: A class of the 3-class task.
    """
    inside = WITHIN_GROUP[group]
    emotion = list(inside)[rng.choice(len(inside), p=list(inside.values()))]
    return draw_cell(rng, emotion)
