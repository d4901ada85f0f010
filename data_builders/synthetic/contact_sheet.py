"""Picture of the dataset: faces, ordered clips, and the fields of the 18 AUs.

`python -m data_builders.synthetic.contact_sheet --out docs/images/synthetic.png`
"""

import argparse
import dataclasses
from pathlib import Path

import cv2
import numpy as np

from data_builders.synthetic.clip import ClipTruth, make_clip, profile
from data_builders.synthetic.config import FULL, ClipConfig, clips_per_subject
from data_builders.synthetic.emotions import EMOTIONS, rows_of
from data_builders.synthetic.face_points import to_pixels
from data_builders.synthetic.fields import AUS, CELLS
from data_builders.synthetic.render import subject_face
from merclip_jax.data.sampling import key_frames

INK, PALE, PAPER = (40, 40, 44), (150, 150, 156), (250, 250, 248)
BLUE, RED, GREY = (38, 92, 170), (190, 60, 44), (178, 178, 184)
WIDTH, MARGIN, FRAME = 1360, 24, 112
# Jaw, brows, nose, eyes, lips: first and last point of iBUG's, and whether it closes.
LINES = ((0, 17, False), (17, 22, False), (22, 27, False), (27, 31, False))
LINES += ((31, 36, False), (36, 42, True), (42, 48, True), (48, 60, True))
LINES += ((60, 68, True),)


def _canvas(height: int, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _write(image, text, x, y, *, scale=0.46, colour=INK, bold=False):
    thick = 2 if bold else 1
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(image, text, (x, y), font, scale, colour, thick, cv2.LINE_AA)


def _heading(text: str, note: str) -> np.ndarray:
    strip = _canvas(54)
    _write(strip, text, MARGIN, 26, scale=0.62, bold=True)
    _write(strip, note, MARGIN, 46, scale=0.42, colour=PALE)
    return strip


def _sharpest_size(image: np.ndarray, size: int) -> np.ndarray:
    grows = size > image.shape[0]
    how = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    return cv2.resize(image, (size, size), interpolation=how)


def faces(config: ClipConfig, count: int = 12) -> np.ndarray:
    """Draws neutral faces of the first subjects in one row, uint8 [h, w, 3].

    Args:
        config: The dataset's settings.
        count: How many.
    """
    size = (WIDTH - 2 * MARGIN) // count
    strip = _canvas(size + 8)
    for s in range(count):
        face = np.rint(subject_face(config, s)[0].texture).astype(np.uint8)
        x = MARGIN + s * size
        strip[:size, x : x + size - 4] = _sharpest_size(face, size)[:, : size - 4]
    return strip


def landmarks(config: ClipConfig, count: int = 6) -> np.ndarray:
    """Draws iBUG's 68 points on the first subjects' neutral faces, uint8 [h, w, 3].

    Args:
        config: The dataset's settings.
        count: How many subjects.
    """
    size = (WIDTH - 2 * MARGIN) // count
    strip = _canvas(size + 8)
    for s in range(count):
        face = subject_face(config, s)[0]
        image = _sharpest_size(np.rint(face.texture).astype(np.uint8), size)
        points = np.rint(to_pixels(face.points, size) * 16).astype(np.int32)
        for first, end, closed in LINES:
            line = [points[first:end]]
            cv2.polylines(image, line, closed, PAPER, 1, cv2.LINE_AA, 4)
        for point in points.tolist():
            cv2.circle(image, point, 24, BLUE, -1, cv2.LINE_AA, 4)
        x = MARGIN + s * size
        strip[:size, x : x + size - 4] = image[:, : size - 4]
    return strip


def _curves(clip: ClipTruth, width: int, height: int) -> np.ndarray:
    """Intensity over time: each active AU-side, those of the expression in blue."""
    image = np.full((height, width, 3), PAPER, np.uint8)
    x = np.linspace(4, width - 4, len(clip.au_intensity))

    def line(values, colour, thick):
        y = height - 18 - (height - 34) * values
        points = np.rint(np.stack([x, y], -1) * 16).astype(np.int32)
        cv2.polylines(image, [points], False, colour, thick, cv2.LINE_AA, 4)

    for cell in clip.decoy_cells:
        others = [clip.au_cell, *(c for c in clip.decoy_cells if c != cell)]
        shared = {row for other in others for row in rows_of(other)}
        rows = [row for row in rows_of(cell) if row not in shared]
        for row in rows[:1]:
            line(clip.au_intensity[:, row], GREY, 1)
    line(profile(clip.onset, clip.apex, clip.offset), BLUE, 2)
    return image


def clip_row(config: ClipConfig, index: int, emotion: str) -> np.ndarray:
    """Draws a clip: what it holds, seven of its key frames, change at the apex, curves.

    Args:
        config: The dataset's settings.
        index: Which clip.
        emotion: What it is made to show.

    Returns:
        The row, uint8 [h, w, 3].
    """
    clip = make_clip(config, index, emotion=emotion)
    keys = key_frames(clip.onset, clip.apex, clip.offset, config.key_frames)
    shown = keys[np.rint(np.linspace(0, len(keys) - 1, 7)).astype(int)]
    row = _canvas(FRAME + 6)
    _write(row, emotion, MARGIN, 34, scale=0.56, bold=True)
    _write(row, f"AU {clip.au_cell}", MARGIN, 58, colour=BLUE)
    _write(row, "decoys " + ", ".join(clip.decoy_cells), MARGIN, 80, colour=PALE)
    _write(row, f"{clip.amplitude_px:.1f} px", MARGIN, 100, colour=PALE)
    x = 206
    for t in shown:
        row[:FRAME, x : x + FRAME] = _sharpest_size(clip.frames[t], FRAME)
        x += FRAME + 4
    change = clip.frames[clip.apex].astype(np.float32).mean(-1)
    change -= clip.frames[0].astype(np.float32).mean(-1)
    level = np.clip(128 + 3 * cv2.GaussianBlur(change, (0, 0), 1.5), 0, 255)
    grey = np.repeat(level.astype(np.uint8)[..., None], 3, -1)
    row[:FRAME, x + 6 : x + 6 + FRAME] = _sharpest_size(grey, FRAME)
    x += FRAME + 14
    row[:FRAME, x : WIDTH - MARGIN] = _curves(clip, WIDTH - MARGIN - x, FRAME)
    return row


def _arrows(image, field, colour, reach):
    """Draw a displacement field [h, w, 2] (peak 1) as arrows on a grid."""
    size = len(image)
    for y in range(6, size, 8):
        for x in range(6, size, 8):
            at = field[y * len(field) // size, x * len(field) // size]
            if np.hypot(*at) < 0.15:
                continue
            end = (round(x + reach * float(at[0])), round(y + reach * float(at[1])))
            cv2.arrowedLine(image, (x, y), end, colour, 1, cv2.LINE_AA, tipLength=0.35)


def au_sheet(config: ClipConfig, subject: int) -> np.ndarray:
    """Draws the 18 AUs on one face: left half red, right half blue.

    Args:
        config: The dataset's settings.
        subject: Whose face.

    Returns:
        Two rows of poses, three times the config's largest motion, uint8 [h, w, 3].
    """
    columns, size = 9, (WIDTH - 2 * MARGIN) // 9
    face, fields = subject_face(config, subject)
    rows = []
    grid = np.stack(np.meshgrid(np.arange(config.size), np.arange(config.size)), -1)
    for i, au in enumerate(AUS):
        if i % columns == 0:
            rows.append(_canvas(size + 26))
        pair = [CELLS.index(f"{side}{au}") for side in ("L", "R")]
        move = fields.displacement[pair].sum(0) * 3.0 * config.amplitude_px[1]
        at = ((grid - move + 0.5) * config.supersample).astype(np.float32)
        posed = cv2.remap(
            face.texture,
            at[..., 0],
            at[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        posed *= np.exp(3.0 * config.shade * fields.shade[pair].sum(0))[..., None]
        cell = _sharpest_size(np.clip(posed, 0, 255).astype(np.uint8), size - 6)
        for row, colour in zip(pair, (RED, BLUE), strict=True):
            _arrows(cell, fields.displacement[row], colour, 12.0)
        x = MARGIN + (i % columns) * size
        rows[-1][: size - 6, x : x + size - 6] = cell
        _write(rows[-1], f"AU{au}", x, size + 12)
    return np.concatenate(rows)


def contact_sheet(config: ClipConfig) -> np.ndarray:
    """Returns the whole picture, uint8 [h, w, 3] RGB."""
    quiet = dataclasses.replace(config, glasses=0.0, beard=0.0)
    first = np.cumsum([0, *clips_per_subject(config)])  # a new subject in each row
    parts = [
        _canvas(10),
        _heading("Subjects", "drawn from numbers; identity says nothing about emotion"),
        faces(config),
        _heading("Landmarks", "iBUG's 68 points, known and not detected"),
        landmarks(config),
        _heading(
            "Clips",
            "onset to offset; change at the apex; intensity over time: expression in "
            "blue, decoys (the same values in random order) in grey",
        ),
        *(clip_row(config, int(first[i + 4]), e) for i, e in enumerate(EMOTIONS)),
        _heading(
            "Action units",
            "exaggerated three times; arrows: motion of the subject's left half (red) "
            "and right half (blue)",
        ),
        au_sheet(quiet, 2),
        _canvas(8),
    ]
    return np.concatenate(parts)


def main():
    """Writes the contact sheet of the `full` config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out), contact_sheet(FULL)[..., ::-1]):
        raise OSError(f"{out}: OpenCV could not write it; expected a .png path")
    print(out)


if __name__ == "__main__":
    main()
