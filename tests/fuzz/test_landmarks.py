"""A table of landmarks gives the points that its row says, or is refused by name."""

import csv
import math
import pathlib
import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from merclip_jax.faces.landmark_tables import CsvLandmarks
from merclip_jax.faces.onset import FacesError, Onset

IMAGE = np.zeros((480, 640, 3), np.uint8)
HEADER = [
    "frame",
    "confidence",
    "success",
    *(f"{a}_{i}" for a in "xy" for i in range(68)),
]
NOTHING, BAD, HUGE = math.nan, None, 1e308
# A cell, and what it says.
CELLS = [
    *(
        (cell, NOTHING)
        for cell in ("", " ", "nan", "-nan(ind)", "1.#QNAN", "NA", "None")
    ),
    *((cell, NOTHING) for cell in ("-1.#IND00", "NaN(snan)", "inf", "-inf", "NULL")),
    *(
        (cell, BAD)
        for cell in ("x", "1,5", "1_0", "--1", "0x10", "１２", "1e", "#REF!", "12;5")
    ),
    *((cell, HUGE) for cell in ("1e308", "1e999", "9" * 400, "1e7")),
    *(("12.5", 12.5), (" 7 ", 7.0), ("1e2", 100.0), ("-3.25", -3.25), ("+4", 4.0)),
]


@st.composite
def tables(draw):
    """Numbers of the pictures, a picture's, the rows', and cells that are put in."""
    first, count = draw(st.integers(0, 60)), draw(st.integers(1, 25))
    numbers = tuple(range(first, first + count))
    start = draw(st.sampled_from((0, 1, 2, first, first - 3, 100)))
    rows = [max(0, start) + i for i in range(count + draw(st.integers(-3, 3)))]
    dropped = draw(st.sets(st.sampled_from(rows), max_size=6)) if rows else set()
    rows = [row for row in rows if row not in dropped]
    spoilt = draw(
        st.lists(
            st.tuples(
                st.integers(0, 30),
                st.integers(1, len(HEADER) - 1),
                st.sampled_from(CELLS),
            ),
            max_size=12,
        )
    )
    return numbers, draw(st.sampled_from(numbers)), rows, spoilt


def expected_frame(numbers, number, rows):
    """The frame whose row is the onset's, None where two readings differ."""
    base = 0 if 0 in rows else 1
    place = base + numbers.index(number)
    as_places = all(base <= row < base + len(numbers) for row in rows)
    as_numbers = set(rows) <= set(numbers)
    if place == number or not as_places or set(rows) == {number}:
        return number
    return None if as_numbers else place


def test_tables(tally, tmp_path):
    file = tmp_path / "c.csv"
    rng = np.random.default_rng(0)

    @tally.given(80)
    @given(tables())
    def run(made):
        numbers, number, rows, spoilt = made
        says = {row: [0.9, 1.0, *rng.uniform(0, 480, 136).round(2)] for row in rows}
        cells = {row: [str(value) for value in says[row]] for row in rows}
        for at, column, (cell, value) in spoilt:
            if rows:
                row = rows[at % len(rows)]
                cells[row][column - 1], says[row][column - 1] = cell, value
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows([HEADER, *([r, *cells[r]] for r in rows)])
        onset = Onset("s/c", number, pathlib.Path(f"/set/c/{number}.png"), numbers)
        with tally.case("c.csv", FacesError), warnings.catch_warnings():
            warnings.simplefilter("error")
            found = CsvLandmarks(file).find(IMAGE, onset)
            frame = expected_frame(numbers, number, rows)
            assert frame in rows  # an open question is no answer
            sure, success, *values = says[frame]
            # Beyond any picture is no place; confidence knows no bounds.
            assert BAD not in says[frame] and not any(abs(v) > 1e6 for v in values)
            no_face = not (sure >= 0.5 and success > 0) or any(map(math.isnan, values))
            assert (found is None) == no_face
            if found is not None:
                np.testing.assert_array_equal(found, np.reshape(values, (2, 68)).T)

    run()


def test_bytes_of_a_table(tally, tmp_path):
    """Damaged files: other bytes, cut, NULs, quotes that never end."""
    file = tmp_path / "c.csv"
    points = np.random.default_rng(1).uniform(0, 480, 136).round(2)
    rows = [HEADER, *([i, 0.9, 1, *(points + i)] for i in range(1, 4))]
    text = "\n".join(",".join(map(str, row)) for row in rows).encode()
    onset = Onset("s/c", 1, pathlib.Path("/set/c/1.png"), (1, 2, 3))

    @tally.given(30)
    @given(
        st.integers(0, len(text)),
        st.integers(0, 200),
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                (b'"', b"\0", b"\n", b";" * 9, b"\xff\xfe", b"\r", b"9" * 500)
            ),
        ),
    )
    def run(place, lost, put):
        damaged = text[:place] + put + text[place + lost :]
        file.write_bytes(damaged)
        with tally.case("c.csv", FacesError), warnings.catch_warnings():
            warnings.simplefilter("error")
            found = CsvLandmarks(file).find(IMAGE, onset)
            # Every number that was found stands in the file.
            values = set() if found is None else {f"{v:g}" for v in found.ravel()}
            cells = damaged.decode("utf-8-sig").replace('"', ",")
            for mark in ";\t\r\n":
                cells = cells.replace(mark, ",")
            assert values <= {f"{v:g}" for v in map(_number, cells.split(","))}

    run()


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return math.nan
