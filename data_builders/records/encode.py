"""From a clip's files to a row of features: read, align, encode.

One similarity transform per clip, from its onset frame, is applied to all its frames.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import cv2
import numpy as np

from data_builders.readers.findings import Finding
from data_builders.readers.release import Clip
from data_builders.records.features import clip_example, full_name, source_hash
from merclip_jax.faces import align as faces

# Nearly lossless, colour at half resolution; PNG takes longer to write than to warp.
JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 98),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
)
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"


class Landmarks(Protocol):
    """Where the onset frame's face points come from: see `merclip_jax.faces`."""

    name: str

    def find(
        self, image: np.ndarray, *, clip: str, number: int, path: Path, index: int
    ) -> np.ndarray | None:
        """Finds the face in a picture.

        Args:
            image: RGB uint8 [h, w, 3].
            clip: The clip's name.
            number: The frame's number.
            path: Its file.
            index: How many pictures of its folder come before it.

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
    frames, hashes, sizes = [], [], set()
    onset = None
    # All are decoded, though a picture that is not cut is stored as it came: an
    # unreadable one must not be found in training.
    for number in clip.files:  # one at a time: a clip's files may be large
        data, image = _picture(clip, number)
        hashes.append(hashlib.sha256(data).digest())
        sizes.add(image.shape[:2])
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
    return made, findings + _sizes(clip, sizes)


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
    findings, sizes, hashes = [], set(), []
    for index, number in enumerate(clip.files):
        try:
            data, image = _picture(clip, number)
            hashes.append(hashlib.sha256(data).digest())
            sizes.add(image.shape[:2])
            # The first frame decides; see `make`.
            if index == 0 and crop:
                findings += _align(clip, image, crop).findings
        except ClipError as error:
            findings.append(error.finding)
    return source_hash(hashes, _facts(dataset, clip)), findings + _sizes(clip, sizes)


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


def is_whole(data: bytes) -> bool:
    """Whether a picture begins and ends as its format asks; does not decode it.

    libjpeg decodes a file that is cut off, and leaves the rest of the picture grey.
    """
    if data.startswith(_PNG_START):
        return _PNG_END in data[-64:]
    if data.startswith(_JPEG_START):
        return _JPEG_END in data[-1024:]
    return data.startswith(b"BM") and len(data) >= int.from_bytes(data[2:6], "little")


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
    landmarks = _points(clip, image, crop.landmarks)
    if landmarks is not None:
        matrix = _matrix(clip, image, landmarks, crop)
        return _Onset(matrix, faces.transform_points(matrix, landmarks), [])
    if not crop.centred:
        raise ClipError(_no_face(clip, "face", crop.landmarks))
    matrix = faces.centre_matrix(*image.shape[:2], size=crop.size)
    return _Onset(matrix, None, [_no_face(clip, "centred", crop.landmarks)])


def _matrix(
    clip: Clip, image: np.ndarray, landmarks: np.ndarray, crop: Crop
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
        finding = Finding("face", _where(clip), str(error), clip.row.clip)
        raise ClipError(finding) from error


def _points(clip: Clip, image: np.ndarray, source: Landmarks) -> np.ndarray | None:
    number, path = next(iter(clip.files.items()))
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    try:
        return source.find(
            rgb, clip=clip.row.clip, number=number, path=path, index=clip.position
        )
    except faces.FacesError as error:
        raise ClipError(Finding("face", _where(clip), str(error), clip.row.clip)) from (
            error
        )


def _picture(clip: Clip, number: int) -> tuple[bytes, np.ndarray]:
    """A file, and its picture BGR uint8 [h, w, 3]; a grey one has equal channels."""
    try:
        data = clip.files[number].read_bytes()
    except OSError as error:
        _fail(clip, number, f"expected a readable file ({error.strerror})")
    image = None
    if is_whole(data):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        _fail(clip, number, "expected a whole, readable jpg, png or bmp")
    return data, image


def _fail(clip: Clip, number: int, text: str) -> NoReturn:
    path = clip.files[number]
    raise ClipError(Finding("image", f"{_where(clip)}, {path}", text, clip.row.clip))


def _no_face(clip: Clip, kind: str, source: Landmarks) -> Finding:
    number, path = next(iter(clip.files.items()))
    text = f"no face in the onset frame {path} ({source.name})"
    return Finding(kind, _where(clip), text, clip.row.clip)


def _sizes(clip: Clip, sizes: set[tuple[int, int]]) -> list[Finding]:
    if len(sizes) < 2:
        return []
    listed = ", ".join(f"{w}x{h}" for h, w in sorted(sizes))
    return [Finding("size", _where(clip), listed, clip.row.clip)]


def _where(clip: Clip) -> str:
    return f"{clip.row.where}, clip {clip.row.clip}"
