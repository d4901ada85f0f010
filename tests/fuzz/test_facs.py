"""An AU cell of any text is read as what it says, or refused."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from merclip_jax import facs

PIECES = "1 2 4 12 14 45 99 L R A B C AD M AU T or ref ( ) + / ? k 0 -".split()
cells = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from([*PIECES, " ", "\xa0", "½"]), max_size=12).map("".join),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats()),
)


def test_cells(tally):
    @tally.given(60)
    @given(cells)
    @example("4+7+L2")
    @example("1" * 5000)
    def run(cell):
        with tally.case("AU cell", facs.AUCellError):
            found = facs.parse_cell(cell)
            # Nothing that the cell says may be lost: its numbers, in its order.
            said = re.findall("[0-9]+", f"{cell:.0f}" if _number(cell) else str(cell))
            assert [au.number for au in found.aus] == [int(n) for n in said]
            assert facs.parse_cell(str(found)) == found

    run()


def _number(cell):
    return isinstance(cell, float) and cell == cell
