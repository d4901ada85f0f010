"""What a source of landmarks is asked, and how it says no."""

import dataclasses
from pathlib import Path


class FacesError(ValueError):
    """A landmark source that is missing, unreadable or ambiguous."""


class NoRowError(FacesError):
    """A table that says nothing of a picture, not even that there is no face."""


@dataclasses.dataclass(frozen=True)
class Onset:
    """The picture in which a clip's face is looked for: the onset, or another frame.

    Attributes:
        clip: The clip's name in the dataset.
        number: The frame's.
        path: Its file.
        numbers: Of all pictures in its folder, ascending.
        first: Whether it is the onset.
    """

    clip: str
    number: int
    path: Path
    numbers: tuple[int, ...]
    first: bool = True

    @property
    def called(self) -> str:
        """What messages call it."""
        return "onset frame" if self.first else "frame"

    @property
    def index(self) -> int:
        """How many pictures of its folder come before it."""
        return self.numbers.index(self.number)


@dataclasses.dataclass(frozen=True)
class Remark:
    """Something odd in a source; `clip` "" where it is not about one clip.

    `kind`: "assumed" of a reading that not every table forces, "unused" of tables and
    rows that no clip takes, "faces" of several faces of which it is open whose counts.
    """

    kind: str
    where: str
    text: str
    clip: str = ""
