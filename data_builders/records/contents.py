"""What is in a built dataset: read back, summed up, and seen to be undamaged."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.readers.findings import DatasetError
from merclip_jax.data.encoded import (
    Encoded,
    fingerprint,
    metadata_digest,
    record_digest,
)


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a dataset's records hold: clips by emotion, and two identities.

    `fingerprint`: of the owners' files, annotations and options; `records`: SHA-256 of
    all that is stored, pictures too, which may differ between versions of OpenCV.
    """

    clips: int
    subjects: int
    frames: int
    emotions: dict[str, int]
    fingerprint: str
    records: str


def read_back(folder: Path) -> Iterator[dict[str, object]]:
    """Yields all records of a dataset, frames as encoded bytes, by split and order."""
    builder = tfds.builder_from_directory(folder)
    splits = builder.as_data_source(decoders={"frames": Encoded()})
    for name in sorted(splits):
        source = splits[name]
        for index in range(len(source)):
            yield source[index]


def contents(folder: Path, crop: str = "") -> Contents:
    """Reads all records of a dataset and sums them up.

    Args:
        folder: Where it is.
        crop: How its faces were cut out, a part of the fingerprint.
    """
    hashes, subjects, frames = [], set(), 0
    emotions: collections.Counter = collections.Counter()
    records = hashlib.sha256()
    # From what is on disk, not from what was meant to be written.
    for record in read_back(folder):
        hashes.append((record["clip"].decode(), record["source_hash"].decode()))
        subjects.add(record["subject"].decode())
        emotions[record["emotion"].decode()] += 1
        frames += len(record["frames"])
        records.update(record_digest(record))
    return Contents(
        len(hashes),
        len(subjects),
        frames,
        dict(sorted(emotions.items())),
        fingerprint(hashes, crop),
        records.hexdigest(),
    )


def finish(info: tfds.core.DatasetInfo, metadata: dict[str, object]) -> Contents:
    """Reads the records back and stores the metadata beside them.

    Args:
        info: Of the dataset, whose shards are written.
        metadata: Plain JSON values; "crop" is part of the fingerprint.

    Returns:
        What the records hold; their two identities are stored too.
    """
    folder = Path(info.data_dir)
    found = contents(folder, str(metadata.get("crop", "")))
    info.metadata.update(metadata)
    info.metadata.update(fingerprint=found.fingerprint, records=found.records)
    # As they will be read: JSON has lists for tuples and text for other keys.
    plain = json.loads(json.dumps(dict(info.metadata)))
    info.metadata.update(sha256=metadata_digest(plain))
    info.write_to_directory(folder)
    return found


def check(folder: Path) -> Contents:
    """Returns what a built dataset holds.

    Raises:
        DatasetError: If that is not what was written.
    """
    try:
        metadata = tfds.builder_from_directory(folder).info.metadata
        found = contents(folder, str(metadata.get("crop", "")))
        stored = {name: metadata[name] for name in ("fingerprint", "records")}
    except Exception as error:  # readers of records, JSON and TFDS each have their own
        raise DatasetError(
            f"{folder}: damaged ({error}); build it again with --overwrite"
        ) from error
    for name, value in stored.items():
        if getattr(found, name) != value:
            raise DatasetError(
                f"{folder}: damaged: its {name} hash is {getattr(found, name)}, "
                f"expected {value}; build it again with --overwrite"
            )
    return found
