"""Cells of every table, shape by shape: what the parser makes of them, and keeps."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merclip_jax.facs import AU, CODES, AUCellError, parse_cell

# The shapes of tokens counted in the published tables, # the number, by table.
SHAPES = {
    "casme2": "# L# R#",
    "samm": "# #B R# #A L# #C A# ref(#) #D L#A R#A L#C T# A#B #E ref(#B) #A/B R#B A#C "
    "ref(L#) A/L# A#E B#",
    "casme3": "# R# L# T# B#",
    "dfme": "# R# L# AD# M#",
    "casme_sq": "# L# R#",
    "mmew": "# R# L# #L #R",
    "fourdme": "# L# AU# AUR# #(k) AU#(k)",
}
# Cells as the tables have them: kind, side, number, grade of each AU, by term.
CELLS = {
    "A7": [[("AU", "A", 7, "")]],
    "7A": [[("AU", "", 7, "A")]],
    "A7A": [[("AU", "A", 7, "A")]],
    "B3": [[("AU", "B", 3, "")]],
    "3B": [[("AU", "", 3, "B")]],
    "7A/B": [[("AU", "", 7, "A/B")]],
    "A/L12": [[("AU", "A/L", 12, "")]],
    "T18": [[("AU", "T", 18, "")]],
    "AD38": [[("AD", "", 38, "")]],
    "A38": [[("AU", "A", 38, "")]],
    "M57": [[("M", "", 57, "")]],
    "4R+7": [[("AU", "R", 4, "")], [("AU", "", 7, "")]],
    "12+15 ": [[("AU", "", 12, "")], [("AU", "", 15, "")]],
    "L12 + 61": [[("AU", "L", 12, "")], [("AU", "", 61, "")]],
    "14or23": [[("AU", "", 14, ""), ("AU", "", 23, "")]],
    "10or11": [[("AU", "", 10, ""), ("AU", "", 11, "")]],
    "(R6 or R12)+R15": [
        [("AU", "R", 6, ""), ("AU", "R", 12, "")],
        [("AU", "R", 15, "")],
    ],
    "AU4(k)+L7": [[("AU", "", 4, "")], [("AU", "L", 7, "")]],
    "AUR2+12(k)+45": [[("AU", "R", 2, "")], [("AU", "", 12, "")], [("AU", "", 45, "")]],
    "13+T18+39": [[("AU", "", 13, "")], [("AU", "T", 18, "")], [("AU", "", 39, "")]],
    "74": [[("AU", "", 74, "")]],
    "soft focus": [],
    12: [[("AU", "", 12, "")]],
    74.0: [[("AU", "", 74, "")]],
    math.nan: [],
}
STRICT = settings(max_examples=200, derandomize=True, deadline=None)


def fields(au):
    return (au.kind, au.side, au.number, au.intensity)


def said(shape, number):
    """What a shape says: read off its letters, not by the parser."""
    inner = shape.removeprefix("ref(").removesuffix(")")
    before, after = inner.replace("(k", "").split("#")
    kind = next((k for k in ("AU", "AD", "M") if before.startswith(k)), "AU")
    side = before.removeprefix(kind) + (after if after in ("L", "R") else "")
    return (kind, side, number, "" if after in ("L", "R") else after)


@pytest.mark.parametrize(
    ("table", "shape"), [(t, s) for t, shapes in SHAPES.items() for s in shapes.split()]
)
@pytest.mark.parametrize("number", [1, 7, 12, 45, 74, 99])
def test_every_shape_of_every_table(table, shape, number):
    (au,) = parse_cell(shape.replace("#", str(number))).aus
    assert fields(au) == said(shape, number)
    assert au.uncertain == shape.startswith("ref")


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_cells_of_the_tables(cell):
    terms = [[fields(au) for au in term] for term in parse_cell(cell).terms]
    assert terms == CELLS[cell]
    assert parse_cell(str(parse_cell(cell))) == parse_cell(cell)


@pytest.mark.parametrize("cell", ["ref(7B)", "ref(L12)"])
def test_what_might_be_there_keeps_its_grade_and_side(cell):
    assert str(parse_cell(cell)) == cell and parse_cell(cell).aus[0].uncertain


@given(number=st.integers(1, 99))
@STRICT
def test_numbers_are_kept_whether_facs_has_them_or_not(number):
    assert parse_cell(str(number)) == parse_cell(number) == parse_cell(float(number))
    assert [au.number for au in parse_cell(f"4+L{number}").aus] == [4, number]


@pytest.mark.parametrize("number", [3, 40, 74, 99])
def test_a_code_that_facs_lacks_is_no_error(number):
    assert (number in CODES) == (number == 74)
    assert parse_cell(f"R{number}B").aus == (AU(number, "R", "B"),)


@pytest.mark.parametrize("cell", [0, 100, -4, "100", "007"])
def test_what_is_no_code_is_an_error(cell):
    with pytest.raises(AUCellError, match="expected an AU such as"):
        parse_cell(cell)


# The grammar, as text beside what it says; a side goes before or behind the number.
SIDES = ["", "L", "R", "A", "T", "B", "A/L", "A/R"]
GRADES = ["", "A", "B", "C", "D", "E", "A/B", "B/C"]
BLANK = st.sampled_from(["", " ", "  "])


@st.composite
def tokens(draw):
    kind = draw(st.sampled_from(["", "", "", "AU", "AD", "M"]))
    side, grade = draw(st.sampled_from(SIDES)), draw(st.sampled_from(GRADES))
    number = draw(st.integers(1, 99))
    behind = side in ("L", "R") and draw(st.booleans())
    static = draw(st.sampled_from(["", "", "(k)"]))
    body = f"{number}{side}" if behind else f"{side}{number}"
    text = f"{kind}{body}{grade}{static}"
    uncertain = draw(st.booleans())
    text = f"ref({text})" if uncertain else text
    text = text.lower() if draw(st.booleans()) else text
    return text, (kind or "AU", side, number, grade), uncertain


@st.composite
def cells(draw):
    """(cell, its tokens by term)."""
    text, terms = "", []
    for index in range(draw(st.integers(1, 4))):
        alternatives = draw(st.lists(tokens(), min_size=1, max_size=3))
        blank = draw(BLANK)
        joined = f"{blank}or{blank}".join(token for token, _, _ in alternatives)
        bracket = draw(st.booleans())
        joined = f"({blank}{joined}{blank})" if bracket else joined
        if draw(st.integers(0, 9)) == 0:
            text += ("+" if index else "") + "soft focus"
        else:
            text += (f"{blank}+{blank}" if index else blank) + joined
            terms.append([token[1:] for token in alternatives])
    return text + draw(BLANK), terms


@given(cells())
@STRICT
def test_cells_made_from_the_grammar_keep_all_in_order(made):
    cell, terms = made
    combination = parse_cell(cell)
    read = [[(fields(au), au.uncertain) for au in term] for term in combination.terms]
    assert read == terms


@given(cells())
@STRICT
def test_a_cell_in_canonical_form_stays_as_it_is(made):
    combination = parse_cell(made[0])
    again = parse_cell(str(combination))
    assert again == combination and str(again) == str(combination)
