"""A method of your own, from clips to a card: emotions from where a face changes most.

    python examples/add_a_system.py --workdir=runs/mine

It trains leave-one-subject-out on procedural clips and writes card and report, without
a line of the trainer knowing it. What a method may see: merclip_jax/systems/system.py.
"""

import argparse
import dataclasses
from pathlib import Path

import jax.numpy as jnp
import optax
from flax import linen as nn

from configs import synthetic_3class
from data_builders.build import build
from merclip_jax import experiment
from merclip_jax.build import Job
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.scoring.tasks import EmotionTask
from merclip_jax.systems.system import Scalar, System
from merclip_jax.training.optim import AdamWOptions, adamw
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.workdir import Workdir


class Changes(nn.Module):
    """Logits [b, classes] of grey frames [b, t, h, w, 1] in 0..255."""

    classes: int

    @nn.compact
    def __call__(self, frames):
        change = jnp.abs(frames[:, 1:] - frames[:, :1]).mean((1, 4)) / 255  # [b, h, w]
        return nn.Dense(self.classes)(change.reshape(len(change), -1))


@dataclasses.dataclass(frozen=True)
class Mine(System):
    """Hashable numbers and methods; `System` has those that are left out."""

    classes: tuple[str, ...]
    view: View = View(frames=8, image_size=32, grey=True)

    name = "changes"
    title = "Changes"
    scalars = (Scalar("loss", "Loss"),)
    task = property(lambda self: EmotionTask(self.classes))
    module = property(lambda self: Changes(len(self.classes)))

    def columns(self, clips):
        return {"label": clips.label}

    def init(self, key, batch):
        return self.module.init(key, batch["frames"].astype(jnp.float32))

    def loss(self, variables, context, batch, *, key, epoch):
        logits = self.predict(variables, context, batch)["logits"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return losses.mean(), ({}, {"loss": losses.mean()})

    def predict(self, variables, context, batch):
        frames = batch["frames"].astype(jnp.float32)
        return {"logits": self.module.apply(variables, frames)}


def main(argv=None):
    """Build clips, train, score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workdir", type=Path, default=Path("runs/mine"))
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    given = parser.parse_args(argv)
    build("synthetic/mini", data_dir=given.data_dir)
    classes = synthetic_3class.get_config().data.classes
    data = DataOptions("synthetic/mini", data_dir=str(given.data_dir), classes=classes)
    system = Mine(tuple(dict(classes)))
    job = Job(
        name="synthetic_3class",
        recipe="none",
        system=system,
        optimiser=adamw(AdamWOptions(peak_lr=1e-3), epochs=5),
        clips=load_clips(data, system.view),
        data=data,
        protocol=ProtocolOptions(),
        options=TrainOptions(batch_size=8, epochs=5, scan_steps=2),
        values={"epochs": 5},  # for the card
    )
    with Workdir(given.workdir) as workdir:
        card = experiment.train_and_score(job, workdir)
    print("UF1", card["scores"][0]["rows"][0]["mean"])


if __name__ == "__main__":
    main()
