"""A built TFDS dataset as clips: labels and facts in memory, frames on demand."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds

from merclip_jax.data import sampling
from merclip_jax.errors import UserError

_VERSION = re.compile("[0-9]+[.][0-9]+[.][0-9]+")


class _Encoded(tfds.decode.SkipDecoding):
    """Leaves frames encoded, so that only the sampled ones are ever decoded."""

    def decode_batch_example_np(self, batch):
        """Called by TFDS for the frames of one record."""
        return batch


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of one task, in the dataset's order; columns have length n.

    clip, subject, split, emotion, au_cell: [n] str; label: [n] int32; positions:
    [n, t] the sampled frames of each record; apex: [n] where among these; spans: [n, 2]
    first and last frame of the expression; records: [n] where each lies in `source`;
    fingerprint and metadata: the builder's. `drawn`: training draws its frames anew at
    every step, and `positions` are those of a test.
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
    image_size: int
    resize: int
    drawn: bool

    def __len__(self) -> int:
        return len(self.clip)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(t, h, w, 3) of a decoded clip."""
        return (self.positions.shape[1], self.image_size, self.image_size, 3)

    def decode(self, index: int, positions: np.ndarray | None = None) -> np.ndarray:
        """Frames uint8 [t, h, w, 3] RGB of clip `index`, by default the test's."""
        positions = self.positions[index] if positions is None else positions
        frames = _read(self.source, int(self.records[index]), self.dataset)["frames"]
        kept = {
            p: _decode(
                frames[p], str(self.clip[index]), p, self.resize, self.image_size
            )
            for p in set(positions.tolist())
        }
        return np.stack([kept[int(p)] for p in positions])

    def draw(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Positions int64 [b, t] that a training step sees of clips `index` [b]."""
        if not self.drawn:
            return self.positions[index]
        count = self.positions.shape[1]
        return np.stack(
            [
                first + sampling.uniform_frames(last - first + 1, count, rng=rng)
                for first, last in self.spans[index].tolist()
            ]
        )


def load_clips(
    dataset: str,
    *,
    data_dir: str,
    classes: Sequence[tuple[str, Sequence[str]]],
    dropped: Sequence[str] = (),
    excluded: Sequence[str] = (),
    frames: int = 16,
    image_size: int = 224,
    resize: int | None = None,
    frame_sampling: str = "keyframes",
    access: str = "",
) -> Clips:
    """The clips of `dataset` ("name" or "name/config") that a task's classes keep.

    `classes` pairs every class with the original emotions it gathers; `dropped` names
    the emotions the task leaves out, `excluded` the clips. Frames are resized to
    `resize` pixels at the short side, then cropped to `image_size`. `frame_sampling`:
    "keyframes", "keyframes_integer" or "uniform", which draws in training. `access`
    says how the data can be had. Raises UserError when the dataset is not built,
    damaged, or has an emotion that is in neither list.
    """
    resize = image_size if resize is None else resize
    if resize < image_size:
        raise UserError(
            f"config.data.resize={resize}: cannot crop {image_size} pixels from it"
        )
    folder = find(dataset, data_dir, access)
    try:
        builder = tfds.builder_from_directory(folder)
        splits = builder.as_data_source(decoders={"frames": _Encoded()})
        source = _Chained([splits[name] for name in sorted(splits)])
        split = [name for name in sorted(splits) for _ in range(len(splits[name]))]
    except Exception as error:  # TFDS and array_record each raise their own
        raise UserError(_damaged(folder, dataset, error)) from error

    label_of = {e: k for k, (_, names) in enumerate(classes) for e in names}
    rows, unknown = [], {}
    for i in range(len(source)):
        record = _read(source, i, dataset)
        emotion = record["emotion"].decode()
        if record["clip"].decode() in excluded:
            continue
        if emotion in label_of:
            row = _row(record, i, label_of[emotion], frames, frame_sampling)
            rows.append(row | {"split": split[i]})
        elif emotion not in dropped:
            unknown.setdefault(emotion, record["clip"].decode())
    if unknown:
        listing = ", ".join(f"{e!r} (clip {c})" for e, c in sorted(unknown.items()))
        raise UserError(
            f"{dataset}: emotions that the task neither maps to a class nor drops: "
            f"{listing}; see config.data.classes and config.data.dropped"
        )
    if not rows:
        raise UserError(f"{dataset}: no clip has an emotion of the task")
    columns = {name: np.asarray([row[name] for row in rows]) for name in rows[0]}
    metadata = dict(builder.info.metadata or {})
    return Clips(
        dataset=dataset,
        fingerprint=str(metadata.get("fingerprint", "")),
        metadata=metadata,
        classes=tuple(name for name, _ in classes),
        source=source,
        image_size=image_size,
        resize=resize,
        drawn=frame_sampling == "uniform",
        **columns,
    )


def find(dataset: str, data_dir: str, access: str = "") -> Path:
    """Folder of a built dataset, of several versions the newest.

    UserError with what to type when there is none, or the configs of several.
    """
    root = Path(data_dir).expanduser()
    found = [f.parent for f in (root / dataset).glob("**/dataset_info.json")]
    found = [folder for folder in found if _VERSION.fullmatch(folder.name)]
    if len({folder.parent for folder in found}) == 1:
        return max(found, key=lambda folder: tuple(map(int, folder.name.split("."))))
    if len(found) > 1:
        names = sorted(str(folder.relative_to(root)) for folder in found)
        raise UserError(f"{dataset}: several builds in {root}: {names}; name one")
    manual = " --manual_dir=FOLDER_OF_ITS_FILES" if access else ""
    lines = [f"dataset {dataset!r} is not built in {root.resolve()}."]
    if access:
        lines.append(f"How to get it: {access}")
    lines += [
        "Then type:" if access else "Type:",
        f"  python -m data_builders.build --dataset={dataset}{manual} "
        f"--data_dir={data_dir}",
        "or point --config.data.data_dir to the folder where it is built.",
    ]
    raise UserError("\n".join(lines))


class _Chained(Sequence):
    """Several splits' records as one sequence."""

    def __init__(self, parts: Sequence[Sequence]):
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int):
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)


def _row(record, index, label, frames, frame_sampling) -> dict:
    onset, apex, offset = (int(record[k]) for k in ("onset", "apex", "offset"))
    if frame_sampling == "keyframes":
        positions = sampling.key_frames(onset, apex, offset, frames)
    elif frame_sampling == "keyframes_integer":
        positions = sampling.key_frames(onset, apex, offset, frames, strides="integer")
    elif frame_sampling == "uniform":
        positions = sampling.uniform_frames(offset - onset + 1, frames) + onset
    else:
        raise UserError(
            "config.data.sampling must be keyframes, keyframes_integer or uniform, "
            f"got {frame_sampling!r}"
        )
    return {
        "clip": record["clip"].decode(),
        "subject": record["subject"].decode(),
        "emotion": record["emotion"].decode(),
        "au_cell": record["au_cell"].decode(),
        "label": np.int32(label),
        "positions": positions,
        "apex": int(np.abs(positions - apex).argmin()),
        "spans": (onset, offset),
        "records": index,
    }


def _read(source: Sequence, index: int, dataset: str) -> dict:
    try:
        return source[index]
    except Exception as error:  # array_record raises several kinds
        where = f"record {index} of {len(source)}"
        raise UserError(_damaged(where, dataset, error)) from error


def _damaged(where, dataset: str, error: Exception) -> str:
    return (
        f"{dataset}: {where} cannot be read ({type(error).__name__}: {error}); build "
        f"it again: python -m data_builders.build --dataset={dataset} --overwrite"
    )


def _decode(
    encoded: bytes, clip: str, position: int, short: int, size: int
) -> np.ndarray:
    """One picture, short side resized to `short`, centre crop (MER_CLIP 7.1-7.3)."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UserError(f"clip {clip}: frame {position} is not a readable picture")
    h, w = image.shape[:2]
    if min(h, w) != short:
        scale = short / min(h, w)
        h, w = (short if x == min(h, w) else int(x * scale + 0.5) for x in (h, w))
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    top, left = (h - size) // 2, (w - size) // 2
    return image[top : top + size, left : left + size]
