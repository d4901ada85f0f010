"""A clip's pictures: each read as what it is, and what is odd in all of them."""

import contextlib
import threading

import cv2
import numpy as np

from data_builders.readers.findings import Finding
from data_builders.readers.release import Clip
from data_builders.records.headers import PictureError, read_header
from data_builders.records.listening import heard

MOST_BYTES = 256 * 2**20  # a picture of the largest size, not packed at all
_PLAIN = 4  # levels: JPEG makes as much of one colour
_LARGE = 16 * 10**6  # pixels; of pictures beyond, one is decoded at a time
_one_large = threading.Lock()
_EARLY = "premature end"  # libjpeg's words; what is missing has become grey


def read_picture(data: bytes) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Decodes a picture that can be stored as it is.

    Args:
        data: A jpg, png or bmp file.

    Returns:
        BGR uint8 [h, w, 3], a grey one with equal channels; and what is odd: (kind of
        finding, text).

    Raises:
        PictureError: If it is none; says what was expected.
    """
    header = read_header(data)
    large = header.width * header.height > _LARGE
    try:
        with _one_large if large else contextlib.nullcontext():
            image, said = heard(
                lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            )
    except (cv2.error, MemoryError) as error:
        raise PictureError(f"expected a readable picture ({_short(error)})") from error
    if image is None:
        raise PictureError("expected a readable picture, its data are damaged")
    # An EXIF tag may turn it.
    if sorted(image.shape[:2]) != sorted((header.height, header.width)):
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise PictureError(
            f"expected {header.width} x {header.height} by its header, found {size}"
        )
    if _EARLY in said:
        raise PictureError("expected a whole jpg, its data end early")
    told = [("doubtful", f"the decoder says: {said[:200]}")] if said else []
    return image, header.told + told


class Seen:
    """What is odd in a clip's pictures, gathered while they come one by one."""

    def __init__(self, clip: Clip):
        self._clip = clip
        self._where = f"{clip.row.where}, clip {clip.row.clip}"
        self._sizes: set[tuple[int, int]] = set()
        self._told: dict[tuple[str, str], list[str]] = {}
        self._first: np.ndarray | None = None
        self._equal = 0

    def add(self, number: int, image: np.ndarray, told: list[tuple[str, str]]) -> None:
        """Looks at a picture.

        Args:
            number: Of its frame.
            image: BGR uint8 [h, w, 3].
            told: What `read_picture` says of it.
        """
        self._sizes.add(image.shape[:2])
        name = self._clip.files[number].name
        if _of_one_colour(image):
            told = [*told, ("blank", "of one colour")]
        for what in dict.fromkeys(told):
            self._told.setdefault(what, []).append(name)
        if self._first is None:
            self._first = image
        # Once one has moved, the others need not be compared.
        if self._equal is not None:
            same = np.array_equal(image, self._first)
            self._equal = self._equal + 1 if same else None

    def findings(self) -> list[Finding]:
        """Returns a finding for each kind of oddity."""
        found = []
        if len(self._sizes) > 1:
            listed = ", ".join(f"{w}x{h}" for h, w in sorted(self._sizes))
            found.append(self._finding("size", listed))
        total = len(self._clip.files)
        for (kind, text), names in self._told.items():
            text = f"{len(names)} of {total}, the first {names[0]}: {text}"
            found.append(self._finding(kind, text))
        if self._equal == total > 1:
            found.append(self._finding("still", f"all {total} are equal"))
        return found

    def _finding(self, kind: str, text: str) -> Finding:
        return Finding(kind, self._where, text, self._clip.row.clip)


def _of_one_colour(image: np.ndarray) -> bool:
    # Of a picture with anything in it, every 16th pixel shows it.
    for pixels in (image[::16, ::16], image):
        flat = pixels.reshape(-1, 3)
        if (flat.max(0).astype(int) - flat.min(0)).max() > _PLAIN:
            return False
    return True


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
