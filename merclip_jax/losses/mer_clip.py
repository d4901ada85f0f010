"""MER-CLIP's objective: the weighted sum of alignment and classification.

Equations are those of the paper (MER-CLIP, 2025).
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from merclip_jax.declared import OneOf, Range, check
from merclip_jax.losses import classification, contrastive, progression
from merclip_jax.models.mer_clip import MerClipOutput
from merclip_jax.typing import Array, Bool, Float, Int

CONTRASTIVE = ("hard", "soft_au", "soft_sides", "sigmoid")
_WEIGHT = Range(0, 1000)
_DECAY = OneOf(progression.DECAYS)


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """The weighted sum of alignment and classification (eqs 8 to 15).

    contrastive: "hard" pairs each clip with its own sentence, "soft_au" shares the
    target by what sentences have in common, "soft_sides" by AUs and their sides and
    from clip to text alone (SAC^2-Net, 2026), "sigmoid" judges every pair by itself.
    The contrastive weight goes from `contrastive_start` to `contrastive_floor` by
    `progression`; the other one is `total_weight` minus it. `contrastive_factor`
    multiplies the contrastive loss alone. Of the emotion's loss: `label_smoothing`, and
    `class_balance`, the beta by which rare classes count more.
    """

    contrastive: Annotated[str, OneOf(CONTRASTIVE)] = "hard"
    contrastive_start: Annotated[float, _WEIGHT] = 2.0
    contrastive_floor: Annotated[float, _WEIGHT] = 1.0
    progression: Annotated[str, _DECAY] = "linear"
    total_weight: Annotated[float, _WEIGHT] = 2.0
    contrastive_factor: Annotated[float, _WEIGHT] = 1.0
    focal_gamma: Annotated[float, Range(0, 100)] = 2.0
    label_smoothing: Annotated[float, Range(0, 1, below=True)] = 0.0
    class_balance: Annotated[float, Range(0, 1, below=True)] = 0.0

    def __post_init__(self):
        check(self)
        most = max(self.contrastive_start, self.contrastive_floor)
        # The emotion's weight is what is left: below 0 it would be unlearned.
        if not 0 < self.total_weight >= most:
            raise ValueError(
                f"total_weight={self.total_weight}: expected above 0, and no less than "
                f"contrastive_start and contrastive_floor ({most})"
            )


def objective(
    options: LossOptions,
    out: MerClipOutput,
    *,
    text: Float[Array, "b e"],
    overlap: Float[Array, "b b"],
    described: Bool[Array, "b"],
    labels: Int[Array, "b"],
    epoch: Int[Array, ""],
    epochs: int,
    class_weights: Float[Array, "k"] | None = None,
) -> tuple[jax.Array, dict[str, Array]]:
    """The weighted loss of a model's answers (eqs 9 to 15).

    Args:
        options: which contrastive loss, and the weights of both.
        out: the model's answers to a batch.
        text: features of each clip's sentence.
        overlap: how much two clips' sentences share, by the rule that the contrastive
            loss asks for.
        described: clips without a sentence have no part in the contrastive loss.
        labels: emotions.
        epoch: from 0.
        epochs: of the whole training.
        class_weights: of the emotions; None: all count alike.

    Returns the loss, and its parts by name.
    """
    # Over the whole batch: each clip's own sentence against those of all others.
    logits = out.scale * contrastive.similarity(out.video, text)
    if options.contrastive == "sigmoid":
        aligned = contrastive.sigmoid_contrastive(
            logits + out.bias, valid=described, same=overlap == 1
        )
    else:
        targets = None if options.contrastive == "hard" else overlap
        both = contrastive.contrastive(logits, valid=described, targets=targets)
        one_way = options.contrastive == "soft_sides"
        aligned = both[0] if one_way else sum(both) / 2
    emotion = classification.focal(
        out.logits,
        labels,
        gamma=options.focal_gamma,
        smoothing=options.label_smoothing,
        weights=class_weights,
    )
    clip_weight, emotion_weight = progression.progressive_weights(
        epoch,
        epochs=epochs,
        start=options.contrastive_start,
        floor=options.contrastive_floor,
        total=options.total_weight,
        decay=options.progression,
    )
    loss = clip_weight * options.contrastive_factor * aligned + emotion_weight * emotion
    return loss, {
        "loss": loss,
        "loss/contrastive": aligned,
        "loss/classification": emotion,
        "weight/contrastive": clip_weight,
        "weight/classification": emotion_weight,
        "accuracy": jnp.mean(out.logits.argmax(-1) == labels),
    }
