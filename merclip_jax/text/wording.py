"""AU combinations in words: phrases, how they are joined, templates of sentences.

All are MER-CLIP's, to the letter; its ablation's three templates come last.
"""

import random
from dataclasses import dataclass
from typing import Annotated

from merclip_jax.declared import OneOf, check
from merclip_jax.facs import AU, WORDED, AUCombination

# fmt: off
TABLE_II = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 24, 25, 28)

# MER-CLIP's Table II; AUs that are not in it have the released code's wording, with
# the capital of 13: prompts are the authors' to the letter.
PHRASES: dict[int, str] = {
    1: "raising the inner part of the brows",
    2: "raising the outer part of the brows",
    4: "lowering the brows",
    5: "raising the upper lids",
    6: "raising the cheeks",
    7: "tightening the lids",
    9: "wrinkling the nose",
    10: "raising the upper lip",
    12: "pulling the corners of the lips",
    13: "Inflating the cheeks by exerting pressure from within the mouth",
    14: "creating the dimples",
    15: "depressing the corners of the lips",
    16: "depressing the lower lip",
    17: "raising the chin",
    18: "puckering the lips",
    20: "stretching the lips",
    21: "tightening the neck",
    22: "pursing the lips into a funnel shape",
    23: "tightening the lips",
    24: "pressing the lips",
    25: "parting the lips",
    26: "dropping the jaw",
    28: "sucking the lips",
    31: "clenching the jaw",
    38: "dilating the nostrils",
    39: "compressing the nostrils",
    43: "closing the eyes",
    57: "moving the head forward",
    58: "moving the head back",
}

# From the released code, as Table II has no sides. An AU without an entry is said
# without its side.
SIDED_PHRASES: dict[int, str] = {
    1: "raising the inner part of the {side} brow",
    2: "raising the outer part of the {side} brow",
    4: "lowering the {side} brow",
    5: "raising the {side} upper lid",
    6: "raising the {side} cheek",
    7: "tightening the {side} lid",
    9: "wrinkling the {side} side of the nose",
    10: "raising the {side} upper lip",
    12: "pulling the {side} corner of the lips",
    14: "creating the {side} dimple",
    15: "depressing the {side} corner of the lips",
    17: "raising the chin to the {side}",
    18: "puckering the lips to the {side}",
    20: "stretching the lips down and to the {side}",
}

# FACS's own names of the same AUs; with a side they become "left dimpler".
NAMES: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    13: "sharp lip puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    18: "lip pucker",
    20: "lip stretcher",
    21: "neck tightener",
    22: "lip funneler",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    28: "lip suck",
    31: "jaw clencher",
    38: "nostril dilator",
    39: "nostril compressor",
    43: "eyes closed",
    57: "head forward",
    58: "head back",
}

# In the released code's order, so that "the first n" are its n; the last three are of
# the paper's ablation.
TEMPLATES: tuple[str, ...] = (
    "This micro-expression involves {}.",
    "Key features of this micro-expression are {}.",
    "This micro-expression is characterized by {}.",
    "One can identify this micro-expression by {}.",
    "This micro-expression typically manifests as {}.",
    "The hallmark of this micro-expression is {}.",
    "An identifiable trait of this micro-expression is {}.",
    "Observing {} helps identify this micro-expression.",
    "The facial muscle movements in this micro-expression include {}.",
    "This micro-expression can be recognized through {}.",
)

SIDES: dict[str, str] = {"L": "left", "R": "right"}
# fmt: on


@dataclass(frozen=True)
class Wording:
    """How an AU combination is put into words: what the paper's Tables X to XII vary.

    `order`: "ascending" (CASME II, SAMM, DFME), "annotation" (CAS(ME)^3) or "shuffled".
    `words`: "phrases" (Table II and its like) or "facs" (FACS's names, joined by commas
    alone). `last_and=False` writes "A, B, C" (DFME, CAS(ME)^3). `au26` words AU 26
    ("parting the lips" in the released text of CASME II and CAS(ME)^3). Raises
    ValueError for other values.
    """

    order: Annotated[str, OneOf(("ascending", "annotation", "shuffled"))] = "ascending"
    words: Annotated[str, OneOf(("phrases", "facs"))] = "phrases"
    last_and: bool = True
    au26: str = PHRASES[26]

    def __post_init__(self):
        check(self)


USUAL = Wording()


def phrases(
    combination: AUCombination, wording: Wording = USUAL, *, shuffle: int = 0
) -> list[str]:
    """Returns the phrases of an AU combination in their order, each said once.

    AUs without words are passed over; intensities and the sides A, T, B have none.

    Args:
        combination: of one cell.
        wording: order and words.
        shuffle: seed of order "shuffled".
    """
    terms = list(combination.terms)
    if wording.order == "ascending":
        terms.sort(key=lambda term: term[0].number)
    # The combination is in the seed: else all of one length had one permutation.
    if wording.order == "shuffled":
        random.Random(f"{shuffle} {combination}").shuffle(terms)
    parts = [[p for au in term if (p := _phrase(au, wording))] for term in terms]
    # A phrase is said once, also where two codes share it (25 and 26, 38 and AD38).
    joined = [" or ".join(dict.fromkeys(alternatives)) for alternatives in parts]
    return list(dict.fromkeys(filter(None, joined)))


def describe(
    combination: AUCombination, wording: Wording = USUAL, *, shuffle: int = 0
) -> str:
    """Returns words such as "a combination of A, B and C", or one phrase by itself.

    "" when no AU has words: such a clip has no place in the contrastive loss.

    Args:
        combination: of one cell.
        wording: order and words.
        shuffle: seed of order "shuffled".
    """
    said = phrases(combination, wording, shuffle=shuffle)
    if len(said) < 2 or wording.words == "facs":
        return ", ".join(said)
    link = " and " if wording.last_and else ", "
    return f"a combination of {', '.join(said[:-1])}{link}{said[-1]}"


def _phrase(au: AU, wording: Wording) -> str:
    if au.number not in WORDED:
        return ""
    sided = au.side in SIDES and au.number in SIDED_PHRASES
    if wording.words == "facs":
        phrase = NAMES[au.number]
        phrase = f"{SIDES[au.side]} {phrase}" if sided else phrase
    elif sided:
        phrase = SIDED_PHRASES[au.number].format(side=SIDES[au.side])
    else:
        phrase = wording.au26 if au.number == 26 else PHRASES[au.number]
    return f"{phrase} might be present" if au.uncertain else phrase
