"""What every micro-expression dataset is turned into: one row of features per clip.

The features, how a row of them is made and hashed, and the fingerprint of a dataset.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from data_builders.release import DatasetError, Row
from merclip_jax.facs import AUCombination, parse_cell


def clip_features(
    extra: Mapping[str, object] | None = None,
) -> tfds.features.FeaturesDict:
    """Features of one clip; `extra` adds a dataset's own, and may replace none.

    frames: encoded pictures from onset to offset; frame_numbers: as in the source;
    onset, apex, offset: indices into frames; apex: the midpoint where not apex_valid;
    landmarks: [p, 2] x, y of the onset frame in pixels of the stored picture, none
    where the pictures are stored as they came; source_hash: of annotation and files.
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
        "landmarks": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
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
    landmarks: np.ndarray | None = None,
    files: Sequence[bytes] | None = None,
) -> dict[str, object]:
    """One row for `clip_features()`: parses the AU cell and hashes the source.

    `files`: SHA-256 of each source file where `frames` are not the files themselves.
    """
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
    if files is None:
        files = [hashlib.sha256(frame).digest() for frame in frames]
    if landmarks is None:
        landmarks = np.zeros((0, 2))
    return {
        "frames": list(frames),
        **facts,
        "aus": au_rows(parse_cell(au_cell)),
        "landmarks": np.asarray(landmarks, np.float32),
        "source_hash": source_hash(files, facts),
    }


def au_rows(combination: AUCombination) -> list[dict[str, object]]:
    """Rows of the `aus` feature in cell order; alternatives count as uncertain."""
    return [
        {
            "number": au.number,
            "side": au.side,
            "intensity": au.intensity,
            "uncertain": au.uncertain or len(term) > 1,
        }
        for term in combination.terms
        for au in term
    ]


def full_name(dataset: str, row: Row) -> str:
    """Name of a clip among all datasets, such as "casme2/sub01/EP02_01f"."""
    return f"{dataset}/{row.clip}"


def source_hash(files: Iterable[bytes], facts: Mapping[str, object]) -> str:
    """SHA-256 over a clip's annotation (as sorted JSON) and the hashes of its files."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in files:
        digest.update(file)
    return digest.hexdigest()


def fingerprint(clips: Iterable[tuple[str, str]], crop: str = "") -> str:
    """SHA-256 over (clip, source_hash) pairs in order of clip: the dataset's identity.

    `crop` says how the owners' pictures were cut. Two labs that print the same
    fingerprint hold the same files, annotations and options.
    """
    digest = hashlib.sha256()
    for clip, source in sorted(clips):
        digest.update(f"{clip}\t{source}\n".encode())
    if crop:
        digest.update(f"crop\t{crop}\n".encode())
    return digest.hexdigest()
