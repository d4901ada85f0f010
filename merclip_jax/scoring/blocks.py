"""What a task is, and the blocks that its scores are shown in.

The card, the terminal and the report show blocks by their kind and know no task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from merclip_jax.scoring.intervals import METHOD

if TYPE_CHECKING:
    from merclip_jax.scoring.predictions import Predictions

# How a block is shown. "scores": rows of name, mean, sd, low, high, per_seed; "table":
# rows of name and `columns`; "matrix": rows of name and counts; "shares": rows of name,
# annotated, answered, each a share for every column, None for nothing to share;
# "chance": rows of name, value, low, high on the scale of the first score. All rows
# have a stable `key`.
KINDS = ("scores", "table", "matrix", "shares", "chance")
Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Block:
    """A part of a result: its kind, what stands in it, what to remark about it."""

    kind: str
    title: str
    rows: tuple[dict[str, Any], ...]
    columns: tuple[str, ...] = ()
    note: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: expected one of {list(KINDS)}")


@runtime_checkable
class Task(Protocol):
    """A target, how outputs answer it, and its scores.

    target: the column that holds it; reads: the outputs that answers are made of;
    names: [k] of what can be answered.
    """

    target: str
    reads: tuple[str, ...]
    names: tuple[str, ...]

    def answer(self, outputs: Outputs) -> np.ndarray:
        """What the outputs say, like the target: a class [n], or what is on [n, k]."""

    def probabilities(self, outputs: Outputs) -> np.ndarray:
        """Of each name, [n, k]."""

    def calibrate(self, outputs: Outputs, target: np.ndarray) -> Outputs:
        """What `reads` names beside the model's outputs, each [...] for all clips.

        Chosen on outputs and targets of clips that are neither trained on nor tested;
        {} for nothing, and then no such clips are needed.
        """

    def marks(self, values: np.ndarray) -> np.ndarray:
        """Bool [n, k]: which names a target or an answer holds."""

    def invalid(self, target: np.ndarray) -> np.ndarray:
        """Bool [n]: targets that the task does not have."""

    def select(self, answer: np.ndarray, target: np.ndarray) -> float:
        """What the choice of an epoch maximises."""

    def score(self, table: "Predictions") -> tuple[Block, ...]:
        """The headline first, then details."""

    def chance(self, table: "Predictions", *, epochs: int) -> tuple[Block, ...]:
        """What guessing scores; `epochs` are those that a selection could choose."""


def headline(
    values: Mapping[str, list[float]],
    *,
    seeds: list[str],
    intervals: Mapping[str, tuple[float, float]],
) -> Block:
    """The block of a run's scores.

    Args:
        values: name of a score -> its value with each training seed.
        seeds: these seeds, in the same order.
        intervals: name in lower case -> (low, high) over subjects; empty for none.
    """
    # What cannot be known from one seed or one subject is said, never left out.
    several = len(seeds) > 1
    rows = []
    for name, per_seed in values.items():
        low, high = intervals.get(name.lower(), (None, None))
        rows.append(
            {
                "key": name.lower(),
                "name": name,
                "mean": float(np.mean(per_seed)),
                "sd": float(np.std(per_seed, ddof=1)) if several else None,
                "low": low,
                "high": high,
                "per_seed": dict(zip(seeds, per_seed, strict=True)),
            }
        )
    remarks = [] if several else ["One seed: the spread over seeds is unknown."]
    if not intervals:
        remarks.append("One test subject: no interval over subjects can be given.")
    return Block(
        kind="scores",
        title="Scores",
        rows=tuple(rows),
        note=METHOD,
        remarks=tuple(remarks),
    )


def yardstick(
    key: str,
    name: str,
    value: float,
    *,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    """A row of a "chance" block.

    Args:
        key: stable, for programs.
        name: for people.
        value: what guessing scores.
        low: lower end of 95 % of guessers, None where there is just one.
        high: upper end.
    """
    return {"key": key, "name": name, "value": value, "low": low, "high": high}
