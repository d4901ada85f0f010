"""Whether numbers in tables of landmarks are frame numbers or positions.

A tracker that reads a folder of img10.jpg..img29.jpg may call its rows 10..29, 1..20 or
0..19, and leave out frames in which it lost the face. One program wrote all tables, so
all are read in one way, and where no table forces one it is asked for.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from merclip_jax.faces.onset import FacesError, Onset, Remark

AUTO, FRAMES, POSITIONS = READINGS = ("auto", "frames", "positions")
FLAG = "--landmark_numbers"


@dataclasses.dataclass(frozen=True)
class Numbered:
    """A clip's table: where it is, the numbers of its rows, and the clip's onset.

    `frames`: the numbers of other pictures that will be looked up in it.
    """

    where: Path
    rows: frozenset[int]
    onset: Onset
    frames: tuple[int, ...] = ()

    def __str__(self) -> str:
        numbers = self.onset.numbers
        return (
            f"{self.where} (rows {min(self.rows)}..{max(self.rows)}, "
            f"{len(numbers)} pictures {numbers[0]}..{numbers[-1]})"
        )


@dataclasses.dataclass(frozen=True)
class Numbering:
    """How rows are numbered: `first` is the position of a folder's first picture.

    None: by frame number.
    """

    first: int | None

    def row_of(self, onset: Onset) -> int:
        """Returns the number of the onset's row."""
        return onset.number if self.first is None else self.first + onset.index

    def __str__(self) -> str:
        if self.first is None:
            return "frame numbers"
        return f"positions from {self.first} on"


def numbering_of(
    tables: Sequence[Numbered], asked: str = AUTO
) -> tuple[Numbering, list[Remark]]:
    """Decides how the rows of a dataset's tables are numbered.

    Args:
        tables: Those whose rows have numbers.
        asked: One of `READINGS`; what is asked for is not questioned.

    Returns:
        The numbering, and a remark where some tables would fit another one too.

    Raises:
        FacesError: If tables contradict each other, or none forces a reading and the
            readings differ; names tables and the flag that decides.
    """
    # Position 0 exists in tables of programs that count from 0 alone.
    first = min((min(table.rows) for table in tables), default=1)
    by_position, by_frame = Numbering(0 if first == 0 else 1), Numbering(None)
    if asked != AUTO:
        return (by_position if asked == POSITIONS else by_frame), []
    votes: dict[str, list[Numbered]] = {"": [], FRAMES: [], POSITIONS: [], "both": []}
    for table in tables:
        votes[_vote(table, by_position)].append(table)
    if votes[FRAMES] and votes[POSITIONS]:
        raise FacesError(
            f"rows of {votes[FRAMES][0]} can only be frame numbers, those of "
            f"{votes[POSITIONS][0]} only positions; {FLAG}={FRAMES} or {POSITIONS} "
            "says which they are"
        )
    if votes["both"] and not (votes[FRAMES] or votes[POSITIONS]):
        table = votes["both"][0]
        raise FacesError(
            f"{table}: is the onset frame {table.onset.number} row "
            f"{by_frame.row_of(table.onset)}, by its number, or row "
            f"{by_position.row_of(table.onset)}, by its place in the folder? "
            f"{FLAG}={FRAMES} or {POSITIONS} says it"
        )
    found = by_position if votes[POSITIONS] else by_frame
    if not votes["both"]:
        return found, []
    proof = (votes[FRAMES] or votes[POSITIONS])[0]
    text = (
        f"rows are read as {found}, for {proof} leaves no choice; "
        f"{len(votes['both'])} of {len(tables)} tables would fit both"
    )
    return found, [Remark("assumed", str(votes["both"][0].where), text)]


def _vote(table: Numbered, by_position: Numbering) -> str:
    """The only reading that fits a table; "" if it does not matter."""
    onset, rows = table.onset, table.rows
    first = by_position.first
    looked_up = {onset.number, *table.frames}
    if all(first + onset.numbers.index(n) == n for n in looked_up):
        return ""
    positions = first <= min(rows) and max(rows) < first + len(onset.numbers)
    frames = rows.issubset(onset.numbers)
    if not positions or rows == {onset.number}:  # a table of the onset alone
        return FRAMES
    return "both" if frames else POSITIONS
