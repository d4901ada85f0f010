"""Prompt sets: what is said of every clip, by its AUs or by its emotion."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from merclip_jax import facs
from merclip_jax.declared import OneOf, Range, check
from merclip_jax.text.vocabulary import CONTEXT
from merclip_jax.text.wording import (
    PHRASES,
    SIDED_PHRASES,
    SIDES,
    TABLE_II,
    TEMPLATES,
    USUAL,
    Wording,
    describe,
    phrases,
)

SUPERVISIONS = ("au", "emotion")


@dataclasses.dataclass(frozen=True)
class PromptOptions:
    """What clips are aligned with, beside the wording of `text.wording`.

    supervision: "au", or "emotion" for prompts that name the class instead (an
    ablation); templates: how many of the paper's; positions: position embeddings of the
    text tower from here on are zeros.
    """

    supervision: Annotated[str, OneOf(SUPERVISIONS)] = "au"
    templates: Annotated[int, Range(1, len(TEMPLATES))] = 7
    positions: Annotated[int, Range(1, CONTEXT)] = CONTEXT

    def __post_init__(self):
        check(self)


@dataclasses.dataclass(frozen=True)
class PromptSet:
    """All prompts that training may use, of AU combinations or of emotions.

    names: [s] canonical AU cells or emotions; descriptions: [s] the middle parts of
    their sentences; sentences: [p, s] whole prompts; mirror: [s] index of each with
    left and right swapped; overlap: [s, s] Jaccard similarity of their phrases.
    """

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    sentences: tuple[tuple[str, ...], ...]
    mirror: np.ndarray
    overlap: np.ndarray

    def texts(self) -> list[str]:
        """Prompts, template-major: row = template * len(names) + name."""
        return [text for row in self.sentences for text in row]

    def index(self, au_cells: Sequence[str]) -> np.ndarray:
        """Index int32 [n] of each AU cell; -1 where no sentence describes it."""
        rank = {name: i for i, name in enumerate(self.names)}
        # The canonical text of a cell is the key: "12 + L4" and "12+L4" are one.
        found = (rank.get(str(facs.parse_cell(cell)), -1) for cell in au_cells)
        return np.fromiter(found, np.int32, len(au_cells))


def au_prompts(
    au_cells: Sequence[str],
    *,
    templates: int = PromptOptions.templates,
    wording: Wording = USUAL,
) -> PromptSet:
    """Returns the prompts of AU combinations and their mirror images, sorted.

    Args:
        au_cells: as annotated; combinations that no sentence describes are left out.
        templates: how many of the paper's.
        wording: of the descriptions; "shuffled" draws an order for every template.

    Raises:
        ValueError: for AUs that FACS does not know, when nothing is left, or when the
            number of templates is not 1..10.
    """
    combinations = {}
    for cell in au_cells:
        combination = facs.parse_cell(cell)
        if unknown := [
            au.number for au in combination.aus if au.number not in facs.CODES
        ]:
            raise ValueError(
                f"AU cell {cell!r}: FACS has no AU {unknown[0]}; it has "
                f"{sorted(facs.CODES)}"
            )
        # Mirror images too: a flipped clip takes the sentence of the other side.
        for variant in (combination, facs.mirror(combination)):
            if describe(variant, wording):
                combinations[str(variant)] = variant
    if not combinations:
        raise ValueError("no clip has an action unit that a sentence can describe")
    # Sorted, so that the table does not depend on the order of the clips.
    names = tuple(sorted(combinations))
    ordered = [combinations[name] for name in names]
    rank = {name: i for i, name in enumerate(names)}
    return PromptSet(
        names=names,
        descriptions=tuple(describe(c, wording) for c in ordered),
        sentences=tuple(
            tuple(t.format(describe(c, wording, shuffle=i)) for c in ordered)
            for i, t in enumerate(chosen(templates))
        ),
        mirror=np.asarray([rank[str(facs.mirror(c))] for c in ordered], np.int32),
        overlap=_jaccard([set(phrases(c, wording)) for c in ordered]),
    )


def emotion_prompts(
    emotions: Sequence[str], *, templates: int = PromptOptions.templates
) -> PromptSet:
    """Returns the prompts of the ablation that aligns clips with their emotion.

    Args:
        emotions: classes of the task; prompt i is of emotion i.
        templates: how many of the paper's.

    Raises:
        ValueError: unless templates are 1..10.
    """
    descriptions = tuple(f"the emotion of {emotion}" for emotion in emotions)
    # An emotion has no mirror image, and two have nothing in common.
    return PromptSet(
        names=tuple(emotions),
        descriptions=descriptions,
        sentences=tuple(
            tuple(t.format(d) for d in descriptions) for t in chosen(templates)
        ),
        mirror=np.arange(len(emotions), dtype=np.int32),
        overlap=np.eye(len(emotions), dtype=np.float32),
    )


def chosen(templates: int) -> tuple[str, ...]:
    """The first `templates` of the paper's templates; ValueError unless 1..10."""
    if not 1 <= templates <= len(TEMPLATES):
        raise ValueError(f"templates must be 1..{len(TEMPLATES)}, got {templates}")
    return TEMPLATES[:templates]


def reference_texts(
    *, templates: int = PromptOptions.templates, wording: Wording = USUAL
) -> list[str]:
    """Returns sentences of all single AUs, sided or not, and of all pairs of Table II.

    They hold every word that a description can have.

    Args:
        templates: how many of the paper's.
        wording: of the descriptions; AUs are in ascending order, joined by "and".
    """
    # What is made for a tower with random weights is made from these sentences, never
    # from a dataset's: else test clips would have a part in it.
    cells = [str(number) for number in PHRASES]
    cells += [f"{side}{n}" for side in SIDES for n in SIDED_PHRASES]
    cells += [f"{a}+{b}" for a, b in itertools.combinations(TABLE_II, 2)]
    cells.append("ref(1)+(L12 or L14)+2")
    wording = dataclasses.replace(wording, order="ascending", last_and=True)
    bodies = [describe(facs.parse_cell(cell), wording) for cell in cells]
    return [template.format(body) for template in chosen(templates) for body in bodies]


def _jaccard(said: Sequence[set[str]]) -> np.ndarray:
    """Shared over all phrases of every two combinations, float32 [s, s]."""
    known = {phrase: i for i, phrase in enumerate(sorted(set().union(*said)))}
    has = np.zeros((len(said), len(known)), np.float32)
    for row, own in zip(has, said, strict=True):
        row[[known[phrase] for phrase in own]] = 1
    # A product of indicators counts what two combinations share.
    shared = has @ has.T
    sizes = has.sum(1)
    return shared / (sizes[:, None] + sizes[None] - shared)
