"""What can be odd in a dataset, and how it is told: kind, place, text, clip."""

from collections.abc import Iterable
from dataclasses import dataclass

from merclip_jax.data.sampling import FRAMES

LONGEST = 0.5  # seconds: what lasts longer is not a micro-expression

# What can be found. STOP ends a build, --skip_bad leaves such clips out; NOTE is told.
STOP: dict[str, str] = {
    "table": "rows of a table that cannot be read",
    "twice": "clips that occur twice",
    "folder": "clips without a folder",
    "empty": "clips without enough frames",
    "outside": "files that lie outside the dataset's folder",
    "image": "unreadable pictures",
    "face": "clips in whose onset frame no face was found",
    "counts": "whole tables whose labels do not add up to the published ones",
}
NOTE: dict[str, str] = {
    "missing": "clips with missing frames",
    "extra": "clips with frames outside onset..offset",
    "apex_missing": "clips without an apex",
    "apex_impossible": "clips with an apex outside onset..offset",
    "repaired": "rows read otherwise than they stand in the table",
    "long": f"clips longer than {LONGEST} s",
    "short": f"clips of fewer than {FRAMES} frames",
    "unknown_au": "AU codes outside FACS",
    "no_label": "clips without an emotion",
    "unlisted": "folders of clips that no table lists",
    "misplaced": "clips whose folder stands elsewhere than the table says",
    "absent": "parts of the release that are not there",
    "assumed": "values that the release does not state",
    "size": "clips whose frames differ in size",
    "centred": "clips without a face, kept with a centre crop",
}
KINDS = STOP | NOTE


class DatasetError(ValueError):
    """A dataset's files or tables are not as its owners ship them."""


class OutsideError(DatasetError):
    """A file or folder that is a link out of the dataset's folder."""


@dataclass(frozen=True)
class Finding:
    """Something odd.

    Attributes:
        kind: One of `KINDS`.
        where: File, row, clip and column, as far as there are any.
        text: What was expected and what was found.
        clip: The clip's name, "" where it is not about one clip.
    """

    kind: str
    where: str
    text: str
    clip: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: expected one of {list(KINDS)}")

    @property
    def stops(self) -> bool:
        """Whether its clip cannot be built."""
        return self.kind in STOP

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def unreadable(error: DatasetError, where: str, clip: str) -> Finding:
    """Returns the finding that a clip's folder or pictures cannot be read.

    Args:
        error: What went wrong.
        where: File, row and clip.
        clip: The clip's name.
    """
    kind = "outside" if isinstance(error, OutsideError) else "image"
    return Finding(kind, where, str(error), clip)


def refuse(dataset: str, findings: Iterable[Finding], shown: int = 10) -> None:
    """Stops where a clip cannot be built.

    Args:
        dataset: Its name, for the message.
        findings: All that is odd.
        shown: How many are listed; the others are counted.

    Raises:
        DatasetError: If a finding stops a clip; the first `shown` are listed.
    """
    stopping = [str(finding) for finding in findings if finding.stops]
    if stopping:
        more = len(stopping) - shown
        listed = "\n".join(f"  {text}" for text in stopping[:shown])
        listed += f"\n  and {more} more" if more > 0 else ""
        raise DatasetError(f"{dataset}: {len(stopping)} problems\n{listed}")
