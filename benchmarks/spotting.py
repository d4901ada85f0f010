"""What is found in videos whose truth is known: spotting, recognition, false alarms.

    python -m merclip_jax.predict --demo
    python -m benchmarks.spotting

Procedural people whom no training window shows, with head motion, blinks and speech, at
several frame rates; a public-domain photograph (scikit-image's astronaut, NASA) that AU
fields move; videos in which nothing shows but motion, and still ones. A hit is an event
whose interval has an intersection over union of 0.5 or more with a true one.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data_builders.synthetic.emotions import group_of
from data_builders.synthetic.fields import LEFT, SPAN, TOP, au_fields
from data_builders.synthetic.recording import Sitter, before_a_wall, frames_at
from data_builders.synthetic.script import RecordingConfig, Script
from data_builders.synthetic.video import draw, recording, write_video
from merclip_jax.faces.align import align_matrix, transform_points, warp
from merclip_jax.faces.detectors import DlibLandmarks
from merclip_jax.scoring import metrics
from merclip_jax.video import demo
from merclip_jax.video.answer import Answerer
from merclip_jax.video.decode import Video
from merclip_jax.video.events import Event, overlap
from merclip_jax.video.look import look
from merclip_jax.video.result import Settings
from merclip_jax.weights import final

SECONDS, EXPRESSIONS, IOU = 40.0, 7, 0.5
_GROUPS = ("negative", "positive", "surprise")


@dataclasses.dataclass
class Counts:
    """Events over several videos: hits, false alarms, misses; pairs of (true, said)."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    seconds: float = 0.0
    pairs: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    @property
    def f1(self) -> float:
        """Of spotting."""
        total = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / total if total else 0.0

    @property
    def uf1(self) -> float:
        """Of the emotion group of hits, NaN without any."""
        if not self.pairs:
            return float("nan")
        true, said = np.array(self.pairs).T
        table = metrics.confusion_matrix(true, said, classes=len(_GROUPS))
        return metrics.scores(table).uf1


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=demo.folder() / "run")
    parser.add_argument("--videos", type=int, default=3, help="of each kind")
    parser.add_argument("--thresholds", type=float, nargs="*", default=[0.8])
    flags = parser.parse_args()
    answerer = Answerer(final.load(flags.checkpoint))
    find = DlibLandmarks().find_all
    still = recording(blinks=0.0, speech=0.0)
    still = dataclasses.replace(still, drift_px=0.0, turn_deg=0.0)
    rows: list[tuple[str, RecordingConfig, float, int, Callable]] = [
        (f"procedural, {fps:.0f} a second", recording(), fps, EXPRESSIONS, _procedural)
        for fps in (30.0, 60.0, 120.0, 200.0)
    ]
    rows += [
        ("photograph, 60 a second", recording(), 60.0, EXPRESSIONS, photograph),
        ("motion alone, 30 a second", recording(), 30.0, 0, _procedural),
        ("motion alone, photograph", recording(), 60.0, 0, photograph),
        ("still, 30 a second", still, 30.0, 0, _procedural),
    ]
    print("| videos | threshold | hits | missed | false alarms a minute | F1 | UF1 |")
    print("|---|---|---|---|---|---|---|")
    for name, config, fps, expressions, sitter in rows:
        for threshold, counts in _counted(
            config, answerer, find, flags, fps, expressions, sitter
        ).items():
            f1, uf1 = f"{counts.f1:.2f}", f"{counts.uf1:.2f}"
            if not expressions:
                f1 = uf1 = "-"
            alarms = counts.false / counts.seconds * 60
            print(
                f"| {name} | {threshold:g} | {counts.hits} | {counts.missed} | "
                f"{alarms:.2f} | {f1} | {uf1} |",
                flush=True,
            )


def _counted(
    config: RecordingConfig,
    answerer: Answerer,
    find: Callable,
    flags: argparse.Namespace,
    fps: float,
    expressions: int,
    sitter: Callable[[RecordingConfig], Sitter | None],
) -> dict[float, Counts]:
    found = {threshold: Counts() for threshold in flags.thresholds}
    who = sitter(config)
    for seed in range(flags.videos):
        script = draw(config, seed=seed, seconds=SECONDS, expressions=expressions)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            times = np.arange(round(SECONDS * fps)) / fps
            rng = np.random.default_rng(seed)
            drawn = frames_at(config, script, times, rng, sitter=who)
            write_video(path, (frame.picture for frame in drawn), times)
            for threshold, counts in found.items():
                settings = Settings(threshold=threshold)
                result = look(Video(path), answerer, find, settings)
                counts.seconds += SECONDS
                compare(result.events, script, answerer, counts)
    return found


def compare(
    events: Sequence[Event], script: Script, answerer: Answerer, counts: Counts
) -> None:
    """Adds what was found in a video to the counts; a true event is found once.

    Args:
        events: that were found.
        script: the truth.
        answerer: that found them.
        counts: changed.
    """
    left = list(script.expressions)
    for event in sorted(events, key=lambda e: -e.score):
        near = [(overlap(event.span, true.span), i) for i, true in enumerate(left)]
        best, i = max(near, default=(0.0, -1))
        if best < IOU:
            counts.false += 1
            continue
        counts.hits += 1
        true = _GROUPS.index(group_of(left.pop(i).emotion))
        p = [event.classes[answerer.classes.index(name)] for name in _GROUPS]
        counts.pairs.append((true, int(np.argmax(p))))
    counts.missed += len(left)


def _procedural(config: RecordingConfig) -> None:
    """Each script's own subject."""


def photograph(config: RecordingConfig) -> Sitter:
    """A person of a public-domain photograph, whose AUs are fields as all others'."""
    from skimage import data

    image = data.astronaut()
    points = DlibLandmarks().find(image, None)
    size = config.face.size * config.face.supersample
    matrix = align_matrix(points, size=size)
    texture = warp(image, matrix, size).astype(np.float32)
    own = transform_points(matrix, points)
    face = (own + 0.5) / size * SPAN + [LEFT, TOP]
    fields = au_fields(_anchors(face), config.face.size)
    wall = texture[:10, :10].mean((0, 1))
    return Sitter(*before_a_wall(texture, wall), fields, face)


def _anchors(points: np.ndarray) -> dict[str, tuple[float, float]]:
    """Where AU fields are anchored, of 68 landmarks: the mean of both halves."""

    def mean(*numbers: int) -> tuple[float, float]:
        own = points[list(numbers)]
        return float(np.abs(own[:, 0] - 0.5).mean()), float(own[:, 1].mean())

    eye, mouth = mean(*range(36, 48)), mean(48, 54)
    nose, chin = mean(31, 35), mean(8)
    return {
        "brow_in": mean(21, 22),
        "brow_mid": mean(19, 24),
        "brow_out": mean(17, 26),
        "lid_up": mean(37, 38, 43, 44),
        "lid_low": mean(40, 41, 46, 47),
        "eye_out": mean(36, 45),
        "cheek": (eye[0] + 0.02, eye[1] + 0.13),
        "nose_root": (0.0, eye[1] - 0.03),
        "nose_wing": nose,
        "mouth_corner": mouth,
        "lip_up": (0.0, mean(51)[1]),
        "lip_low": (0.0, mean(57)[1]),
        "jaw": (mouth[0] + 0.06, mouth[1] + 0.07),
        "chin": (0.0, 0.5 * (chin[1] + mean(57)[1])),
    }


if __name__ == "__main__":
    main()
