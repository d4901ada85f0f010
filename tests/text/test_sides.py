"""Likeness by AUs and sides: worked by hand, and its properties on drawn cells."""

import itertools

import numpy as np
import pytest

from merclip_jax import facs
from merclip_jax.text.sides import likeness


def alike(a, b):
    found = likeness([facs.parse_cell(a), facs.parse_cell(b)])
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1)
    return float(found[0, 1])


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ("12", "12", 1.0),
        ("12", "L12", 0.7),  # the union of two less one partial match
        ("L12", "R12", 0.6),
        ("12", "4", 0.0),
        ("1+2", "1", 1 / 2),
        ("1+2+4", "1+2", 2 / 3),
        ("L12+4", "12+4", 1.7 / 2),
        ("L12+4", "R12+7", 0.6 / 3),
        ("12+L12", "L12", 1 / 2),  # the exact match is taken first
        ("L12+R12", "12", 0.7 / 2),  # each AU is matched once
        ("4B", "4E", 1.0),  # intensity is no part of it
        ("A/L12", "L12", 1.0),
        ("", "", 1.0),
        ("", "12", 0.0),
    ],
)
def test_worked_cases(a, b, wanted):
    assert alike(a, b) == pytest.approx(wanted, abs=1e-6)


def test_no_pairing_is_better_than_the_greedy_one():
    """Tried on all pairings of drawn combinations: greedy finds the best sum here."""
    rng = np.random.default_rng(0)
    value = {"same": 1.0, "half": 0.7, "other": 0.6}

    def pair(x, y):
        if x[0] != y[0]:
            return 0.0
        if x == y:
            return value["same"]
        return value["half"] if "" in (x[1], y[1]) else value["other"]

    def best(a, b):
        small, large = sorted((sorted(a), sorted(b)), key=len)
        return max(
            sum(pair(x, y) for x, y in zip(small, chosen, strict=True))
            for chosen in itertools.permutations(large, len(small))
        )

    for _ in range(60):
        drawn = [
            {
                (int(rng.integers(1, 3)), str(rng.choice(["", "L", "R"])))
                for _ in range(rng.integers(1, 4))
            }
            for _ in range(2)
        ]
        cells = ["+".join(f"{side}{au}" for au, side in sorted(own)) for own in drawn]
        a, b = drawn
        found, most = alike(*cells), best(a, b)
        # The sum of the greedy pairing, from its quotient: a whole number of partial
        # matches stands below the line.
        sums = [found * (len(a | b) - k) for k in range(4)]
        assert found == 1 or any(abs(total - most) < 1e-5 for total in sums), cells


def test_many_at_once():
    cells = ["", "12", "L12", "R12", "1+2", "4+7"]
    found = likeness([facs.parse_cell(cell) for cell in cells])
    assert found.dtype == np.float32 and found.shape == (6, 6)
    for i, j in itertools.product(range(6), repeat=2):
        assert found[i, j] == np.float32(alike(cells[i], cells[j]))
    assert likeness([]).shape == (0, 0)
