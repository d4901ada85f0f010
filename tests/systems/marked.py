"""Clips with made-up landmarks, and the detector of AUs at its smallest."""

import dataclasses

import numpy as np

from merclip_jax.build import Job
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.training.finetune import FinetuneOptions, finetune
from merclip_jax.training.options import TrainOptions

AUS = (1, 2, 4, 6, 7, 12)
VIEW = View(frames=2, image_size=32, sampling="onset_apex")
MODEL = MicroAUOptions(aus=AUS, size="tiny")


def face(side=32):
    """68 points of a rough face that fills a picture."""
    points = np.zeros((68, 2))
    points[:17] = np.stack(
        [np.linspace(2, 30, 17), 30 - 16 * np.linspace(-1, 1, 17) ** 2], 1
    )
    points[17:27] = np.stack([np.linspace(4, 28, 10), np.full(10, 8.0)], 1)
    points[27:31] = np.stack([np.full(4, 16.0), np.linspace(10, 18, 4)], 1)
    points[31:36] = np.stack([np.linspace(13, 19, 5), np.full(5, 20.0)], 1)
    points[36:42] = np.stack([np.linspace(7, 12, 6), np.full(6, 12.0)], 1)
    points[42:48] = np.stack([np.linspace(20, 25, 6), np.full(6, 12.0)], 1)
    points[48:] = np.stack([np.linspace(10, 22, 20), np.full(20, 25.0)], 1)
    return (points * side / 32).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Marked(Clips):
    """Clips with landmarks [n, 68, 2]."""

    landmarks: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def take(self, index):
        made = super().take(index)
        return dataclasses.replace(made, landmarks=self.landmarks[index])


def marked(clips, view=VIEW):
    """The same clips as the view sees them, each with a face of its own."""
    values = {f.name: getattr(clips, f.name) for f in dataclasses.fields(Clips)}
    rng = np.random.default_rng(0)
    moved = rng.uniform(-1, 1, (len(clips), 1, 2))
    marks = (face(view.image_size)[None] + moved).astype(np.float32)
    return Marked(**values | {"landmarks": marks, "view": view})


def system(**options):
    return MicroAuClip(**{"view": VIEW, "model": MODEL} | options)


def job(clips, *, epochs=6, made=None, options=None, **protocol):
    """Leave-one-subject-out of marked clips."""
    made = made or system()
    tuned = FinetuneOptions(peak_lr=1e-3, clip_lr=1e-3, warmup_epochs=1)
    return Job(
        name="micro_au",
        recipe="none",
        system=made,
        optimiser=finetune(tuned, epochs=epochs, frozen=made.model.frozen),
        clips=clips,
        data=DataOptions(residency="device"),
        protocol=ProtocolOptions(**protocol),
        options=options or TrainOptions(batch_size=8, scan_steps=5, stack=3),
        values={"system": "micro_au_clip", "epochs": epochs, **protocol},
    )
