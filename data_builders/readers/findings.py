"""What can be odd in a dataset, and how it is told: kind, place, text, clip."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from merclip_jax.data.sampling import FRAMES
from merclip_jax.errors import UserError

LONGEST = 0.5  # seconds: what lasts longer is not a micro-expression

# What can be found. STOP ends a build, --skip_bad leaves such clips out; NOTE is told.
# {s} is the ending of more than one.
STOP: dict[str, str] = {
    "table": "row{s} or name{s} that cannot be read",
    "twice": "clip{s} listed twice",
    "folder": "clip{s} without a folder",
    "empty": "clip{s} without enough frames",
    "renumbered": "clip{s} whose pictures bear other numbers than the table's",
    "outside": "link{s} out of the dataset's folder",
    "image": "unreadable picture{s}",
    "face": "clip{s} in whose onset frame no face was found",
    "lost": "clip{s} with frames whose landmarks were asked for and cannot be had",
    "landmarks": "clip{s} whose landmarks cannot be found, read or used",
    "counts": "table{s} with other rows than the published ones",
}
NOTE: dict[str, str] = {
    "missing": "clip{s} with missing frames",
    "extra": "clip{s} with frames outside onset..offset",
    "apex_missing": "clip{s} without an apex",
    "apex_impossible": "clip{s} with an apex outside onset..offset",
    "repaired": "cell{s} read otherwise than written",
    "long": f"clip{{s}} longer than {LONGEST} s",
    "short": f"clip{{s}} of fewer than {FRAMES} frames",
    "unknown_au": "AU cell{s} with a code outside FACS",
    "unscorable": "AU cell{s} with FACS code 74, which is no AU but 'unscorable'",
    "no_aus": "clip{s} without an AU that has words: outside the contrastive loss",
    "uncoded": "split{s} without any action unit: outside the contrastive loss",
    "no_label": "clip{s} without an emotion",
    "surplus": "emotion{s} with more rows than published: another edition?",
    "unlisted": "folder{s} of clips that no table lists",
    "misplaced": "clip{s} with a folder elsewhere than the table says",
    "absent": "missing part{s} of the release",
    "assumed": "value{s} that the release does not state",
    "size": "clip{s} with frames of different sizes",
    "blank": "clip{s} with pictures of one colour",
    "still": "clip{s} without any motion: all pictures are equal",
    "doubtful": "clip{s} with pictures of which the decoder complains",
    "several": "clip{s} with files that hold more than one picture",
    "converted": "clip{s} with pictures of other channels than grey or RGB",
    "unused": "source{s} of landmarks with tables or rows that no clip takes",
    "macro": "row{s} of macro-expressions that cannot be read",
    "faces": "clip{s} with several faces in the onset frame, of which one is taken",
    "centred": "clip{s} without a face, kept with a centre crop",
}
KINDS = STOP | NOTE


class DatasetError(UserError):
    """A dataset's files or tables are not as its owners ship them."""


class NotFoundError(DatasetError):
    """The folder, a table or a tree of a dataset is not there at all."""


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
        # One line, whatever stands in a name or a cell.
        return f"{self.where}: {self.text}".replace("\n", "\\n").replace("\r", "\\r")


def words(kind: str, number: int) -> str:
    """Returns what `number` findings of a kind are called: "clip without a folder"."""
    return KINDS[kind].format(s="" if number == 1 else "s")


def unreadable(error: DatasetError, where: str, clip: str) -> Finding:
    """Returns the finding that a clip's folder or pictures cannot be read.

    Args:
        error: What went wrong.
        where: File, row and clip.
        clip: The clip's name.
    """
    kind = "outside" if isinstance(error, OutsideError) else "image"
    return Finding(kind, where, str(error), clip)


def links_once(findings: Sequence[Finding]) -> list[Finding]:
    """Returns findings with one for each link out of the owners' folder.

    Of a tree that is such a link, every clip else says so.
    """
    behind = Counter(f.text for f in findings if f.kind == "outside")
    kept: list[Finding] = []
    told = set()
    for finding in findings:
        if finding.kind == "outside" and behind[finding.text] > 1:
            if finding.text not in told:
                text = f"{finding.text}; {behind[finding.text]} clips lie there"
                kept.append(replace(finding, text=text, clip=""))
            told.add(finding.text)
        else:
            kept.append(finding)
    return kept


def refuse(
    dataset: str, findings: Iterable[Finding], *, hint: str = "", shown: int = 10
) -> None:
    """Stops where a clip cannot be built.

    Args:
        dataset: Its name, for the message.
        findings: All that is odd.
        hint: What the message says last, of what can be done.
        shown: How many are listed; the others are counted.

    Raises:
        DatasetError: If a finding stops a clip; the first `shown` are listed.
    """
    stopping = [str(finding) for finding in findings if finding.stops]
    if stopping:
        more = len(stopping) - shown
        listed = "\n".join(f"  {text}" for text in stopping[:shown])
        listed += f"\n  and {more} more" if more > 0 else ""
        listed += f"\n{hint}" if hint else ""
        number = f"{len(stopping)} problem{'' if len(stopping) == 1 else 's'}"
        raise DatasetError(f"{dataset}: {number}\n{listed}")
