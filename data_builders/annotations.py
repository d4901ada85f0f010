"""What every micro-expression dataset is turned into: one row of features per clip.

Used by all builders: the features, labels, frame files, apex, the hash of a clip's
source and the fingerprint of a dataset.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from merclip_jax.facs import AUSet, parse_cell

FRAME_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
_SYNONYMS = {"happy": "happiness", "sad": "sadness", "other": "others"}
_NUMBER = re.compile(r"[0-9]+")


class DatasetError(ValueError):
    """A dataset's files or tables are not as its owners ship them."""


def clip_features(
    extra: Mapping[str, object] | None = None,
) -> tfds.features.FeaturesDict:
    """Features of one clip; `extra` adds a dataset's own, and may replace none.

    frames: encoded pictures from onset to offset; frame_numbers: as in the source;
    onset, apex, offset: indices into frames; apex: the midpoint where not apex_valid.
    """
    text, integer = tfds.features.Text(), tfds.features.Scalar(np.int32)
    features = {
        "frames": tfds.features.Sequence(tfds.features.Image()),
        "frame_numbers": tfds.features.Sequence(integer),
        "onset": integer,
        "apex": integer,
        "offset": integer,
        "apex_valid": tfds.features.Scalar(np.bool_),
        "subject": text,
        "clip": text,
        "fps": tfds.features.Scalar(np.float32),
        "emotion": text,
        "au_cell": text,
        "aus": tfds.features.Sequence(
            {
                "number": integer,
                "side": text,
                "intensity": text,
                "uncertain": tfds.features.Scalar(np.bool_),
            }
        ),
        "source_hash": text,
    }
    clash = sorted(set(features) & set(extra or {}))
    if clash:
        raise ValueError(f"extra features would replace {', '.join(clash)}")
    return tfds.features.FeaturesDict({**features, **(extra or {})})


def clip_example(
    *,
    frames: Sequence[bytes],
    frame_numbers: Sequence[int],
    onset: int,
    apex: int,
    offset: int,
    apex_valid: bool,
    subject: str,
    clip: str,
    fps: float,
    emotion: str,
    au_cell: str,
) -> dict[str, object]:
    """One row for `clip_features()`: parses the AU cell and hashes the source."""
    last = len(frames) - 1
    if not (0 <= onset <= apex <= offset <= last and len(frame_numbers) == last + 1):
        raise DatasetError(
            f"clip {clip}: expected 0 <= onset <= apex <= offset <= {last} and "
            f"{last + 1} frame numbers, got {onset}, {apex}, {offset} and "
            f"{len(frame_numbers)}"
        )
    facts = {
        "frame_numbers": [int(n) for n in frame_numbers],
        "onset": int(onset),
        "apex": int(apex),
        "offset": int(offset),
        "apex_valid": bool(apex_valid),
        "subject": subject,
        "clip": clip,
        "fps": float(fps),
        "emotion": emotion,
        "au_cell": au_cell,
    }
    return {
        "frames": list(frames),
        **facts,
        "aus": au_rows(parse_cell(au_cell)),
        "source_hash": source_hash(frames, facts),
    }


def au_rows(au_set: AUSet) -> list[dict[str, object]]:
    """Rows of the `aus` feature in cell order; alternatives count as uncertain."""
    return [
        {
            "number": au.number,
            "side": au.side,
            "intensity": au.intensity,
            "uncertain": au.uncertain or len(term) > 1,
        }
        for term in au_set.terms
        for au in term
    ]


def emotion_label(cell: object) -> str:
    """A table's emotion in lower case, with happy, sad and other under one name."""
    label = str(cell if cell is not None else "").strip().lower()
    return _SYNONYMS.get(label, label)


def frame_files(folder: Path) -> dict[int, Path]:
    """Picture files of a folder by frame number, in numerical order.

    The number is the last integer in the file name; other files are passed over.
    Raises DatasetError for a picture without a number or two of one number.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        # macOS leaves "._name.jpg" beside "name.jpg" when it unpacks an archive.
        if path.suffix.lower() not in FRAME_SUFFIXES or path.name.startswith("."):
            continue
        digits = _NUMBER.findall(path.stem)
        if not digits:
            raise DatasetError(f"{path}: expected a frame number in the file name")
        number = int(digits[-1])
        if number in found:
            raise DatasetError(f"{path}: frame {number} is also {found[number].name}")
        found[number] = path
    return dict(sorted(found.items()))


def key_indices(
    numbers: Sequence[int], onset: int, apex: int | None, offset: int
) -> tuple[int, bool]:
    """(index of the apex among the frame `numbers`, whether the table gave it).

    `numbers` are the existing frames of onset..offset, ascending and not empty; onset
    is index 0 and offset the last. A missing apex, one outside onset..offset, or one on
    the onset (how CAS(ME)^3 writes "missing") becomes the midpoint. If the apex frame
    itself is not on disk, the nearest one stands for it.
    """
    valid = apex is not None and onset < apex <= offset
    target = apex if valid else (onset + offset) / 2
    distance = np.abs(np.asarray(numbers, np.float64) - target)
    return int(distance.argmin()), valid


def source_hash(frames: Iterable[bytes], facts: Mapping[str, object]) -> str:
    """SHA-256 over a clip's annotation (as sorted JSON) and its encoded frames."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for frame in frames:
        digest.update(hashlib.sha256(frame).digest())
    return digest.hexdigest()


def recorded(
    examples: Iterable[tuple[object, dict[str, object]]],
    *,
    info: tfds.core.DatasetInfo,
    total: int,
) -> Iterator[tuple[object, dict[str, object]]]:
    """Pass a builder's (key, example) pairs on, with a progress bar.

    At the end the dataset's fingerprint is put into `info.metadata`, a MetadataDict.
    """
    hashes = {}
    for key, example in tqdm(
        examples, desc=info.full_name, total=total, unit="clip", disable=None
    ):
        hashes[str(example["clip"])] = str(example["source_hash"])
        yield key, example
    info.metadata["fingerprint"] = fingerprint(hashes.items())


def fingerprint(clips: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (clip, source_hash) pairs in order of clip: the dataset's identity.

    Two labs that print the same fingerprint hold the same frames and labels.
    """
    digest = hashlib.sha256()
    for clip, source in sorted(clips):
        digest.update(f"{clip}\t{source}\n".encode())
    return digest.hexdigest()
