"""What every micro-expression dataset is turned into: one row of features per clip.

The features, how a row of them is made and hashed, and the fingerprint of a dataset.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from data_builders.readers.findings import DatasetError
from data_builders.readers.release import Row
from merclip_jax.facs import AUCombination, parse_cell


def clip_features(
    extra: Mapping[str, object] | None = None,
) -> tfds.features.FeaturesDict:
    """Returns the features of one clip; `extra` adds a dataset's own.

    frames: encoded pictures from onset to offset; frame_numbers: as in the source;
    onset, apex, offset: indices into frames; apex: the midpoint where not apex_valid;
    landmarks: [p, 2] x, y of the onset frame in pixels of the stored picture, none
    where no face was looked for; frame_landmarks: [t p, 2], those of all frames one
    after another, none where they were not asked for; source_hash: of annotation and
    files.

    Raises:
        ValueError: If `extra` would replace one.
    """
    # Sequence(Image()) takes encoded bytes; tfds's Video would need TensorFlow.
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
        "frame_landmarks": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
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
    frame_landmarks: np.ndarray | None = None,
    files: Sequence[bytes] | None = None,
) -> dict[str, object]:
    """Makes one row for `clip_features()`: parses the AU cell and hashes the source.

    Args:
        frames: Encoded pictures, onset to offset.
        frame_numbers: As in the source.
        onset: Index into frames.
        apex: Index into frames.
        offset: Index into frames.
        apex_valid: Whether the source gives the apex.
        subject: With the dataset's name in front.
        clip: With the dataset's name in front.
        fps: Frames per second.
        emotion: In lower case, "" without a label.
        au_cell: As the source writes it.
        landmarks: [p, 2] x, y of the onset frame, None for none.
        frame_landmarks: [t, p, 2] of every frame, None for none.
        files: SHA-256 of each source file, where `frames` are not the files themselves.

    Raises:
        DatasetError: If the indices do not lie in this order among the frames.
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
    # The owners' files, not what is stored: a crop differs between versions of OpenCV.
    if files is None:
        files = [hashlib.sha256(frame).digest() for frame in frames]
    if landmarks is None:
        landmarks = np.zeros((0, 2))
    if frame_landmarks is None:
        frame_landmarks = np.zeros((len(frames), 0, 2))
    if len(frame_landmarks) != len(frames):
        raise DatasetError(
            f"clip {clip}: {len(frames)} frames, landmarks of {len(frame_landmarks)}"
        )
    return {
        "frames": list(frames),
        **facts,
        "aus": au_rows(parse_cell(au_cell)),
        "landmarks": np.asarray(landmarks, np.float32),
        "frame_landmarks": np.asarray(frame_landmarks, np.float32).reshape(-1, 2),
        "source_hash": source_hash(files, facts),
    }


def au_rows(combination: AUCombination) -> list[dict[str, object]]:
    """Returns rows of the `aus` feature in cell order.

    Of alternatives such as "L12 or L14" both are kept, as uncertain.
    """
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
    """Returns a row's clip's name among all datasets: "casme2/sub01/EP02_01f"."""
    return f"{dataset}/{row.clip}"


def source_hash(files: Iterable[bytes], facts: Mapping[str, object]) -> str:
    """Returns SHA-256 over a clip's annotation and files.

    Args:
        files: SHA-256 of each.
        facts: The annotation; it is hashed as sorted JSON.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in files:
        digest.update(file)
    return digest.hexdigest()
