"""The clips of a task: labels and facts in memory, frames on demand."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from merclip_jax.data.record import build_command, points_of_frames, read_record
from merclip_jax.data.view import View
from merclip_jax.declared import Matches, OneOf, check
from merclip_jax.errors import UserError

RESIDENCIES = ("auto", "device", "host")
_ONE = "[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?"
_DATASET = f"|{_ONE}([+]{_ONE})*"
_FORM = "NAME or NAME/CONFIG, several joined by +"
COLUMNS = ("clip", "subject", "split", "emotion", "au_cell", "label")
COLUMNS += ("positions", "apex", "spans", "fps", "records", "flows")


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Which clips make the task, and where they are while a model trains.

    dataset: "name" or "name/config", several joined by "+"; data_dir: where datasets
    are built; access: how the owners hand it out; task: of the class-map table, which
    gives the next three; classes: (class, (emotions, ...)), ...; dropped: emotions that
    the task leaves out; excluded: clips that it leaves out; residency: "device", "host"
    or "auto" by size; balanced: draw every class equally often. An emotion "samm/fear"
    is SAMM's alone and counts before "fear".
    """

    dataset: Annotated[str, Matches(_DATASET, _FORM)] = ""
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
    spans: [n, 2] first and last frame of the expression, of a window's record all of
    it; fps: [n] frames a second; records: [n] where each lies
    in `source`; flows: [n] str the folder in which a view's flow is kept, "" for
    nowhere; fingerprint and metadata: the builder's.
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
    fps: np.ndarray
    records: np.ndarray
    flows: np.ndarray
    source: Sequence
    view: View

    def __len__(self) -> int:
        return len(self.clip)

    def take(self, index: np.ndarray) -> "Clips":
        """The clips of an index [k] alone, in its order."""
        columns = {name: getattr(self, name)[index] for name in COLUMNS}
        # The others' records are out of reach, and so is what metadata say of them.
        columns["records"] = np.arange(len(index))
        source = _Subset(self.source, self.records[index])
        return dataclasses.replace(self, **columns, source=source, metadata={})

    def decode(self, index: int, positions: np.ndarray | None = None) -> np.ndarray:
        """Frames uint8 [t, h, w, c] of clip `index`, by default those of a test."""
        positions = self.positions[index] if positions is None else positions
        record = self._record(index)
        if self.view.flow:
            return self._flow(record, index, int(positions[0]))[None]
        # A short clip repeats frames; each is decoded once.
        kept = {
            p: self._frame(record, index, p, self.view) for p in set(positions.tolist())
        }
        return np.stack([kept[int(p)] for p in positions])

    def _frame(
        self, record: Mapping, index: int, position: int, view: View
    ) -> np.ndarray:
        # OpenCV is needed here alone: a training step imports without it.
        from merclip_jax.data.decode import decode_frame

        points = points_of_frames(record)[position] if view.align else None
        return decode_frame(
            record["frames"][position],
            view,
            clip=str(self.clip[index]),
            position=position,
            points=points,
        )

    def _flow(self, record: Mapping, index: int, apex: int) -> np.ndarray:
        """Flow uint8 [h, w, 3] from a clip's onset, kept where it was computed once."""
        from merclip_jax.data import flow

        onset = int(self.spans[index, 0])
        folder = str(self.flows[index])
        path = flow.kept(Path(folder), record, onset, apex) if folder else None
        picture = flow.read(path, self.view.image_size) if path else None
        if picture is None:
            grey = dataclasses.replace(self.view, grey=True, flow=False)
            pair = [self._frame(record, index, p, grey)[..., 0] for p in (onset, apex)]
            picture = flow.flow_picture(*pair)
            if path:
                flow.keep(path, picture)
        return picture

    @functools.cached_property
    def landmarks(self) -> np.ndarray:
        """Landmarks float32 [n, p, 2] of the onset frames, in pixels of the view.

        x before y, whole numbers at the centres of pixels of what `decode` returns;
        points outside of the picture stay outside. p = 0 where no record has any.
        Reads all records when it is first asked for: most systems never do.

        Raises:
            UserError: only some records have landmarks, or not all of one layout.
        """
        from merclip_jax.data.decode import decode_points

        found = []
        for i in range(len(self)):
            record, onset = self._record(i), int(self.spans[i, 0])
            points = np.asarray(record["landmarks"], np.float32)
            if self.view.align:  # those that the frame is aligned by
                points = points_of_frames(record)[onset]
            if len(points):
                frame, clip = record["frames"][onset], str(self.clip[i])
                points = decode_points(
                    frame, points, self.view, clip=clip, position=onset
                )
            found.append(points)
            if len(points) != len(found[0]):
                raise UserError(self._unequal(found))
        return np.stack(found) if found else np.zeros((0, 0, 2), np.float32)

    def _record(self, index: int) -> dict:
        return read_record(self.source, int(self.records[index]), self.dataset)

    def _unequal(self, found: Sequence[np.ndarray]) -> str:
        """What to tell of the last clip, whose landmarks are not as many as others'."""
        more, fewer = sorted((0, len(found) - 1), key=lambda i: -len(found[i]))
        # Of several datasets the one that lacks them is to be built again.
        own = str(self.clip[fewer]).partition("/")[0]
        names = [n for n in self.dataset.split("+") if n.partition("/")[0] == own]
        dataset = names[0] if names else self.dataset
        return (
            f"{dataset}: clip {self.clip[fewer]} has {len(found[fewer])} "
            f"landmarks, clip {self.clip[more]} has {len(found[more])}; build it again "
            "with one source of landmarks and without --centre_crop: "
            f"{build_command(dataset, self.metadata)}"
        )

    def draw(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Positions int64 [b, t] that a training step sees of clips `index` [b]."""
        if not self.view.drawn:
            return self.positions[index]
        return np.stack(
            [
                self.view.positions(first, first, last, fps=fps, rng=rng)
                for (first, last), fps in zip(
                    self.spans[index].tolist(), self.fps[index].tolist(), strict=True
                )
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
