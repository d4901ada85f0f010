"""From a clip's files to a row of features: read, align, encode.

One similarity transform per clip, from its onset frame, is applied to all its frames.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from data_builders.readers.findings import DatasetError, Finding
from data_builders.readers.release import Clip, Release
from data_builders.records.features import clip_example, full_name, source_hash
from data_builders.records.pictures import MOST_BYTES, PictureError, Seen, read_picture
from merclip_jax.faces import align as faces
from merclip_jax.faces.onset import FacesError, NoRowError, Onset

# Nearly lossless, colour at half resolution; PNG takes longer to write than to warp.
JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 98),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
)


class Landmarks(Protocol):
    """Where the onset frame's face points come from: see `merclip_jax.faces`."""

    name: str

    def find(self, image: np.ndarray, onset: Onset) -> np.ndarray | None:
        """Finds the face in a picture.

        Args:
            image: RGB uint8 [h, w, 3].
            onset: Which picture it is.

        Returns:
            Points [p, 2], None where there is no face.
        """


@dataclass(frozen=True)
class Crop:
    """How faces are cut out: by whose landmarks, to what size, with what margin.

    `centred`: a clip without a face is cut to the centred square instead.
    """

    landmarks: Landmarks
    size: int = 224
    margin: float = 2.5
    centred: bool = False

    @property
    def name(self) -> str:
        """All that the stored pictures depend on beside the files."""
        kept = ", centre where no face" if self.centred else ""
        return f"{self.landmarks.name}, {self.size} px, margin {self.margin}{kept}"


class ClipError(Exception):
    """A clip that cannot be built, with the finding that says why."""

    def __init__(self, finding: Finding):
        super().__init__(str(finding))
        self.finding = finding


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
    if crop is None or not isinstance(crop.landmarks, faces.CsvLandmarks):
        return release
    try:
        remarks = crop.landmarks.match([onset_of(clip) for clip in release.clips])
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
        ClipError: If a picture cannot be read, or no face is found and it is not to
            be centred.
    """
    frames, hashes, seen = [], [], Seen(clip)
    onset = None
    # All are decoded, though a picture that is not cut is stored as it came: an
    # unreadable one must not be found in training.
    for number in clip.files:  # one at a time: a clip's files may be large
        data, image = _picture(clip, number, seen)
        hashes.append(hashlib.sha256(data).digest())
        if crop:
            # Of the first frame alone: aligning each one by itself would add jitter as
            # large as a micro-expression.
            onset = onset or _align(clip, image, crop)
            cut = faces.warp(image, onset.matrix, crop.size)
            data = cv2.imencode(".jpg", cut, JPEG)[1].tobytes()
        frames.append(data)
    landmarks, findings = (onset.landmarks, onset.findings) if onset else (None, [])
    made = clip_example(
        frames=frames, landmarks=landmarks, files=hashes, **_facts(dataset, clip)
    )
    return made, findings + seen.findings()


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
    for index, number in enumerate(clip.files):
        try:
            data, image = _picture(clip, number, seen)
            hashes.append(hashlib.sha256(data).digest())
            # The first frame decides; see `make`.
            if index == 0 and crop:
                findings += _align(clip, image, crop).findings
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
    apex, apex_valid = key_indices(numbers, row.onset, row.apex, row.offset)
    return {
        "frame_numbers": numbers,
        "onset": 0,
        "apex": apex,
        "offset": len(numbers) - 1,
        "apex_valid": apex_valid,
        "subject": f"{dataset}/{row.subject}",
        "clip": full_name(dataset, row),
        "fps": row.fps,
        "emotion": row.emotion,
        "au_cell": row.au_cell,
    }


class _Onset(NamedTuple):
    """What the onset frame decides for all frames of a clip."""

    matrix: np.ndarray
    landmarks: np.ndarray | None
    findings: list[Finding]


def _align(clip: Clip, image: np.ndarray, crop: Crop) -> _Onset:
    onset = onset_of(clip)
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    kind = "face"
    text = f"no face in the onset frame {onset.path} ({crop.landmarks.name})"
    try:
        landmarks = crop.landmarks.find(rgb, onset)
        if landmarks is not None:
            matrix = _matrix(onset, image, landmarks, crop)
            return _Onset(matrix, faces.transform_points(matrix, landmarks), [])
    except NoRowError as error:
        kind, text = "landmarks", str(error)
    except FacesError as error:
        raise ClipError(_finding(clip, "landmarks", str(error))) from error
    if not crop.centred:
        raise ClipError(_finding(clip, kind, text))
    matrix = faces.centre_matrix(*image.shape[:2], size=crop.size)
    return _Onset(matrix, None, [_finding(clip, "centred", text)])


def _matrix(
    onset: Onset, image: np.ndarray, landmarks: np.ndarray, crop: Crop
) -> np.ndarray:
    try:
        x, y = faces.five_points(landmarks).mean(0)
        # A table of landmarks may have been made at another resolution.
        if not (0 <= x < image.shape[1] and 0 <= y < image.shape[0]):
            raise ValueError(
                f"landmarks around {x:.0f}, {y:.0f} lie outside the picture"
            )
        return faces.align_matrix(landmarks, size=crop.size, margin=crop.margin)
    except ValueError as error:
        raise FacesError(
            f"onset frame {onset.path} ({crop.landmarks.name}): {error}"
        ) from error


def onset_of(clip: Clip) -> Onset:
    """Returns the picture of a clip in which its face is looked for."""
    number, path = next(iter(clip.files.items()))
    return Onset(clip.row.clip, number, path, clip.numbers)


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
        raise ClipError(_finding(clip, "image", text, path)) from error
    except PictureError as error:
        raise ClipError(_finding(clip, "image", str(error), path)) from error
    seen.add(number, image, told)
    return data, image


def _finding(clip: Clip, kind: str, text: str, path: Path | None = None) -> Finding:
    where = f"{_where(clip)}, {path}" if path else _where(clip)
    return Finding(kind, where, text, clip.row.clip)


def _where(clip: Clip) -> str:
    return f"{clip.row.where}, clip {clip.row.clip}"
