"""Aligned faces: one similarity transform per clip, from landmarks of its onset frame.

The transform, that of FDP's official code, levels the eye line and makes a square box
around eyes, nose and mouth fill the picture. It is estimated once and applied to all
frames of a clip: aligning every frame would add the jitter of landmarks, which is as
large as a micro-expression, and remove part of the motion. FDP does so all the same:
`data.decode` aligns each frame by its own landmarks where a view asks for it.

A landmark source has a `name` for the records and `find(image, onset)` -> float64
[p, 2] or None without a face: `DlibLandmarks`, `YunetLandmarks` look at the picture,
`CsvLandmarks` looks it up.
"""

import functools
import hashlib
import importlib.util
import threading
from pathlib import Path

import cv2
import numpy as np

from merclip_jax.faces.landmark_tables import CsvLandmarks as CsvLandmarks
from merclip_jax.faces.onset import FacesError, Onset
from merclip_jax.faces.onset import NoRowError as NoRowError
from merclip_jax.faces.table_rows import LARGEST

# Grey: where the picture ends the edge is weak against any face.
BORDER = (128, 128, 128)
DETECT = 640  # long side of the picture in which a face is looked for first
PREDICTOR = "models/shape_predictor_68_face_landmarks.dat"
# Corners and lids of the eyes in the MediaPipe face mesh, as iBUG 36-41 and 42-47.
MESH_EYES = ([33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380])
MESH_NOSE, MESH_MOUTH = 1, [61, 291]
Box = tuple[int, int, int, int]  # left, top, right, bottom


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eye centres, nose tip and mouth corners of a face, float64 [5, 2] pixels.

    Image-left comes before image-right (upright face). landmarks: [68, 2] iBUG,
    [468 or 478, 2] MediaPipe face mesh, or [5, 2], which is returned as it is; x, y.
    Raises ValueError for any other shape, and for coordinates that are not finite or
    beyond any picture.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape not in ((5, 2), (68, 2), (468, 2), (478, 2)):
        raise ValueError(
            f"landmarks {list(landmarks.shape)}: expected [5, 2], [68, 2], [468, 2] "
            "or [478, 2]"
        )
    if not np.isfinite(landmarks).all():
        raise ValueError("landmarks are not finite")
    if (far := np.abs(landmarks).max()) > LARGEST:
        raise ValueError(f"landmarks up to {far:.3g} lie outside any picture")
    if len(landmarks) == 5:
        return landmarks
    # Eye centres are means of lids and corners: single landmarks jitter.
    eyes, nose, mouth = MESH_EYES, MESH_NOSE, MESH_MOUTH
    if len(landmarks) == 68:
        eyes, nose, mouth = (range(36, 42), range(42, 48)), 30, [48, 54]
    centres = [landmarks[list(eye)].mean(0) for eye in eyes]
    return np.stack([*centres, landmarks[nose], *landmarks[mouth]])


def align_matrix(
    landmarks: np.ndarray, *, size: int, margin: float = 2.5
) -> np.ndarray:
    """Similarity transform from picture to aligned face (FDP's official code).

    With R the rotation that levels the eyes, the box of the rotated points centred at
    c and half its side h: new = (R p - c + h) (size - 1) / 2h.

    Args:
        landmarks: as in `five_points`.
        size: side of the aligned face in pixels.
        margin: side of the box over the larger range of the five points.

    Returns:
        float64 [2, 3].

    Raises:
        ValueError: where the eyes coincide, or the face would be turned by 90 degrees
            or more, or stand on its head.
    """
    points = five_points(landmarks)
    along = points[1] - points[0]
    distance = np.hypot(*along)
    if distance == 0:
        raise ValueError("both eyes are at one place")
    c, s = along / distance
    if c <= 0:
        turn = abs(np.degrees(np.arctan2(s, c)))
        raise ValueError(
            f"the eyes stand as in a face that is turned by {turn:.0f} degrees: the "
            "picture lies on its side or its head, or the program names sides from the "
            "person's own view, or its x runs from right to left"
        )
    rotation = np.array([[c, s], [-s, c]])
    points = points @ rotation.T
    if points[:2, 1].mean() >= points[3:, 1].mean():
        raise ValueError(
            "the eyes lie below the mouth: the picture stands on its head, or the "
            "program's y runs upwards"
        )
    # The box is taken after the rotation: a tilted head must not make it larger.
    low, high = points.min(0), points.max(0)
    half = 0.5 * margin * (high - low).max()
    scale = (size - 1) / 2 / half
    shift = scale * (half - (low + high) / 2)
    return np.concatenate([scale * rotation, shift[:, None]], 1)


def centre_matrix(height: int, width: int, *, size: int) -> np.ndarray:
    """Similarity transform of the centred square, for a clip without a found face.

    Args:
        height, width: of the picture; its short side is the square's.
        size: side of the result in pixels.

    Returns:
        float64 [2, 3].
    """
    short = min(height, width)
    scale = size / short
    left, top = (width - short) // 2, (height - short) // 2
    # Pixel areas map to pixel areas, as in a resize: a picture that is `size` at its
    # short side keeps its pixels' values.
    x, y = (scale * (0.5 - start) - 0.5 for start in (left, top))
    return np.array([[scale, 0.0, x], [0.0, scale, y]])


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns where a transform puts points, float64 [p, 2].

    Args:
        matrix: [2, 3].
        points: [p, 2] pixels, x before y.
    """
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Returns the picture after a transform, uint8 [size, size] or [size, size, 3].

    Args:
        image: uint8 [h, w] or [h, w, 3].
        matrix: [2, 3], from picture to result.
        size: side of the result; it is grey (128) where the picture ends.
    """
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=BORDER
    )


class DlibLandmarks:
    """dlib's frontal face detector and 68-point predictor, for RGB or grey pictures.

    dlib gives way to other threads while it detects, so threads gain. The predictor was
    trained on iBUG 300-W, which is for research only. Raises FacesError when the
    packages are missing.
    """

    def __init__(self):
        try:
            import dlib
        except ImportError:
            raise FacesError(_install("dlib")) from None
        spec = importlib.util.find_spec("face_recognition_models")
        folders = spec.submodule_search_locations if spec else None
        found = [p for f in folders or () if (p := Path(f, PREDICTOR)).is_file()]
        if not found:
            raise FacesError(_install("face_recognition_models"))
        self.name = f"dlib {dlib.__version__}, 68 points"
        self._predictor = str(found[0])

    def find(self, image: np.ndarray, onset: Onset) -> np.ndarray | None:
        """68 iBUG landmarks of a face.

        Args:
            image: uint8 [h, w] or [h, w, 3] RGB.
            onset: as in `CsvLandmarks.find`; not used.

        Returns:
            float64 [68, 2] pixels, None without a face.
        """

        image = np.ascontiguousarray(image)
        # First reduced to 640 pixels, which is fast; then as it is; then, as dlib needs
        # faces of 80 pixels, a small picture at twice its size.
        small, scale = _reduced(image)
        box = _dlib_box(small)
        if box is None and scale < 1:
            scale, box = 1.0, _dlib_box(image)
        if box is None and max(image.shape[:2]) <= DETECT:
            box = _dlib_box(image, upsample=1)
        if box is None:
            return None
        return self._points(image, box, scale)

    def find_all(self, image: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Every face of a picture that is not cut out yet, the largest first.

        Args:
            image: uint8 [h, w, 3] RGB.

        Returns:
            How sure each is, from 0 to 1, and its 68 iBUG landmarks in pixels.
        """
        image = np.ascontiguousarray(image)
        small, scale = _reduced(image)
        boxes = _dlib_boxes(small)
        if not boxes and max(image.shape[:2]) <= DETECT:
            boxes = _dlib_boxes(image, upsample=1)
        return [
            # dlib's score is a distance from its plane; most faces have 0.5 to 3.
            (float(np.clip(score / 2, 0, 1)), self._points(image, box, scale))
            for score, box in boxes
        ]

    def _points(self, image: np.ndarray, box: Box, scale: float) -> np.ndarray:
        import dlib

        box = dlib.rectangle(*(round(edge / scale) for edge in box))
        shape = _dlib_predictor(self._predictor)(image, box)
        return np.array([[p.x, p.y] for p in shape.parts()], np.float64)


class YunetLandmarks:
    """OpenCV's YuNet with a model file of the user's, 5 points.

    Raises FacesError when the file is missing or OpenCV cannot load it.
    """

    def __init__(self, model_path: str | Path):
        model = Path(model_path)
        if not model.is_file():
            raise FacesError(f"{model}: no such YuNet model")
        self.name = f"yunet {hashlib.sha256(model.read_bytes()).hexdigest()[:12]}"
        self._model = str(model)
        self._detector((DETECT, DETECT))  # a bad model is an error now, not at a clip

    def _detector(self, size: tuple[int, int]):
        try:
            return cv2.FaceDetectorYN.create(self._model, "", size)
        except cv2.error as error:
            raise FacesError(
                f"{self._model}: OpenCV cannot load it as a YuNet model: {error}"
            ) from error

    def find(self, image: np.ndarray, onset: Onset) -> np.ndarray | None:
        """Five points of the largest face.

        Args:
            image: uint8 [h, w] or [h, w, 3] RGB.
            onset: as in `CsvLandmarks.find`; not used.

        Returns:
            float64 [5, 2] pixels as in `five_points`, None without a face.
        """
        found = self.find_all(image)
        return found[0][1] if found else None

    def find_all(self, image: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Every face of a picture, the largest first.

        Args:
            image: uint8 [h, w] or [h, w, 3] RGB.

        Returns:
            How sure each is, from 0 to 1, and its five points in pixels.
        """
        code = cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR
        small, scale = _reduced(cv2.cvtColor(image, code))
        # Made anew: a detector holds its picture's size, and threads share `self`.
        found = self._detector(small.shape[1::-1]).detect(small)[1]
        rows = [] if found is None else found.tolist()
        # x, y, width, height, ten coordinates from the subject's right eye on, score.
        rows.sort(key=lambda row: (row[2] * row[3], row[14]), reverse=True)
        return [(row[14], np.reshape(row[4:14], (5, 2)) / scale) for row in rows]


def _install(package: str) -> str:
    return f"no package {package}; type: pip install 'merclip_jax[faces]'"


def _reduced(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture with a long side of at most `DETECT`, and its scale."""
    scale = min(1.0, DETECT / max(image.shape[:2]))
    if scale == 1.0:
        return image, scale
    size = [round(scale * side) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


_thread = threading.local()
_loading = threading.Lock()


def _dlib_box(image: np.ndarray, upsample: int = 0) -> Box | None:
    """Left, top, right, bottom of the largest face."""
    found = _dlib_boxes(image, upsample)
    return found[0][1] if found else None


def _dlib_boxes(image: np.ndarray, upsample: int = 0) -> list[tuple[float, Box]]:
    """Score and edges of each face, the largest first.

    Detectors have state: there is one for each thread.
    """
    import dlib

    if not hasattr(_thread, "detector"):
        _thread.detector = dlib.get_frontal_face_detector()
    boxes, scores, _ = _thread.detector.run(image, upsample, 0.0)
    # dlib's false alarms score low and may be large: the largest of the sure ones.
    faces = [
        (box.width() * box.height(), score, (box.left(), box.top()), box)
        for box, score in zip(boxes, scores, strict=True)
        if score >= 0.5 * max(scores)
    ]
    # Area, score, place: ties are broken the same way in every run.
    faces.sort(key=lambda face: face[:3], reverse=True)
    return [
        (score, (box.left(), box.top(), box.right(), box.bottom()))
        for _, score, _, box in faces
    ]


def _dlib_predictor(path: str):
    """The predictor (100 MB), loaded once for all threads: calls do not change it."""
    with _loading:
        return _load_predictor(path)


@functools.lru_cache(maxsize=1)
def _load_predictor(path: str):
    import dlib

    return dlib.shape_predictor(path)
