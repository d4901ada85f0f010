"""Records as they are stored: how builders and trainings read them and sum them up."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds


class Encoded(tfds.decode.SkipDecoding):
    """Leaves frames encoded, so that only the sampled ones are ever decoded."""

    def decode_batch_example_np(self, batch: object) -> object:
        """Called by TFDS for the frames of one record; theirs has no such method."""
        return batch


def fingerprint(clips: Iterable[tuple[str, str]], crop: str = "") -> str:
    """Returns a dataset's identity, SHA-256.

    Two labs that print the same fingerprint hold the same files, annotations and
    options.

    Args:
        clips: (clip, source_hash) of each, in any order.
        crop: how the owners' pictures were cut, "" for not at all.
    """
    digest = hashlib.sha256()
    for clip, source in sorted(clips):
        digest.update(f"{clip}\t{source}\n".encode())
    if crop:
        digest.update(f"crop\t{crop}\n".encode())
    return digest.hexdigest()


def metadata_digest(metadata: Mapping[str, object]) -> str:
    """SHA-256 of a dataset's metadata as JSON holds them, without this sum itself."""
    kept = {name: value for name, value in metadata.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def record_digest(record: Mapping[str, object]) -> bytes:
    """SHA-256 of a record's features, labels as well as encoded pictures.

    Of what it says, not of its bytes on disk: the order of a protocol buffer's fields
    differs between two processes that write the same.
    """
    digest = hashlib.sha256()
    for part in _parts(record):
        # Lengths too: else a byte could move from one picture to the next.
        digest.update(f"{len(part)}\n".encode())
        digest.update(part)
    return digest.digest()


def _parts(value: object) -> Iterator[bytes]:
    """A feature's bytes: of mappings by name, of lists one after another."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield name.encode()
            yield from _parts(value[name])
    elif isinstance(value, list) or getattr(value, "dtype", "") == np.dtype("O"):
        yield str(len(value)).encode()
        for part in value:
            yield from _parts(part)
    else:
        array = np.asarray(value)
        yield f"{array.dtype.str} {array.shape}".encode()
        yield array.tobytes()
