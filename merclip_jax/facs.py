"""Facial action units: the cells that annotators write.

The grammar is the union of CASME II, SAMM, CAS(ME)^2, CAS(ME)^3, DFME, MMEW and 4DME.
What AUs are called in prompts stands in `text.wording`.
"""

import math
import numbers
import re
from dataclasses import dataclass, replace

# Every code of FACS: action units, descriptors, head and eye positions, visibility.
CODES = frozenset(
    {1, 2, *range(4, 40), 41, 42, 43, 44, 45, 46, *range(50, 67), *range(70, 75)}
    | {80, 81, 82, 84, 85, 91, 92, 97, 98}
)

# Those that have words, and so a place in a sentence; `text.wording` says which.
WORDED = frozenset(
    {1, 2, 4, 5, 6, 7, 9, 10, *range(12, 19), *range(20, 27), 28, 31, 38, 39, 43}
    | {57, 58}
)
UNSCORABLE = 74  # FACS's code for a face of which nothing can be said

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

    @property
    def numbers(self) -> set[int]:
        """Of its action units: no side, all alternatives, no other movement."""
        return {au.number for au in self.aus if au.kind == "AU"}

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


def mirror(combination: AUCombination) -> AUCombination:
    """The same AUs on a face flipped left to right."""

    # Asymmetric, top and bottom stay what they are in a mirror.
    def flip(au: AU) -> AU:
        return replace(au, side=_MIRRORED.get(au.side, au.side))

    return AUCombination(tuple(tuple(map(flip, term)) for term in combination.terms))


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
