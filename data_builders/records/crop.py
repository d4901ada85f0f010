"""Faces of clips: whose landmarks say where they are, and how they are cut out.

One similarity transform per clip, from its onset frame, is applied to all its frames.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from data_builders.readers.findings import Finding
from data_builders.readers.release import Clip
from merclip_jax.faces import align as faces
from merclip_jax.faces.onset import FacesError, NoRowError, Onset

# Nearly lossless, colour at half resolution; PNG takes longer to write than to warp.
JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 98),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
)


class Landmarks(Protocol):
    """Where face points of a picture come from: see `merclip_jax.faces`."""

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

    `centred`: a clip without a face is cut to the centred square instead. `keep`:
    nothing is cut, the landmarks alone are stored. `every_frame`: landmarks of every
    frame are stored beside those of the onset. Raises ValueError where a clip without
    a face would have to be cut or to have landmarks.
    """

    landmarks: Landmarks
    size: int = 224
    margin: float = 2.5
    centred: bool = False
    keep: bool = False
    every_frame: bool = False

    def __post_init__(self):
        if self.centred and (self.keep or self.every_frame):
            raise ValueError("centred: neither keep nor every_frame goes with it")

    @property
    def name(self) -> str:
        """All that the records depend on beside the files."""
        cut = f"{self.size} px, margin {self.margin}"
        cut += ", centre where no face" if self.centred else ""
        every = ", landmarks of every frame" if self.every_frame else ""
        name = self.landmarks.name
        return f"{name}, {'pictures as they are' if self.keep else cut}{every}"


class ClipError(Exception):
    """A clip that cannot be built, with the finding that says why."""

    def __init__(self, finding: Finding):
        super().__init__(str(finding))
        self.finding = finding


class ClipFace:
    """The face of a clip, whose pictures come one by one, the onset's first.

    findings: what is odd.
    """

    def __init__(self, clip: Clip, crop: Crop):
        self._clip, self._crop = clip, crop
        self._matrix: np.ndarray | None = None
        self._points: list[np.ndarray] = []  # of each frame that was looked at
        self._lost: list[tuple[Path, str]] = []
        self.findings: list[Finding] = []

    def cut(self, number: int, image: np.ndarray, data: bytes) -> bytes:
        """Returns what is stored of a picture.

        Args:
            number: Of its frame.
            image: BGR uint8 [h, w, 3].
            data: Its file, which is kept where nothing is cut.

        Raises:
            ClipError: If it is the onset, no face is found and it is not to be centred.
        """
        self.look(number, image)
        if self._crop.keep:
            return data
        cut = faces.warp(image, self._matrix, self._crop.size)
        return cv2.imencode(".jpg", cut, JPEG)[1].tobytes()

    def look(self, number: int, image: np.ndarray) -> None:
        """Looks for the face in a picture; of the onset alone, or of every frame.

        Args:
            number: Of its frame.
            image: BGR uint8 [h, w, 3].

        Raises:
            ClipError: If it is the onset, no face is found and it is not to be centred.
        """
        # Of the first frame alone: aligning each one by itself would add jitter as
        # large as a micro-expression.
        if self._matrix is None:
            self._matrix = self._align(image)
        elif self._crop.every_frame:
            try:
                self._points.append(self._found(number, image))
            except FacesError as error:
                self._lost.append((self._clip.files[number], str(error)))

    def stored(self) -> dict[str, np.ndarray | None]:
        """Returns landmarks [p, 2] and frame_landmarks [t, p, 2], None for none.

        In pixels of the stored pictures.

        Raises:
            ClipError: If landmarks of every frame are asked for and a frame has none.
        """
        if self._lost:
            path, why = self._lost[0]
            text = f"{len(self._lost)} of {len(self._clip.files)} frames have no "
            text += f"landmarks that can be used, the first {path.name}: {why}"
            raise ClipError(finding_of(self._clip, "lost", text))
        points = self._points
        if not self._crop.keep:
            points = [faces.transform_points(self._matrix, p) for p in points]
        every = np.stack(points) if self._crop.every_frame else None
        return {"landmarks": points[0] if points else None, "frame_landmarks": every}

    def _align(self, image: np.ndarray) -> np.ndarray:
        """The clip's transform, from its onset."""
        clip, crop = self._clip, self._crop
        onset = onset_of(clip)
        kind = "face"
        text = f"no face in the onset frame {onset.path} ({crop.landmarks.name})"
        try:
            points = crop.landmarks.find(_rgb(image), onset)
            if points is not None:
                matrix = _matrix(onset, image, points, crop)
                self._points.append(points)
                return matrix
        except NoRowError as error:
            kind, text = "landmarks", str(error)
        except FacesError as error:
            raise ClipError(finding_of(clip, "landmarks", str(error))) from error
        if not crop.centred:
            raise ClipError(finding_of(clip, kind, text))
        self.findings.append(finding_of(clip, "centred", text))
        return faces.centre_matrix(*image.shape[:2], size=crop.size)

    def _found(self, number: int, image: np.ndarray) -> np.ndarray:
        """The landmarks of a later frame; FacesError for none."""
        picture = picture_of(self._clip, number)
        points = self._crop.landmarks.find(_rgb(image), picture)
        if points is None:
            raise FacesError(f"no face in it ({self._crop.landmarks.name})")
        if len(points) != len(self._points[0]):
            raise FacesError(
                f"{len(points)} points, and {len(self._points[0])} in the onset frame"
            )
        _matrix(picture, image, points, self._crop)  # whether it could be aligned
        return points


def onset_of(clip: Clip) -> Onset:
    """Returns the picture of a clip in which its face is looked for."""
    return picture_of(clip, next(iter(clip.files)))


def picture_of(clip: Clip, number: int) -> Onset:
    """Returns a picture of a clip, for a source of landmarks.

    Args:
        clip: Row and files.
        number: Of the frame.
    """
    first = number == next(iter(clip.files))
    return Onset(clip.row.clip, number, clip.files[number], clip.numbers, first)


def finding_of(clip: Clip, kind: str, text: str, path: Path | None = None) -> Finding:
    """Returns something odd in a clip.

    Args:
        clip: Row and files.
        kind: See `findings.KINDS`.
        text: What it is.
        path: The picture that it is about.
    """
    where = f"{clip.row.where}, clip {clip.row.clip}"
    where = f"{where}, {path}" if path else where
    return Finding(kind, where, text, clip.row.clip)


def _rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _matrix(
    picture: Onset, image: np.ndarray, landmarks: np.ndarray, crop: Crop
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
            f"{picture.called} {picture.path} ({crop.landmarks.name}): {error}"
        ) from error
