"""A detector of AUs after Micro-AU CLIP, from onset, apex and landmarks.

Its equations are ours: of the paper no more than the outline is known to us.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax import facs
from merclip_jax.augment import points
from merclip_jax.augment.points import PointAugmentation
from merclip_jax.data.clips import Clips
from merclip_jax.data.record import build_command
from merclip_jax.data.view import View
from merclip_jax.losses import au as losses
from merclip_jax.losses.au import AULossOptions
from merclip_jax.models import micro_au_clip
from merclip_jax.models.au_regions import POINTS
from merclip_jax.models.clip_vit import SIZES
from merclip_jax.models.micro_au_clip import MicroAUOptions, MicroAUOutput, picture
from merclip_jax.scoring import emotion_rules
from merclip_jax.scoring.au_task import AUScoreOptions, AUTask
from merclip_jax.systems import sentences
from merclip_jax.systems.micro_au_clip_shown import MicroAuClipShown
from merclip_jax.systems.system import (
    Batch,
    Context,
    Execution,
    Outputs,
    Scalar,
    Variables,
)
from merclip_jax.text import au_prompts
from merclip_jax.text.table import TextTower
from merclip_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class MicroAuClip(MicroAuClipShown):
    """The system: options, and the text tower that sentences are encoded with.

    tower: None for a random one, made from the sentences of all AUs; threshold: how its
    answers are read, which is no part of the method.
    """

    view: View = View(frames=2, image_size=224, sampling="onset_apex")
    model: MicroAUOptions = MicroAUOptions()
    loss_options: AULossOptions = AULossOptions()
    augmentation: PointAugmentation = PointAugmentation()
    execution: Execution = dataclasses.field(default=Execution(), compare=False)
    tower: TextTower | None = dataclasses.field(default=None, repr=False, compare=False)
    threshold: str = dataclasses.field(default=AUScoreOptions.threshold, compare=False)

    name = "micro_au_clip"
    title = "Micro-AU CLIP (our equations)"
    inputs = ("landmarks",)
    together = 0  # the contrastive loss compares all clips of a batch
    scalars = (
        Scalar("loss", "Loss"),
        Scalar("loss/bce", "Detection loss"),
        Scalar("loss/contrastive", "Contrastive loss"),
        Scalar("loss/dependency", "Dependency loss"),
        Scalar("answered", "Share of AUs answered", ".1%"),
    )

    @property
    def task(self) -> AUTask:
        """F1 of each AU, and their mean."""
        names = tuple(f"AU{number}" for number in self.model.aus)
        return AUTask(names, self.threshold)

    @property
    def module(self) -> micro_au_clip.MicroAUClip:
        """The Flax module."""
        remat = self.execution.remat
        return micro_au_clip.micro_au_clip(self.model, remat=remat)

    def columns(self, clips: Clips) -> dict[str, np.ndarray]:
        """Which AUs each clip shows int32 [n, a], and its landmarks [n, 68, 2].

        Sides do not count, and an AU that one of several alternatives names is there.
        Raises ValueError for clips without the 68 points.
        """
        aus = [self._shown(cell) for cell in clips.au_cell.tolist()]
        marks = np.asarray(clips.landmarks, np.float32)
        if marks.shape[1:] != (POINTS, 2):
            command = build_command(clips.dataset, clips.metadata, every_frame=False)
            raise ValueError(
                f"clip {clips.clip[0]}: {self.title} needs the {POINTS} points of "
                f"every face, found {marks.shape[1]}; this adds them:\n  {command}"
            )
        lost = ~np.isfinite(marks).all((1, 2))
        if lost.any():
            raise ValueError(
                f"clip {clips.clip[lost][0]}: {self.title} needs the {POINTS} points "
                f"of every face, found some that are no numbers ({lost.sum()} clips)"
            )
        return {"aus": np.asarray(aus, np.int32), "landmarks": marks}

    def run_context(self, clips: Clips) -> dict[str, jax.Array]:
        """Features [a, 2, e] of the AUs' sentences, absent and present."""
        del clips  # what is said of an AU is the same for all datasets
        tower = self.tower or self._random_tower()
        return {"features": au_prompts.encode(tower, self.model.aus)}

    def fold_context(
        self, train_clips: Clips, columns: dict[str, np.ndarray]
    ) -> dict[str, jax.Array]:
        """How often the training clips show each AU, and which with which.

        weights: [a] of rare AUs; prior: [a, a] that AU j comes with AU i; phi: [a, a]
        their correlation.
        """
        del train_clips
        aus = columns["aus"]
        return {
            "weights": jnp.asarray(losses.positive_weights(aus)),
            "prior": jnp.asarray(losses.co_occurrence(aus)),
            "phi": jnp.asarray(losses.correlation(aus)),
        }

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Random variables; the shapes of the frames are all that counts."""
        _, _, h, w, _ = batch["frames"].shape
        embed = SIZES[self.model.size].embed
        return self.module.init(
            key,
            jnp.zeros((1, h, w, 3), jnp.float32),
            jnp.zeros((1, POINTS, 2), jnp.float32),
            jnp.zeros((len(self.model.aus), 2, embed), jnp.float32),
            train=False,
        )

    def shapes(self) -> Variables:
        """Shapes of a member's variables; nothing is computed."""
        frames = jax.ShapeDtypeStruct((1, *self.view.shape), jnp.float32)

        def init(frames: Array) -> Variables:
            return self.init(jax.random.key(0), {"frames": frames})

        return jax.eval_shape(init, frames)

    def loss(
        self,
        variables: Variables,
        context: Context,
        batch: Batch,
        *,
        key: jax.Array,
        epoch: Array,
    ) -> tuple[Array, tuple[Variables, dict[str, Array]]]:
        """Weighted loss of a batch, no changed collection, scalars."""
        del epoch  # the weights of the losses stay what they are
        frames, landmarks = self._augment(key, batch)
        out = self._answers(variables, context, frames, landmarks, train=True)
        fold = context.fold
        loss, scalars = losses.objective(
            self.loss_options,
            out,
            aus=batch["aus"],
            weights=fold["weights"],
            prior=fold["prior"],
            phi=fold["phi"],
        )
        return loss, ({}, scalars)

    def predict(self, variables: Variables, context: Context, batch: Batch) -> Outputs:
        """AU logits [b, a], attention to the slots of regions [b, a, k], emotions.

        The last are scores [b, e] by the AUs' sentences, as in `emotion_rules`.
        """
        frames = batch["frames"].astype(jnp.float32)
        return self._outputs(
            self._answers(variables, context, frames, batch["landmarks"], train=False)
        )

    def _outputs(self, out: MicroAUOutput) -> Outputs:
        every = losses.own(losses.scores(out.visual, out.text, out.scale))
        logits = losses.presence(every)
        weights = emotion_rules.weights_of_all(self.model.aus)
        emotions = emotion_rules.by_text(
            jax.nn.sigmoid(logits), out.visual, out.text, weights.astype(out.text.dtype)
        )
        return {"aus": logits, "attention": out.slots, emotion_rules.TEXT: emotions}

    def augmented(self, batch: Batch, *, key: jax.Array) -> Array:
        """The frames that `loss` trains on with this key, [b, t, h, w, 3] in 0..255."""
        return self._augment(key, batch)[0]

    def remarks(self, clips: Clips, columns: dict[str, np.ndarray]) -> list[str]:
        """What the method is, and how many clips show none of its AUs."""
        del clips
        none = int((~columns["aus"].any(1)).sum())
        said = [
            "After Micro-AU CLIP, whose equations are not at hand: ours. Its published "
            "scores are of another method."
        ]
        if none:
            said.append(f"Clips with none of these AUs: {none}.")
        return said

    def _shown(self, cell: str) -> list[bool]:
        numbers = facs.parse_cell(cell).numbers
        return [au in numbers for au in self.model.aus]

    def _augment(self, key: jax.Array, batch: Batch) -> tuple[Array, Array]:
        with jax.named_scope("augment"):  # in profiles and in benchmarks/aot.py
            return points.augment(
                key,
                batch["frames"],
                batch["landmarks"],
                self.augmentation,
                motion=self.model.input == "flow",
            )

    def _answers(
        self,
        variables: Variables,
        context: Context,
        frames: Array,
        landmarks: Array,
        *,
        train: bool,
    ) -> MicroAUOutput:
        seen = picture(frames, self.model.input)
        sentences = context.run["features"]
        return self.module.apply(variables, seen, landmarks, sentences, train=train)

    def _random_tower(self) -> TextTower:
        """A tower whose sentences differ: those of all AUs, whatever the dataset."""
        texts = au_prompts.sentences(tuple(au_prompts.WORDS))
        return sentences.random_tower(SIZES[self.model.size], texts)
