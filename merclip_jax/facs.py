"""Facial action units: the cells annotators write, and the words they stand for.

The grammar is the union of CASME II, SAMM, CAS(ME)^2, CAS(ME)^3, DFME, MMEW and 4DME;
phrases, joining and templates are MER-CLIP's (its ablation's three templates last).
"""

import math
import numbers
import random
import re
from dataclasses import dataclass, replace

# fmt: off
TABLE_II = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 24, 25, 28)

# Every code of FACS: action units, descriptors, head and eye positions, visibility.
CODES = frozenset(
    {1, 2, *range(4, 40), 41, 42, 43, 44, 45, 46, *range(50, 67), *range(70, 75)}
    | {80, 81, 82, 84, 85, 91, 92, 97, 98}
)

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
_MIRRORED = {"L": "R", "R": "L", "A/L": "A/R", "A/R": "A/L"}
_EMPTY_CELLS = {"", "?", "/", "null", "nan"}

# Patterns take the space behind them; `(k)`, a static AU in 4DME, is not kept.
_AU = re.compile(
    r"(?P<kind>AU|AD|M)?(?P<side>A/[LR]|[LRATB])?(?P<number>[1-9][0-9]?)(?![0-9])"
    r"(?(side)|(?P<after>[LR])?)(?P<intensity>[A-E](?:/[A-E])?)?(?:\(K\))?\s*",
    re.IGNORECASE | re.ASCII,
)
_REF, _OR, _OPEN, _CLOSE, _PLUS, _REMARK = (
    re.compile(pattern + r"\s*", re.IGNORECASE)
    for pattern in (r"ref\s*\(", "or", r"\(", r"\)", r"\+", r"soft\s+focus")
)


class AUCellError(ValueError):
    """An AU cell outside the grammar; names the cell and the character."""


@dataclass(frozen=True)
class AU:
    """One action unit as annotated; `kind` "AD": action descriptor, "M": head movement.

    `side`: "", "L", "R", or the rarer "A" (asymmetric), "A/L", "A/R", "T" (top), "B"
    (bottom). `intensity`: "", "A".."E", or a pair such as "A/B".
    """

    number: int
    side: str = ""
    intensity: str = ""
    uncertain: bool = False
    kind: str = "AU"

    def __str__(self) -> str:
        kind = "" if self.kind == "AU" else self.kind
        code = f"{kind}{self.side}{self.number}{self.intensity}"
        return f"ref({code})" if self.uncertain else code


@dataclass(frozen=True)
class AUCombination:
    """The AUs of one cell in its order; a term of several AUs is an `or`."""

    terms: tuple[tuple[AU, ...], ...] = ()

    @property
    def aus(self) -> tuple[AU, ...]:
        """All AUs in cell order, the alternatives of an `or` one after another."""
        return tuple(au for term in self.terms for au in term)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        joined = (" or ".join(map(str, term)) for term in self.terms)
        return "+".join(f"({x})" if " or " in x else x for x in joined)


# A parser by hand, not a split at "+": its errors name the character that is wrong.
def parse_cell(cell: object) -> AUCombination:
    """Read the AU cell of a coding table: text, a number, None or NaN.

    '', '?', '/', 'NULL', NaN and the remark 'soft focus' hold no AU. Raises
    AUCellError, with the cell and the position, for anything unknown.
    """
    if (text := _cell_text(cell)).strip().lower() in _EMPTY_CELLS:
        return AUCombination()
    text = re.sub(r"\s", " ", text)  # blanks of other kinds: no-break, full-width
    terms, position = [], len(text) - len(text.lstrip())
    while True:
        term, position = _parse_term(text, position)
        terms += [term] if term else []
        if position == len(text):
            return AUCombination(tuple(terms))
        position = _expect(_PLUS, text, position, "'+', 'or' or the end").end()


@dataclass(frozen=True)
class Wording:
    """How an AU combination is put into words: what the paper's Tables X to XII vary.

    `order`: "ascending" (CASME II, SAMM, DFME), "annotation" (CAS(ME)^3) or "shuffled".
    `words`: "phrases" (Table II and its like) or "facs" (FACS's names, joined by commas
    alone). `last_and=False` writes "A, B, C" (DFME, CAS(ME)^3). `au26` words AU 26
    ("parting the lips" in the released text of CASME II and CAS(ME)^3). Raises
    ValueError for other values.
    """

    order: str = "ascending"
    words: str = "phrases"
    last_and: bool = True
    au26: str = PHRASES[26]

    def __post_init__(self):
        for name, known in (
            ("order", ("ascending", "annotation", "shuffled")),
            ("words", ("phrases", "facs")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is one of {list(known)}, not {getattr(self, name)!r}"
                )


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


def mirror(combination: AUCombination) -> AUCombination:
    """The same AUs on a face flipped left to right."""

    # Asymmetric, top and bottom stay what they are in a mirror.
    def flip(au: AU) -> AU:
        return replace(au, side=_MIRRORED.get(au.side, au.side))

    return AUCombination(tuple(tuple(map(flip, term)) for term in combination.terms))


def _phrase(au: AU, wording: Wording) -> str:
    sided = au.side in SIDES and au.number in SIDED_PHRASES
    if wording.words == "facs":
        phrase = NAMES.get(au.number, "")
        phrase = f"{SIDES[au.side]} {phrase}" if sided else phrase
    elif sided:
        phrase = SIDED_PHRASES[au.number].format(side=SIDES[au.side])
    else:
        phrase = wording.au26 if au.number == 26 else PHRASES.get(au.number, "")
    return f"{phrase} might be present" if phrase and au.uncertain else phrase


def _cell_text(cell: object) -> str:
    """Spreadsheets hold one AU as a number: 12 or 12.0."""
    if isinstance(cell, str):
        return cell
    number = isinstance(cell, numbers.Real) and not isinstance(cell, bool)
    if cell is None or (number and math.isnan(cell)):
        return ""
    if number and float(cell).is_integer():
        return str(int(cell))
    raise AUCellError(f"AU cell {cell!r}: expected text, a whole number or nothing")


def _parse_term(text: str, start: int) -> tuple[tuple[AU, ...], int]:
    """AUs joined by `or`, perhaps in parentheses, and where they end."""
    if remark := _REMARK.match(text, start):
        return (), remark.end()
    opening = _OPEN.match(text, start)
    au, position = _parse_au(text, opening.end() if opening else start)
    aus = [au]
    while word := _OR.match(text, position):
        au, position = _parse_au(text, word.end())
        aus.append(au)
    if opening:
        position = _expect(_CLOSE, text, position, "')' or 'or'").end()
    return tuple(aus), position


def _parse_au(text: str, start: int) -> tuple[AU, int]:
    ref = _REF.match(text, start)
    position = ref.end() if ref else start
    token = _expect(_AU, text, position, "an AU such as 12, L4 or AD38")
    end = token.end()
    if ref:
        end = _expect(_CLOSE, text, end, "')' to close 'ref('").end()
    au = AU(
        number=int(token["number"]),
        side=(token["side"] or token["after"] or "").upper(),
        intensity=(token["intensity"] or "").upper(),
        uncertain=ref is not None,
        kind=(token["kind"] or "AU").upper(),
    )
    return au, end


def _expect(pattern: re.Pattern, text: str, at: int, expected: str) -> re.Match:
    if match := pattern.match(text, at):
        return match
    found = repr(text[at:]) if at < len(text) else "the end"
    where = f"AU cell {text!r}, character {at + 1}"
    raise AUCellError(f"{where}: expected {expected}, found {found}")
