"""The clips of a task: labels and facts in memory, frames on demand."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np

from merclip_jax.data.view import View
from merclip_jax.declared import Matches, OneOf, check
from merclip_jax.errors import UserError

RESIDENCIES = ("auto", "device", "host")
_DATASET = "|[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?"
_COLUMNS = ("clip", "subject", "split", "emotion", "au_cell", "label")
_COLUMNS += ("positions", "apex", "spans", "records")


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Which clips make the task, and where they are while a model trains.

    dataset: "name" or "name/config"; data_dir: where datasets are built; access: how
    the owners hand it out; task: of the class-map table, which gives the next three;
    classes: (class, (emotions, ...)), ...; dropped: emotions that the task leaves out;
    excluded: clips that it leaves out; residency: "device", "host" or "auto" by size;
    balanced: draw every class equally often.
    """

    dataset: Annotated[str, Matches(_DATASET, "NAME or NAME/CONFIG")] = ""
    data_dir: str = "data"
    access: str = ""
    task: str = ""
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dropped: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    residency: Annotated[str, OneOf(RESIDENCIES)] = "auto"
    balanced: bool = False

    def __post_init__(self):
        check(self)
        emotions = [e for _, several in self.classes for e in several]
        names = [name for name, _ in self.classes]
        for listed in (names, [*emotions, *self.dropped]):
            if twice := sorted({x for x in listed if listed.count(x) > 1}):
                raise ValueError(f"classes, dropped: {twice} stand there twice")


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of one task, in the dataset's order; columns have length n.

    clip, subject, split, emotion, au_cell: [n] str; label: [n] int32; positions:
    [n, t] the frames of each record that a test sees; apex: [n] where among these;
    spans: [n, 2] first and last frame of the expression; records: [n] where each lies
    in `source`; fingerprint and metadata: the builder's.
    """

    dataset: str
    fingerprint: str
    metadata: Mapping
    classes: tuple[str, ...]
    clip: np.ndarray
    subject: np.ndarray
    split: np.ndarray
    emotion: np.ndarray
    au_cell: np.ndarray
    label: np.ndarray
    positions: np.ndarray
    apex: np.ndarray
    spans: np.ndarray
    records: np.ndarray
    source: Sequence
    view: View

    def __len__(self) -> int:
        return len(self.clip)

    def take(self, index: np.ndarray) -> "Clips":
        """The clips of an index [k] alone, in its order."""
        columns = {name: getattr(self, name)[index] for name in _COLUMNS}
        # The others' records are out of reach, and so is what metadata say of them.
        columns["records"] = np.arange(len(index))
        source = _Subset(self.source, self.records[index])
        return dataclasses.replace(self, **columns, source=source, metadata={})

    def decode(self, index: int, positions: np.ndarray | None = None) -> np.ndarray:
        """Frames uint8 [t, h, w, c] of clip `index`, by default those of a test."""
        # OpenCV is needed here alone: a training step imports without it.
        from merclip_jax.data.decode import decode_frame

        positions = self.positions[index] if positions is None else positions
        record = read_record(self.source, int(self.records[index]), self.dataset)
        frames = record["frames"]
        clip = str(self.clip[index])
        # A short clip repeats frames; each is decoded once.
        kept = {
            p: decode_frame(frames[p], self.view, clip=clip, position=p)
            for p in set(positions.tolist())
        }
        return np.stack([kept[int(p)] for p in positions])

    def draw(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Positions int64 [b, t] that a training step sees of clips `index` [b]."""
        if not self.view.drawn:
            return self.positions[index]
        return np.stack(
            [
                self.view.positions(first, first, last, rng=rng)
                for first, last in self.spans[index].tolist()
            ]
        )


class _Subset(Sequence):
    """Some records of a source, by their numbers there."""

    def __init__(self, source: Sequence, numbers: np.ndarray):
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int):
        return self._source[int(self._numbers[index])]


def read_record(source: Sequence, index: int, dataset: str) -> dict:
    """A record of a built dataset.

    Args:
        source: its records.
        index: which.
        dataset: its name, for the error.

    Raises:
        UserError: the record is damaged.
    """
    try:
        return source[index]
    except Exception as error:  # array_record raises several kinds
        where = f"record {index} of {len(source)}"
        raise UserError(damaged(where, dataset, error)) from error


def damaged(where: object, dataset: str, error: Exception) -> str:
    """What to tell of something that cannot be read, and what to do about it."""
    return (
        f"{dataset}: {where} cannot be read ({type(error).__name__}: {error}); "
        f"{rebuild(dataset)}"
    )


def rebuild(dataset: str) -> str:
    """How to make a damaged dataset anew."""
    command = f"python -m data_builders.build --dataset={dataset} --overwrite"
    return f"build it again: {command}"
