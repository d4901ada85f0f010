"""Landmarks of faces in pictures, as dlib or YuNet see them; both are optional.

A landmark source has a `name` for the records and `find(image, onset)` -> float64
[p, 2] or None without a face; `find_all(image)` gives every face of a picture.
`CsvLandmarks`, in `landmark_tables`, looks them up in tables instead.
"""

import functools
import hashlib
import importlib.util
import threading
from pathlib import Path

import cv2
import numpy as np

from merclip_jax.faces.onset import FacesError, Onset

DETECT = 640  # long side of the picture in which a face is looked for first
PREDICTOR = "models/shape_predictor_68_face_landmarks.dat"
Box = tuple[int, int, int, int]  # left, top, right, bottom


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
