"""Emotions read off AUs by fixed rules: no emotion label has a part in it.

The rules are ours, after FACS and the guideline that CASME II was labelled by; nothing
in them was tuned. Three forms: rules on which AUs are there, likelihoods of their
probabilities, and directions in the space of the AUs' sentences.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from merclip_jax.typing import Array, Float

# How probable an AU is in an emotion that lists it, and in one that does not.
LISTED, ELSE = 0.9, 0.1
# What a system calls its scores of the emotions of `ALL` by text, where it has them.
TEXT = "emotions"
_SURE = 1e-6  # no probability is nearer to 0 or 1: one AU alone must not decide


@dataclass(frozen=True)
class Reading:
    """What is said of AUs: `aus` [a] their numbers, `shown` bool [n, a] which of them a
    clip shows, `probabilities` [n, a]; `note`: how it is read, for the card."""

    aus: tuple[int, ...]
    shown: np.ndarray
    probabilities: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class Sign:
    """One way in which an emotion shows.

    any_of: one of these AUs at least; also: all of these too; without: none of these.
    """

    any_of: tuple[int, ...]
    also: tuple[int, ...] = ()
    without: tuple[int, ...] = ()

    def holds(self, aus: Collection[int]) -> bool:
        """Whether a face with these AUs, and no other, shows it."""
        there = set(aus)
        return bool(
            there & set(self.any_of)
            and there >= set(self.also)
            and not there & set(self.without)
        )

    @property
    def listed(self) -> set[int]:
        """The AUs that speak for it."""
        return {*self.any_of, *self.also}


@dataclass(frozen=True)
class Rules:
    """Emotions by their signs, in the order in which they are tried, and all others.

    signs: (emotion, its signs), the first that holds wins; rest: where none does.
    """

    signs: tuple[tuple[str, tuple[Sign, ...]], ...]
    rest: str

    @property
    def names(self) -> tuple[str, ...]:
        """Emotions in the order of the rules, `rest` last."""
        return (*(name for name, _ in self.signs), self.rest)

    def tells(self, names: Collection[str]) -> bool:
        """Whether its emotions are these classes, in any order."""
        return set(self.names) == set(names)

    @property
    def reads(self) -> tuple[int, ...]:
        """All AUs that a rule looks at, for or against an emotion."""
        signs = [sign for _, several in self.signs for sign in several]
        return tuple(sorted({au for s in signs for au in (*s.listed, *s.without)}))

    def read(self, aus: Collection[int]) -> str:
        """The emotion of a face with these AUs."""
        for name, signs in self.signs:
            if any(sign.holds(aus) for sign in signs):
                return name
        return self.rest

    def hard(self, shown: np.ndarray, aus: Sequence[int]) -> np.ndarray:
        """The first rule that holds, int [n], an index into `names`.

        Args:
            shown: bool [n, a] which AUs are there.
            aus: [a] their numbers; any other AU counts as absent.
        """
        numbers = np.asarray(aus)
        found = [self.names.index(self.read(numbers[row].tolist())) for row in shown]
        return np.asarray(found, np.int64)

    def weights(self, aus: Sequence[int]) -> np.ndarray:
        """How probable each AU is in each of `names`, w [k, a]: `LISTED` or `ELSE`."""
        listed = [set().union(*(s.listed for s in signs)) for _, signs in self.signs]
        rows = [[LISTED if au in own else ELSE for au in aus] for own in (*listed, ())]
        return np.asarray(rows, np.float32)

    def soft(self, probabilities: np.ndarray, aus: Sequence[int]) -> np.ndarray:
        """Scores [n, k]: sum over AUs of w log p + (1 - w) log(1 - p).

        Args:
            probabilities: [n, a] of the AUs.
            aus: [a] their numbers.
        """
        p = np.clip(np.asarray(probabilities, np.float64), _SURE, 1 - _SURE)
        w = self.weights(aus).astype(np.float64)
        return np.log(p) @ w.T + np.log(1 - p) @ (1 - w).T


def _rules(rest: str, **signs: Sign | tuple[Sign, ...]) -> Rules:
    several = [(n, s if isinstance(s, tuple) else (s,)) for n, s in signs.items()]
    return Rules(tuple(several), rest)


# Tried from the top: a face may show signs of several emotions.
CASME2_5 = _rules(
    surprise=(Sign((1, 2), without=(4,)), Sign((25,), without=(4, 12))),
    happiness=(Sign((6,)), Sign((12,), without=(4, 15))),
    disgust=(Sign((9, 10)), Sign((4,), also=(7,))),
    repression=Sign((15, 17)),
    rest="others",
)
SAMM_5 = _rules(
    surprise=Sign((1, 2, 5), without=(4, 7)),
    happiness=Sign((6, 12), without=(14, 15)),
    anger=Sign((4, 7)),
    contempt=Sign((14,)),
    rest="others",
)
THREE = _rules(
    surprise=Sign((1, 2), without=(4, 15)),
    positive=Sign((6, 12), without=(9, 10, 15, 17)),
    rest="negative",
)
ALL = (CASME2_5, SAMM_5, THREE)


def rules_of(names: Collection[str]) -> Rules:
    """The rules whose emotions are these classes.

    Raises:
        ValueError: there are none; lists those that there are.
    """
    for rules in ALL:
        if rules.tells(names):
            return rules
    known = [sorted(rules.names) for rules in ALL]
    raise ValueError(f"no rules tell {sorted(names)}; there are rules for {known}")


def has_rules(names: Collection[str]) -> bool:
    """Whether there are rules whose emotions are these classes."""
    return any(rules.tells(names) for rules in ALL)


def weights_of_all(aus: Sequence[int]) -> np.ndarray:
    """Weights w [k, a] of all emotions of `ALL`, one set of rules after another.

    Args:
        aus: [a].
    """
    return np.concatenate([rules.weights(aus) for rules in ALL])


def part_of_all(rules: Rules) -> slice:
    """Where the emotions of one of `ALL` stand among those of all."""
    before = ALL[: ALL.index(rules)]
    start = sum(len(other.names) for other in before)
    return slice(start, start + len(rules.names))


def by_text(
    probabilities: Float[Array, "b a"],
    visual: Float[Array, "b a e"],
    text: Float[Array, "a 2 e"],
    weights: np.ndarray,
) -> Float[Array, "b k"]:
    """Scores of emotions as directions made of the AUs' sentences.

    t_e = l2(sum_i w_ei t_i1 + (1 - w_ei) t_i0); the score is the sum over AUs of
    p_i u_i . t_e.

    Args:
        probabilities: p of the AUs.
        visual: u, unit features of the AUs in a face.
        text: t, unit features of their sentences, absent and present.
        weights: w of the emotions, [k, a] of the features' type.
    """
    both = np.stack([1 - weights, weights], axis=-1)
    directions = jnp.einsum("kas,ase->ke", both, text)
    length = jnp.linalg.norm(directions, axis=-1, keepdims=True)
    seen = jnp.einsum("ba,bae->be", probabilities, visual)
    return seen @ (directions / length).T


def of_combinations(
    similarity: np.ndarray, holds: np.ndarray, *, scale: np.ndarray | float
) -> np.ndarray:
    """Probabilities of AUs [n, a] from a clip's similarity to AU combinations.

    That is how MER-CLIP's alignment answers: an AU is as probable as the combinations
    that hold it.

    Args:
        similarity: [n, s] cosines of clips and sentences.
        holds: bool [s, a] which AUs each sentence names.
        scale: of the cosines, one or [n], as in training.
    """
    cosines = np.asarray(similarity, np.float64)
    share = softmax(np.expand_dims(scale, -1) * cosines, axis=-1)
    return np.clip(share @ np.asarray(holds, np.float64), 0, 1)
