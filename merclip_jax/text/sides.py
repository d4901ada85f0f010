"""How alike two AU combinations are by their AUs and sides: SAC^2-Net's rule (2026).

As its released code has it: arXiv 2606.25542 itself gives no numbers.
"""

from collections.abc import Sequence

import numpy as np

from merclip_jax.facs import AUCombination

# Of one AU on the same side, on both sides against one, on the left against the right.
SAME, HALF, OTHER = 1.0, 0.7, 0.6


def likeness(combinations: Sequence[AUCombination]) -> np.ndarray:
    """Similarity of every two combinations, symmetric float32 [s, s] in 0..1.

    Best matches are taken first, each AU once, and summed; the sum is divided by the
    size of the union less the matches that are not exact, and is 1 at most. Two that
    name no AU are alike, one that names none is like no other.

    Args:
        combinations: s of them.
    """
    found = [_labels(one) for one in combinations]
    rows = [[_likeness(a, b) for b in found] for a in found]
    return np.asarray(rows, np.float32).reshape(len(found), len(found))


def _labels(combination: AUCombination) -> frozenset[tuple[int, str]]:
    """(AU, side) of each action unit; "" is both sides."""
    # Asymmetric, top and bottom name no one side; "A/L" is stronger on the left.
    sides = {"L": "L", "R": "R", "A/L": "L", "A/R": "R"}
    return frozenset(
        (au.number, sides.get(au.side, "")) for au in combination.aus if au.kind == "AU"
    )


def _likeness(a: frozenset, b: frozenset) -> float:
    if not a or not b:
        return float(a == b)
    exact = a & b
    total, partial = SAME * len(exact), 0
    pairs = [(_pair(x, y), x, y) for x in a - exact for y in b - exact]
    left, right = set(a - exact), set(b - exact)
    # Of equal pairs the one that sorts first: the result is the same anyhow.
    for value, x, y in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if value and x in left and y in right:
            left.remove(x)
            right.remove(y)
            total, partial = total + value, partial + 1
    return min(total / (len(a | b) - partial), 1.0)


def _pair(x: tuple[int, str], y: tuple[int, str]) -> float:
    """Of two different labels."""
    if x[0] != y[0]:
        return 0.0
    return HALF if "" in (x[1], y[1]) else OTHER
