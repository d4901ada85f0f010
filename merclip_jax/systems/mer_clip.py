"""MER-CLIP: clips aligned with sentences on their AUs, and an emotion head.

Equations are those of the paper (MER-CLIP, 2025).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax import facs
from merclip_jax.augment import clips as augment
from merclip_jax.augment.clips import Augmentation, denormalise, normalise
from merclip_jax.data.clips import Clips
from merclip_jax.data.view import View
from merclip_jax.losses.classification import class_weights
from merclip_jax.losses.mer_clip import LossOptions, objective
from merclip_jax.models import mer_clip
from merclip_jax.models.mer_clip import MerClipOptions, MerClipOutput
from merclip_jax.scoring.tasks import EmotionTask
from merclip_jax.systems import sentences
from merclip_jax.systems.mer_clip_shown import MerClipShown, outputs_of
from merclip_jax.systems.microbatch import divided
from merclip_jax.systems.system import (
    Batch,
    Context,
    Execution,
    Outputs,
    Scalar,
    Variables,
)
from merclip_jax.text import prompts, table
from merclip_jax.text.prompts import PromptOptions, PromptSet
from merclip_jax.text.sides import likeness
from merclip_jax.text.table import TextTower
from merclip_jax.text.wording import USUAL, Wording
from merclip_jax.typing import Array

# Of brightness, contrast, saturation and hue; the released code draws it once a run.
JITTER_ORDER = tuple(int(i) for i in np.random.default_rng(0).permutation(4))
# Asked for by columns, context, remarks and each exhibit of one run's clips.
_au_prompts = functools.lru_cache(maxsize=4)(prompts.au_prompts)


@dataclasses.dataclass(frozen=True)
class MerClip(MerClipShown):
    """The system: options, and the text tower that sentences are encoded with.

    classes: emotions; epochs: of a training, which the loss weights depend on; wording:
    of AU combinations; tower: None for a random one, made from fixed sentences.
    """

    classes: tuple[str, ...]
    epochs: int
    view: View = View()
    model: MerClipOptions = MerClipOptions()
    loss_options: LossOptions = LossOptions()
    augmentation: Augmentation = Augmentation()
    prompting: PromptOptions = PromptOptions()
    wording: Wording = USUAL
    execution: Execution = dataclasses.field(default=Execution(), compare=False)
    tower: TextTower | None = dataclasses.field(default=None, repr=False, compare=False)

    name = "mer_clip"
    title = "MER-CLIP"
    inputs = ()  # the frames alone: neither AUs nor text of a test clip
    scalars = (
        Scalar("loss", "Loss"),
        Scalar("loss/contrastive", "Contrastive loss"),
        Scalar("loss/classification", "Classification loss"),
        Scalar("weight/contrastive", "Weight of each loss", ""),
        Scalar("weight/classification", "Weight of each loss", ""),
        Scalar("accuracy", "Accuracy in training", ".2f"),
    )
    data_fields = ("prompting.supervision", "prompting.positions", "wording")
    array_fields = (
        "prompting.templates",
        *(f"loss_options.contrastive_{name}" for name in ("start", "floor", "factor")),
        *(f"loss_options.{name}" for name in ("total_weight", "label_smoothing")),
        *(f"augmentation.{name}" for name in ("augmix", "flip", "colour_jitter")),
        "augmentation.static_mix",
    )

    @property
    def task(self) -> EmotionTask:
        """Emotions, scored by UF1, UAR and ACC."""
        return EmotionTask(self.classes)

    @property
    def together(self) -> int:
        """Clips that share statistics of the model."""
        return self.model.together

    @property
    def module(self) -> mer_clip.MerClip:
        """The Flax module."""
        return mer_clip.mer_clip(
            self.model,
            classes=len(self.classes),
            frames=self.view.frames,
            learn_bias=self.loss_options.contrastive == "sigmoid",
            remat=self.execution.remat,
        )

    def prompts(self, clips: Clips) -> PromptSet:
        """Every prompt that training on these clips may use."""
        templates = self.prompting.templates
        if self.prompting.supervision == "emotion":
            return prompts.emotion_prompts(self.classes, templates=templates)
        cells = tuple(clips.au_cell.tolist())
        return _au_prompts(cells, templates=templates, wording=self.wording)

    def columns(self, clips: Clips) -> dict[str, np.ndarray]:
        """Emotions, and which prompt describes each clip (-1: none)."""
        if self.prompting.supervision == "emotion":
            described = clips.label
        else:
            described = self.prompts(clips).index(clips.au_cell.tolist())
        return {"label": clips.label, "au_combination": described}

    def run_context(self, clips: Clips) -> dict[str, jax.Array]:
        """All prompts, encoded once by the frozen text tower, and how they relate.

        features: [p, s, e] of p templates x s AU combinations; mirror: [s] each with
        left and right swapped; overlap: [s, s] how much two have in common.
        """
        made = self.prompts(clips)
        # Frozen, and every prompt is known: no step ever runs the tower.
        tower = self.tower or self._random_tower(made)
        features = table.encode_table(tower, made, positions=self.prompting.positions)
        return {
            "features": features,
            "mirror": jnp.asarray(made.mirror),
            "overlap": jnp.asarray(self._overlap(made)),
        }

    def fold_context(
        self, train_clips: Clips, columns: dict[str, np.ndarray]
    ) -> dict[str, jax.Array]:
        """Weights of the emotions by their training clips, where they are balanced."""
        del train_clips
        if not self.loss_options.class_balance:
            return {}
        counts = np.bincount(columns["label"], minlength=len(self.classes))
        weights = class_weights(counts, beta=self.loss_options.class_balance)
        return {"class_weights": jnp.asarray(weights)}

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Random variables; the shapes of the frames are all that counts."""
        clip = jnp.zeros((1, *batch["frames"].shape[1:]), jnp.float32)
        return self.module.init(key, clip, train=False)

    def loss(
        self,
        variables: Variables,
        context: Context,
        batch: Batch,
        *,
        key: jax.Array,
        epoch: Array,
    ) -> tuple[Array, tuple[Variables, dict[str, Array]]]:
        """Weighted loss of a batch (eqs 8 to 15), new BN statistics, scalars."""
        # Split once by name: a new draw must not move the others.
        augment_key, template_key, dropout_key = jax.random.split(key, 3)
        clips, mirrored = self._augment(augment_key, batch)
        out, changed = self._answers(variables, clips, dropout_key)
        prompts = context.run
        described = batch["au_combination"] >= 0
        # -1 would read the last sentence; such a clip is masked out below.
        combination = jnp.maximum(batch["au_combination"], 0)
        # A mirrored face shows the mirrored AUs.
        combination = jnp.where(mirrored, prompts["mirror"][combination], combination)
        # Another wording for every clip at every step, as the paper's templates ask.
        template = jax.random.randint(
            template_key, combination.shape, 0, self.prompting.templates
        )
        loss, scalars = objective(
            self.loss_options,
            out,
            text=prompts["features"][template, combination],
            overlap=prompts["overlap"][combination][:, combination],
            described=described,
            labels=batch["label"],
            epoch=epoch,
            epochs=self.epochs,
            class_weights=context.fold.get("class_weights"),
        )
        return loss, (changed, scalars)

    def predict(self, variables: Variables, context: Context, batch: Batch) -> Outputs:
        """Emotion logits [b, k], video embeddings [b, e], the scale of cosines [b]."""
        del context  # no text when it is used
        return outputs_of(
            self.module.apply(variables, normalise(batch["frames"]), train=False)
        )

    def augmented(self, batch: Batch, *, key: jax.Array) -> Array:
        """The frames that `loss` trains on with this key, [b, t, h, w, 3] in 0..255."""
        augment_key, _, _ = jax.random.split(key, 3)
        return denormalise(self._augment(augment_key, batch)[0])

    def remarks(self, clips: Clips, columns: dict[str, np.ndarray]) -> list[str]:
        """How many clips have no sentence."""
        del clips
        silent = int((columns["au_combination"] < 0).sum())
        if not silent:
            return []
        return [f"Clips without a describable AU, not aligned with text: {silent}."]

    def _answers(
        self, variables: Variables, clips: Array, key: jax.Array
    ) -> tuple[MerClipOutput, Variables]:
        """The model's answers to a batch in training, and its new BN statistics."""

        def part(key: jax.Array, clips: Array) -> tuple[MerClipOutput, Variables]:
            return self.module.apply(
                variables,
                clips,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )

        size = self.execution.microbatch or len(clips)
        if size == len(clips):
            return part(key, clips)
        # Features of all parts first, each without what its backward pass would need;
        # then the loss of the whole batch; then part by part forward again and back
        # (GradCache). That is what the transpose of a rematerialised loop does.
        group = self.model.together or 1
        parts, merge = divided(clips, size=size, group=group)
        keys = jax.random.split(key, len(parts))
        out, changed = jax.lax.map(lambda x: jax.checkpoint(part)(*x), (keys, parts))
        out = MerClipOutput(
            merge(out.video), merge(out.logits), out.scale[0], out.bias[0]
        )
        # A part moves the running statistics from where they were by its own groups:
        # the mean over parts is what all groups together would do.
        return out, jax.tree.map(lambda leaf: leaf.mean(0), changed)

    def _augment(self, key: jax.Array, batch: Batch):
        with jax.named_scope("augment"):  # in profiles and in benchmarks/aot.py
            return augment.augment(
                key, batch["frames"], self.augmentation, jnp.asarray(JITTER_ORDER)
            )

    def _overlap(self, made: PromptSet) -> np.ndarray:
        """How much two AU combinations have in common, [s, s]."""
        sides = self.loss_options.contrastive == "soft_sides"
        if sides and self.prompting.supervision == "au":
            return likeness([facs.parse_cell(name) for name in made.names])
        return made.overlap

    def _random_tower(self, made: PromptSet) -> TextTower:
        """A tower whose sentences differ, made from no clip of the dataset."""
        reference = prompts.reference_texts(
            templates=self.prompting.templates, wording=self.wording
        )
        # The words of emotions are the task's, not a clip's.
        if self.prompting.supervision == "emotion":
            reference += made.texts()
        return sentences.random_tower(mer_clip.SIZES[self.model.size], reference)
