"""FDP: an emotion and a dynamic image from eight grey frames, without key frames.

Shao et al., Micro-Expression Recognition via Fine-Grained Dynamic Perception (2025).
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.data.clips import Clips
from merclip_jax.data.dynamic_image import dynamic_image, opencv
from merclip_jax.data.threads import in_order
from merclip_jax.data.view import View
from merclip_jax.declared import Range, check
from merclip_jax.losses.classification import focal
from merclip_jax.losses.reconstruction import image_error, ranking
from merclip_jax.models import fdp
from merclip_jax.models.fdp import FRAMES, FdpOptions
from merclip_jax.scoring.tasks import EmotionTask
from merclip_jax.systems.system import (
    Batch,
    Context,
    Execution,
    Exhibit,
    Outputs,
    Scalar,
    System,
    Variables,
    first,
)
from merclip_jax.typing import Array, Float, Num

VIEW = View(frames=FRAMES, image_size=64, grey=True, sampling="stride", align="frame")


@dataclasses.dataclass(frozen=True)
class FdpLossOptions:
    """How much each loss counts beside that of the emotion.

    image_weight: of the dynamic image's squared error; ranking_weight: of the order of
    frames, which the abstract speaks of and the released code does not have.
    """

    image_weight: Annotated[float, Range(0, 1e6)] = 100.0
    ranking_weight: Annotated[float, Range(0, 1e6)] = 0.0

    def __post_init__(self):
        check(self)


@dataclasses.dataclass(frozen=True)
class FdpSystem(System):
    """The system: classes, what it sees, the network's options and the losses'."""

    classes: tuple[str, ...]
    view: View = VIEW
    model: FdpOptions = FdpOptions()
    loss_options: FdpLossOptions = FdpLossOptions()
    execution: Execution = dataclasses.field(default=Execution(), compare=False)

    name = "fdp"
    title = "FDP"
    place = ("frames", "stage1")
    scalars = (
        Scalar("loss", "Loss"),
        Scalar("loss/classification", "Classification loss"),
        Scalar("loss/image", "Error of the dynamic image", ".4f"),
        Scalar("loss/ranking", "Ranking loss", ""),
        Scalar("accuracy", "Accuracy in training", ".2f"),
    )

    @property
    def task(self) -> EmotionTask:
        """Emotions; WF1 too, as the paper's "F1" may be either."""
        return EmotionTask(self.classes, headline=("UF1", "WF1", "UAR", "ACC"))

    @property
    def transductive(self) -> bool:
        """Whether test clips are scaled by themselves, as the released code does."""
        return self.model.normalised_by == "split"

    @property
    def module(self) -> fdp.Fdp:
        """The Flax module."""
        return fdp.fdp(
            self.model,
            classes=len(self.classes),
            ranks=self.loss_options.ranking_weight > 0,
        )

    def columns(self, clips: Clips) -> dict[str, np.ndarray]:
        """Emotions, dynamic images, and the mean and maximum of each clip in 0..1."""

        def of(index: int) -> tuple[np.ndarray, float, float]:
            frames = clips.decode(index)[..., 0]
            mean = frames.mean(dtype=np.float64) / 255
            return dynamic_image(frames), mean, frames.max() / 255

        found = in_order(of, len(clips), says="dynamic images")
        images, means, brightest = zip(*found, strict=True)
        return {
            "label": clips.label,
            "dynamic_image": np.stack(images),
            "mean": np.asarray(means, np.float32),
            "brightest": np.asarray(brightest, np.float32),
        }

    def fold_context(
        self, train_clips: Clips, columns: dict[str, np.ndarray]
    ) -> dict[str, jax.Array]:
        """Mean and maximum over all pixels of the clips, by which frames are scaled."""
        del train_clips
        # Clips are alike in size: the mean of their means is that of all pixels.
        mean = columns["mean"].mean(dtype=np.float64)
        return {
            "mean": jnp.asarray(mean, jnp.float32),
            "brightest": jnp.asarray(columns["brightest"].max(), jnp.float32),
        }

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
        """The weighted losses of a batch, new BN statistics, scalars."""
        # The released code never goes back to training after its first evaluation.
        frozen = epoch >= 1 if self.model.freeze == "after_first_pass" else None
        out, changed = self.module.apply(
            variables,
            normalised(batch["frames"], context.fold),
            train=True,
            frozen=frozen,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        weights = self.loss_options
        target = batch["dynamic_image"].astype(jnp.float32) / 255
        emotion = focal(out.logits, batch["label"], gamma=0.0)
        image = image_error(out.image, target)
        order = ranking(out.scores) if self.module.ranks else jnp.zeros(())
        loss = emotion + weights.image_weight * image + weights.ranking_weight * order
        right = jnp.argmax(out.logits, -1) == batch["label"]
        return loss, (
            dict(changed),
            {
                "loss": loss,
                "loss/classification": emotion,
                "loss/image": image,
                "loss/ranking": order,
                "accuracy": jnp.mean(right.astype(jnp.float32)),
            },
        )

    def predict(self, variables: Variables, context: Context, batch: Batch) -> Outputs:
        """Emotion logits [b, k] and dynamic images [b, h, w] in 256 levels."""
        x = normalised(batch["frames"], context.fold)
        return _outputs(self.module.apply(variables, x, train=False))

    def inspect(
        self, variables: Variables, context: Context, batch: Batch
    ) -> tuple[Outputs, dict]:
        """What `predict` says, and what the modules kept."""
        x = normalised(batch["frames"], context.fold)
        out, kept = self.module.apply(
            variables, x, train=False, mutable=["intermediates"]
        )
        return _outputs(out), kept["intermediates"]

    def places(self, kept: dict) -> Array:
        """What each frame's network holds before it is halved again, [b, t, y, x, c].

        Of the second of four stages: the last ones are a few pixels large.
        """
        stage = first(kept["frames"]["stage1"])
        maps = stage.reshape(self.view.frames, -1, *stage.shape[1:])
        return jnp.moveaxis(maps, 0, 1)

    def features(self, kept: dict) -> dict[str, Array]:
        """All frames' features side by side, and the clip's dynamics."""
        frames, dynamics = first(kept["features"]), first(kept["dynamics"])
        return {
            "features of the frames": jnp.moveaxis(frames, 0, 1).reshape(
                frames.shape[1], -1
            ),
            "dynamics": dynamics.reshape(len(dynamics), -1),
        }

    def remarks(self, clips: Clips, columns: dict[str, np.ndarray]) -> list[str]:
        """Clips without motion, whose scale test clips have, and by which OpenCV."""
        still = columns["dynamic_image"].max((1, 2)) == 0
        found = [
            f"Frames were aligned and dynamic images stretched by OpenCV {opencv()}."
        ]
        if still.any():
            names = ", ".join(clips.clip[still][:5].tolist())
            found.append(
                f"Clips that do not move, whose dynamic image is black: {still.sum()} "
                f"({names})."
            )
        if self.transductive:
            found.append(
                "Test clips were scaled by the mean and maximum of all test clips of "
                "their fold, as the released code does: a single new clip would be "
                "scaled otherwise."
            )
        return found

    def exhibits(
        self,
        clips: Clips,
        columns: dict[str, np.ndarray],
        context: Context,
        index: int,
        outputs: dict,
    ) -> tuple[Exhibit, ...]:
        """The painted dynamic image beside its target."""
        del clips, context
        pictures = (
            ("painted", outputs["image"][..., None]),
            ("target", columns["dynamic_image"][index][..., None]),
        )
        return (Exhibit("Dynamic image", pictures=pictures),)


def _outputs(out: fdp.FdpOutput) -> Outputs:
    image = jnp.round(255 * out.image).astype(jnp.uint8)
    return {"logits": out.logits, "image": image}


def normalised(
    frames: Num[Array, "b t h w 1"], fold: dict[str, Array]
) -> Float[Array, "b t h w 1"]:
    """Returns frames less the mean of a split, divided by its largest value then.

    Args:
        frames: grey, 0..255.
        fold: mean and brightest value of the split, in 0..1.
    """
    # The released code first maps 0..1 to -1..1, which the division takes out again.
    x = frames.astype(jnp.float32) / 255 - fold["mean"]
    return x / (fold["brightest"] - fold["mean"])
