"""What a dataset declares of itself: its table, its trees, and how both name a clip.

Plain values and small functions; `reader.read` does the work.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_builders.readers.folders import find_tree, folders_in
from data_builders.readers.release import Row
from data_builders.readers.table import Record

Cells = Mapping[str, str]  # a row's cells as stripped texts
Folders = Mapping[str, Sequence[Path]]  # clip in lower case -> its folders


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One edition of a table.

    Attributes:
        pattern: A regular expression for the file's name, letter case aside.
        emotions: Every emotion it knows -> its published rows, None if not published.
        version: What the edition is called, "" for nothing.
        rows: How many it has; by default as many as the emotions together.
    """

    pattern: str
    emotions: Mapping[str, int | None]
    version: str = ""
    rows: int | None = None

    def said(self, rows: int) -> str:
        """Returns the version as the metadata say it, of a table with `rows` rows."""
        # How much of the dataset a copy holds is all that tells it from another.
        whole = self.rows or sum(self.emotions.values())
        return self.version or f"{rows} of {whole} rows"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Titles of a table's columns.

    Attributes:
        names: Those that name a clip: `Table.name` is given their cells.
        frames: Of onset, apex and offset.
        emotion: Of the emotion.
        aus: Of the AU cell.
        optional: Those of them that a table may lack; their cells are None then.
    """

    names: tuple[str, ...]
    frames: tuple[str, str, str]
    emotion: str
    aus: str
    optional: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """All that a table must have."""
        # As a dictionary: a column of frames may be part of a clip's name as well.
        titles = dict.fromkeys((*self.names, *self.frames, self.aus, self.emotion))
        return tuple(title for title in titles if title not in self.optional)


@dataclass(frozen=True)
class Rates:
    """Frames per second that differ by row: their column, and which there are."""

    column: str
    known: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Named:
    """How a row names its clip, which is called "subject/name".

    Attributes:
        subject: One spelling for one subject: two would be trained and tested on.
        name: The clip's below its subject.
        wrong: Column -> what was expected in it.
        told: Column -> what its cell is read as, where that is not what it says.
    """

    subject: str
    name: str
    wrong: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def clip(self) -> str:
        """The clip's name in the dataset."""
        return f"{self.subject}/{self.name}"


@dataclass(frozen=True)
class Mended:
    """Cells of a row that are read otherwise, by a rule: their values, and why."""

    cells: Mapping[str, object]
    text: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A dataset's table of clips.

    Attributes:
        called: What it is called, for the message that there is none.
        editions: Those that can be read, preferred ones first.
        columns: Its columns.
        fps: Frames per second.
        name: How a row names its clip.
        depths: How many folders down it is looked for, one try after another.
        repairs: (clip, onset) as the table has them -> column -> (wrong, right), of
            rows known to be broken.
        mend: What else is read otherwise, given a row and the clip's folders.
        combined: Whether emotions may be joined by "+".
        unlabelled: Whether a row may lack its emotion.
        split: The owners' split that it lists.
    """

    called: str
    editions: tuple[Edition, ...]
    columns: Columns
    fps: float | Rates
    name: Callable[[Cells], Named]
    depths: tuple[int, ...] = (3,)
    repairs: Mapping[tuple[str, int], Mapping[str, tuple[int, int]]] = field(
        default_factory=dict
    )
    mend: Callable[[Record, Sequence[Path]], Mended | None] | None = None
    combined: bool = False
    unlabelled: bool = False
    split: str = "clips"


def by_name(tree: "Tree", manual_dir: Path) -> Path | None:
    """Finds a tree by its names; see `Tree.find`."""
    return find_tree(manual_dir, tree.names, depth=tree.depth)


def by_subject(
    top: Path, *, subject: Callable[[str], str] = str
) -> Iterable[tuple[str, Path]]:
    """Lists the clips of a tree with a folder per subject and clips inside.

    Args:
        top: The tree.
        subject: Gives the subject that a folder is named for, "" for another folder.

    Yields:
        (clip, its folder).
    """
    for folder in folders_in(top):
        if name := subject(folder.name):
            for path in folders_in(folder):
                yield f"{name}/{path.name}", path


def own_folder(row: Row, top: Path, folders: Folders) -> tuple[Path | None, str]:
    """Takes the folder that bears the clip's name; see `Tree.take`."""
    del top
    return next(iter(folders.get(row.clip.lower(), ())), None), ""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Where the frames of one config lie.

    Attributes:
        description: What they are.
        folder: The tree as its owners have it, such as "Part_A_ME_clip/frame".
        also: What else its last folder may be called.
        inside: What is in it, for the message that there is none.
        hint: What else that message says.
        cropped: Whether the pictures are face crops already.
        whole: Whether clips' folders hold whole recordings.
        several: Whether a clip may have more folders than one.
        depth: How many folders down the tree may lie.
        find: Finds it in the owners' folder.
        clips: Lists (clip, folder) of what is in it.
        take: Chooses a row's folder: (which or None, why another than expected or "").
    """

    description: str
    folder: str
    also: tuple[str, ...] = ()
    inside: str = ""
    hint: str = ""
    cropped: bool = False
    whole: bool = False
    several: bool = False
    depth: int = 3
    find: Callable[["Tree", Path], Path | None] = by_name
    clips: Callable[[Path], Iterable[tuple[str, Path]]] = by_subject
    take: Callable[[Row, Path, Folders], tuple[Path | None, str]] = own_folder

    @property
    def names(self) -> tuple[str, ...]:
        """What the tree's own folder may be called, as its owners do first."""
        return self.folder.rpartition("/")[2], *self.also
