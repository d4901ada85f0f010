"""A second system, as small as can be: which AUs move, from differences of frames.

It shares nothing with MER-CLIP: another target, other outputs, its own scalars, a
length in steps, two learning rates, constants of the run and of the fold.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from merclip_jax import facs
from merclip_jax.build import Job
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.scoring.tasks import AUTask
from merclip_jax.systems.system import Execution, Exhibit, Scalar, System
from merclip_jax.training.optim import Optimiser, Steps, adam
from merclip_jax.training.options import TrainOptions

AUS = (1, 2, 4, 6, 7, 12)


class Linear(nn.Module):
    """One matrix on the difference between the brightest moment and the onset."""

    aus: int

    @nn.compact
    def __call__(self, frames):
        change = (frames[:, 1:] - frames[:, :1]) / 255
        return nn.Dense(self.aus, name="dense")(change.reshape(len(frames), -1))


@dataclasses.dataclass(frozen=True)
class Tiny(System):
    """AUs of a clip by one linear layer."""

    view: View = View(frames=4, image_size=16, grey=True, sampling="uniform")
    execution: Execution = Execution()
    seen: list | None = dataclasses.field(default=None, compare=False)

    name = "tiny"
    title = "Tiny"
    task = AUTask(tuple(f"AU{number}" for number in AUS))
    inputs = ("brightness",)
    scalars = (
        Scalar("loss", "Loss"),
        Scalar("positive", "Share of AUs answered", ".1%"),
    )

    @property
    def module(self):
        return Linear(len(AUS))

    def columns(self, clips):
        found = [{au.number for au in facs.parse_cell(c).aus} for c in clips.au_cell]
        aus = np.asarray([[number in own for number in AUS] for own in found])
        means = np.asarray([clips.decode(i).mean() for i in range(len(clips))])
        return {"aus": aus.astype(np.int32), "brightness": means.astype(np.float32)}

    def run_context(self, clips):
        return {"share": jnp.asarray(0.5)}

    def fold_context(self, train_clips, columns):
        """Positive weights: negatives over positives of the training clips alone."""
        if self.seen is not None:
            self.seen.append(train_clips)
        shown = columns["aus"].sum(0)
        weights = (len(train_clips) - shown) / np.maximum(shown, 1)
        return {"positive": jnp.asarray(weights.astype(np.float32))}

    def init(self, key, batch):
        return self.module.init(key, batch["frames"].astype(jnp.float32))

    def loss(self, variables, context, batch, *, key, epoch):
        frames = batch["frames"].astype(jnp.float32)
        logits = self.module.apply(variables, frames)
        target = batch["aus"].astype(jnp.float32)
        weight = 1 + (context.fold["positive"][None] - 1) * target
        losses = optax.sigmoid_binary_cross_entropy(logits, target)
        loss = context.run["share"] * jnp.mean(weight * losses)
        return loss, ({}, {"loss": loss, "positive": jnp.mean(logits > 0)})

    def predict(self, variables, context, batch):
        logits = self.module.apply(variables, batch["frames"].astype(jnp.float32))
        return {"aus": logits, "energy": batch["brightness"]}

    def remarks(self, clips, columns):
        return ["Tiny says nothing about people."]

    def exhibits(self, clips, columns, context, index, outputs):
        return (Exhibit("Energy", ((float(outputs["energy"]), "mean grey", False),)),)


def optimiser(steps):
    """Adam at a constant rate; the bias learns ten times as fast."""
    labels = {"dense": {"kernel": "slow", "bias": "fast"}}
    tx = optax.partition(
        {"slow": adam(), "fast": optax.chain(adam(), optax.scale(10.0))}, labels
    )
    return Optimiser(tx, lambda step, per_epoch: jnp.asarray(3e-3), Steps(steps))


def job(clips, *, steps=25, seen=None, options=None, **protocol):
    """Leave-one-subject-out of `clips`, which are seen as the system's view says."""
    system = Tiny(seen=seen)
    return Job(
        name="tiny_aus",
        recipe="none",
        system=system,
        optimiser=optimiser(steps),
        clips=dataclasses.replace(clips, view=system.view),
        data=DataOptions(residency="device"),
        protocol=ProtocolOptions(**protocol),
        options=options or TrainOptions(batch_size=8, scan_steps=5, stack=2),
        values={"system": "tiny", "steps": steps, **protocol},
    )
