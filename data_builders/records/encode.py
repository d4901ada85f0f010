"""From a clip's files to a row of features: read, align, encode.

One similarity transform per clip, from its onset frame, is applied to all its frames.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from data_builders.readers.findings import DatasetError, Finding
from data_builders.readers.release import Clip, Release
from data_builders.records.crop import (
    ClipError,
    ClipFace,
    Crop,
    finding_of,
    onset_of,
)
from data_builders.records.features import clip_example, full_name, source_hash
from data_builders.records.pictures import MOST_BYTES, PictureError, Seen, read_picture
from merclip_jax.faces.landmark_tables import CsvLandmarks
from merclip_jax.faces.onset import FacesError


def matched(release: Release, crop: Crop | None) -> Release:
    """Matches tables of landmarks with all clips, before a picture is opened.

    Args:
        release: What was found.
        crop: How faces are cut out.

    Returns:
        The release, with what is odd in the tables.

    Raises:
        DatasetError: If no table is of any clip, or it is open how rows are numbered.
    """
    if crop is None or not isinstance(crop.landmarks, CsvLandmarks):
        return release
    try:
        remarks = crop.landmarks.match(
            [onset_of(clip) for clip in release.clips],
            frames={c.row.clip: tuple(c.files) for c in release.clips}
            if crop.every_frame
            else {},
        )
    except FacesError as error:
        raise DatasetError(str(error)) from error
    return release.without(Finding(r.kind, r.where, r.text, r.clip) for r in remarks)


def make(
    dataset: str, clip: Clip, crop: Crop | None = None
) -> tuple[dict[str, object], list[Finding]]:
    """Reads a clip's pictures and cuts out the face.

    Args:
        dataset: Its name.
        clip: Row and files.
        crop: How faces are cut out; None stores the pictures as they are on disk.

    Returns:
        The features of the clip, and what is odd in its pictures.

    Raises:
        ClipError: If a picture cannot be read, no face is found and it is not to be
            centred, or a frame lacks landmarks that are asked for.
    """
    frames, hashes, seen = [], [], Seen(clip)
    face = ClipFace(clip, crop) if crop else None
    # All are decoded, though a picture that is not cut is stored as it came: an
    # unreadable one must not be found in training.
    for number in clip.files:  # one at a time: a clip's files may be large
        data, image = _picture(clip, number, seen)
        hashes.append(hashlib.sha256(data).digest())
        frames.append(face.cut(number, image, data) if face else data)
    made = clip_example(
        frames=frames,
        files=hashes,
        **(face.stored() if face else {}),
        **_facts(dataset, clip),
    )
    return made, (face.findings if face else []) + seen.findings()


def inspect(
    dataset: str, clip: Clip, crop: Crop | None = None
) -> tuple[str, list[Finding]]:
    """Decodes all pictures of a clip; nothing is cut or kept.

    Args:
        dataset: Its name.
        clip: Row and files.
        crop: How faces would be cut out.

    Returns:
        The clip's source hash, and what is odd in its pictures; what `make` would
        raise is among it.
    """
    findings, hashes, seen = [], [], Seen(clip)
    face = ClipFace(clip, crop) if crop else None
    first = next(iter(clip.files))
    for number in clip.files:
        try:
            data, image = _picture(clip, number, seen)
            hashes.append(hashlib.sha256(data).digest())
            if face:
                face.look(number, image)
        except ClipError as error:
            findings.append(error.finding)
            if number == first:  # the others say nothing without the onset
                face = None
    if face:
        findings += face.findings
        try:
            face.stored()
        except ClipError as error:
            findings.append(error.finding)
    source = source_hash(hashes, _facts(dataset, clip))
    return source, findings + seen.findings()


def key_indices(
    numbers: Sequence[int], onset: int, apex: int | None, offset: int
) -> tuple[int, bool]:
    """Finds the apex among the frames that are there.

    A missing apex, one outside onset..offset, or one on the onset (how CAS(ME)^3 writes
    "missing") becomes the midpoint. If the apex frame itself is not on disk, the
    nearest one stands for it.

    Args:
        numbers: The existing frames of onset..offset, ascending and not empty.
        onset: Of the row.
        apex: Of the row.
        offset: Of the row.

    Returns:
        Its index in `numbers`, and whether the table gave it.
    """
    valid = apex is not None and onset < apex <= offset
    target = apex if valid else (onset + offset) / 2
    distance = np.abs(np.asarray(numbers, np.float64) - target)
    return int(distance.argmin()), valid


def _facts(dataset: str, clip: Clip) -> dict[str, object]:
    """What the table says of a clip, in the features' words."""
    row, numbers = clip.row, list(clip.files)
    # Of a window there are pictures before the onset and after the offset.
    inside = [i for i, n in enumerate(numbers) if row.onset <= n <= row.offset]
    onset, offset = inside[0], inside[-1]
    own = numbers[onset : offset + 1]
    apex, apex_valid = key_indices(own, row.onset, row.apex, row.offset)
    return {
        "frame_numbers": numbers,
        "onset": onset,
        "apex": onset + apex,
        "offset": offset,
        "apex_valid": apex_valid,
        "subject": f"{dataset}/{row.subject}",
        "clip": full_name(dataset, row),
        "fps": row.fps,
        "emotion": row.emotion,
        "au_cell": row.au_cell,
    }


def _picture(clip: Clip, number: int, seen: Seen) -> tuple[bytes, np.ndarray]:
    """A file, and its picture BGR uint8 [h, w, 3]; a grey one has equal channels."""
    path = clip.files[number]
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PictureError(f"expected a picture of up to {MOST_BYTES >> 20} MiB")
        data = path.read_bytes()
        image, told = read_picture(data)
    except OSError as error:
        text = f"expected a readable file ({error.strerror})"
        raise ClipError(finding_of(clip, "image", text, path)) from error
    except PictureError as error:
        raise ClipError(finding_of(clip, "image", str(error), path)) from error
    seen.add(number, image, told)
    return data, image
