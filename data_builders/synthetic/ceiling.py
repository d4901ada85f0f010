"""The best score anyone can reach: exact posteriors of an ideal observer.

The observer sees which AU combination is the smooth one and what the two decoys are,
but not which group each decoy stands for. Every such observation is listed with its
exact probability, so ceilings are sums, not samples.
"""

import dataclasses
import itertools

import numpy as np

from data_builders.synthetic.config import GROUPS, ClipConfig
from data_builders.synthetic.emotions import (
    EMOTIONS,
    TASKS,
    WITHIN_GROUP,
    emotion_priors,
    group_of,
    probabilities,
    rows_of,
)

# (AU-sides of the smooth one, AU-sides of the decoys in sorted order)
Observation = tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """Best expected scores of one task, and the rule that reaches the best UF1.

    The rule picks argmax_c of gain[c] * P(c | clip) - cost[c].
    """

    classes: tuple[str, ...]
    priors: np.ndarray
    acc: float
    uar: float
    uf1: float
    gain: np.ndarray
    cost: np.ndarray


def _of_group(group: str) -> dict[tuple[int, ...], float]:
    total = {}
    for emotion, share in WITHIN_GROUP[group].items():
        for cell, p in probabilities(emotion).items():
            total[rows_of(cell)] = total.get(rows_of(cell), 0.0) + share * p
    return total


def joint_probabilities(config: ClipConfig) -> dict[Observation, np.ndarray]:
    """Returns P(observation, emotion), float [7], of all that can be observed."""
    table = {}
    by_group = {group: _of_group(group) for group in GROUPS}
    for row, (emotion, prior) in enumerate(emotion_priors(config).items()):
        # The decoys are drawn without a look at the emotion or at each other.
        others = [by_group[g].items() for g in GROUPS if g != group_of(emotion)]
        pairs = list(itertools.product(*others)) if config.decoys else [()]
        for cell, p in probabilities(emotion).items():
            for pair in pairs:
                seen = (rows_of(cell), tuple(sorted(rows for rows, _ in pair)))
                weight = prior * p * np.prod([q for _, q in pair])
                table.setdefault(seen, np.zeros(len(EMOTIONS)))[row] += weight
    return table


def order_blind(
    joint: dict[Observation, np.ndarray],
) -> dict[tuple, np.ndarray]:
    """Returns the same for an observer who cannot tell which one is smooth."""
    table = {}
    for (smooth, decoys), p in joint.items():
        seen = tuple(sorted((smooth, *decoys)))
        table[seen] = table.get(seen, 0.0) + p
    return table


def class_matrix(task: int) -> np.ndarray:
    """Returns 1 where an emotion (row) is of a class of the task, float [7, K]."""
    names, of_emotion = TASKS[task].names, TASKS[task].emotions
    return np.array([[float(of_emotion[e] == c) for c in names] for e in EMOTIONS])


def _scores(joint, choice) -> tuple[np.ndarray, np.ndarray]:
    """Per class: the true and the predicted-plus-actual probability mass."""
    hit = np.zeros(joint.shape[1])
    mass = joint.sum(0)
    np.add.at(hit, choice, joint[np.arange(len(joint)), choice])
    np.add.at(mass, choice, joint.sum(1))
    return hit, mass


def best_uf1(joint: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Climbs to the largest UF1 of any rule.

    UF1 = mean_c 2 hit_c / mass_c. Its gradient at a rule is again a rule of the form
    gain * P - cost, so following it climbs.

    Args:
        joint: P(observation, class), float [n, K].

    Returns:
        That UF1, and gain and cost of its rule, each [K].
    """
    classes = joint.shape[1]
    # There are local maxima, hence many starts: class weights, of a fixed seed.
    rng = np.random.default_rng(0)
    starts = [joint.sum(0) ** -power for power in (0.0, 0.5, 1.0)]
    starts += [np.exp(rng.normal(0.0, 1.0, classes)) for _ in range(24)]
    best = (-1.0, np.ones(classes), np.zeros(classes))
    total = joint.sum(1, keepdims=True)
    for gain in starts:
        cost = np.zeros(classes)
        score = -1.0
        for _ in range(50):
            hit, mass = _scores(joint, (joint * gain - total * cost).argmax(1))
            f1 = 2 * hit / mass
            if f1.mean() <= score + 1e-12:
                break
            score = f1.mean()
            if score > best[0]:
                best = (score, gain, cost)
            gain, cost = 2 / mass, f1 / mass
    return best


def ceiling_of(joint: np.ndarray, classes: tuple[str, ...]) -> Ceiling:
    """Returns the ceilings of ACC, UAR and UF1.

    Args:
        joint: P(observation, class), float [n, K].
        classes: Their names.
    """
    # ACC and UAR have a rule each that is plainly best; UF1 has none in closed form.
    priors = joint.sum(0)
    uf1, gain, cost = best_uf1(joint)
    return Ceiling(
        classes=classes,
        priors=priors,
        acc=float(joint.max(1).sum()),
        uar=float((joint / priors).max(1).sum() / len(classes)),
        uf1=float(uf1),
        gain=gain,
        cost=cost,
    )


def ceilings(config: ClipConfig, *, shuffled: bool = False) -> dict[int, Ceiling]:
    """Returns number of classes -> ceiling of that task.

    Args:
        config: The dataset's settings.
        shuffled: Whether the observer is given the key frames in random order.
    """
    table = joint_probabilities(config)
    if shuffled:
        table = order_blind(table)
    # All tasks from one table: a class is a sum of emotions.
    joint = np.stack(list(table.values()))
    return {k: ceiling_of(joint @ class_matrix(k), TASKS[k].names) for k in TASKS}


def chance(priors: np.ndarray) -> dict[str, float]:
    """Returns the expected UF1 of the largest class alone, and of guessing by prior."""
    count = len(priors)
    return {
        "majority": float(2 * priors.max() / (1 + priors.max()) / count),
        "prior": float(priors.sum() / count),
    }
