"""The detector of AUs at its smallest."""

from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.job import Job
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.training.finetune import FinetuneOptions, finetune
from merclip_jax.training.options import TrainOptions

AUS = (1, 2, 4, 6, 7, 12)
VIEW = View(frames=2, image_size=32, sampling="onset_apex")
MODEL = MicroAUOptions(aus=AUS, size="tiny")


def system(**options):
    return MicroAuClip(**{"view": VIEW, "model": MODEL} | options)


def job(clips, *, epochs=6, made=None, options=None, **protocol):
    """Leave-one-subject-out of clips."""
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
