"""What a detector of AUs after Micro-AU CLIP minimises, in float32 or wider.

The equations are ours. AUs are i and j of n, clips b of the batch, y whether an AU is
annotated; a sentence has a state s, 0 absent and 1 present.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.declared import OneOf, Range, check
from merclip_jax.models.micro_au_clip import MicroAUOutput
from merclip_jax.typing import Array, Float, Int

DETECTIONS, DEPENDENCIES = ("bce", "focal"), ("attention", "correlation")
MOST_WEIGHT = 5.0  # of an AU that few clips show
BACKGROUND = 0.05  # share of a dependency target that all AUs have alike
_WEIGHT = Range(0, 1000)


@dataclasses.dataclass(frozen=True)
class AULossOptions:
    """The sum of detection, contrastive and dependency loss.

    detection: "bce", or "focal" in its place; focal_gamma: of the latter;
    contrastive_weight, dependency_weight: of the other two; dependency: "attention"
    draws AUs to those that go with them, "correlation" makes features as alike as
    labels are correlated.
    """

    detection: Annotated[str, OneOf(DETECTIONS)] = "bce"
    focal_gamma: Annotated[float, Range(0, 100)] = 2.0
    contrastive_weight: Annotated[float, _WEIGHT] = 0.5
    dependency: Annotated[str, OneOf(DEPENDENCIES)] = "attention"
    dependency_weight: Annotated[float, _WEIGHT] = 0.1

    def __post_init__(self):
        check(self)


def positive_weights(aus: np.ndarray) -> np.ndarray:
    """min(sqrt(negatives / positives), 5) of each AU, float32 [n].

    Args:
        aus: [b, n] 0 or 1, of a fold's training clips. An AU that all or none of them
            show counts as if one clip differed: no weight is 0 or infinite.
    """
    shown = aus.sum(0)
    ratio = np.maximum(len(aus) - shown, 1) / np.maximum(shown, 1)
    return np.minimum(np.sqrt(ratio), MOST_WEIGHT).astype(np.float32)


def co_occurrence(aus: np.ndarray) -> np.ndarray:
    """How often AU j is shown with AU i, R_ij = (C_ij + 1) / (C_ii + 2), R_ii = 1.

    Args:
        aus: [b, n] 0 or 1, of a fold's training clips; C = aus^T aus.

    Returns:
        float32 [n, n].
    """
    count = aus.astype(np.float64).T @ aus
    prior = (count + 1) / (np.diag(count)[:, None] + 2)
    np.fill_diagonal(prior, 1)
    return prior.astype(np.float32)


def correlation(aus: np.ndarray) -> np.ndarray:
    """The labels' phi coefficients, float32 [n, n]; 0 where an AU never changes.

    Args:
        aus: [b, n] 0 or 1, of a fold's training clips.
    """
    centred = aus - aus.mean(0)
    spread = np.sqrt(np.square(centred).sum(0))
    scaled = centred / np.where(spread > 0, spread, 1)
    phi = scaled.T @ scaled
    np.fill_diagonal(phi, 1)
    return phi.astype(np.float32)


def scores(
    visual: Float[Array, "b n e"], text: Float[Array, "n 2 e"], scale: Float[Array, ""]
) -> Float[Array, "b n n 2"]:
    """Returns tau u_bi . t_js of every AU's feature with every AU's sentences.

    Args:
        visual: unit features.
        text: unit features, absent and present.
        scale: tau.
    """
    return scale * jnp.einsum("bie,jse->bijs", visual, text)


def own(scores: Float[Array, "b n n 2"]) -> Float[Array, "b n 2"]:
    """Returns each AU's scores with its own two sentences."""
    return jnp.einsum("biis->bis", scores)


def detection_loss(
    logits: Float[Array, "b n"],
    aus: Int[Array, "b n"],
    weights: Float[Array, "n"],
    *,
    gamma: float = 0.0,
) -> Float[Array, ""]:
    """Returns the mean of -w (1 - p)^gamma log p, p that of what is annotated.

    Args:
        logits: of presence.
        aus: 0 or 1.
        weights: w of the AUs where they are shown; 1 where not.
        gamma: of the focal loss; 0: binary cross-entropy.
    """
    right = jnp.where(aus > 0, logits, -logits)
    losses = -_weighed(aus, weights) * jax.nn.log_sigmoid(right)
    if gamma:
        # As a logarithm: (1 - p)^gamma has no finite gradient where 1 - p is 0.
        losses = losses * jnp.exp(gamma * jax.nn.log_sigmoid(-right))
    return losses.mean()


def contrastive_loss(
    scores: Float[Array, "b n n 2"], aus: Int[Array, "b n"], weights: Float[Array, "n"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns cross-entropies vision-to-text and text-to-vision, AU by AU.

    CLIP's own loss would take two faces with one AU for negatives. Here an AU's feature
    picks its sentence among all 2n; and a sentence picks, of one AU's features, those
    of all clips in its state. The second cannot fall below the mean of log(positives).

    Args:
        scores: of `scores`.
        aus: 0 or 1.
        weights: of the AUs in the first, where they are shown.
    """
    b, n = aus.shape
    mine = jnp.arange(n)[None]
    log_p = jax.nn.log_softmax(scores.reshape(b, n, 2 * n), axis=-1)
    log_p = jnp.take_along_axis(log_p, (2 * mine + aus)[..., None], axis=-1)[..., 0]
    to_text = -(_weighed(aus, weights) * log_p).mean()

    log_p = jax.nn.log_softmax(own(scores), axis=0)
    positive = jax.nn.one_hot(aus, 2, dtype=log_p.dtype)
    count = positive.sum(0)
    each = -(positive * log_p).sum(0) / jnp.maximum(count, 1)
    # A state that nobody in the batch shows has nothing to pick.
    return to_text, each.sum() / (count > 0).sum().astype(each.dtype)


def dependency_loss(
    attention: Float[Array, "b n n"], aus: Int[Array, "b n"], prior: Float[Array, "n n"]
) -> Float[Array, ""]:
    """Returns the mean KL(target || attention) over the AUs that are shown.

    The target of an AU is what is shown with it here and usually goes with it; 0 in a
    batch where no AU is shown.

    Args:
        attention: of each AU to each, rows that sum to 1.
        aus: 0 or 1.
        prior: of `co_occurrence`.
    """
    shown = aus.astype(attention.dtype)
    n = shown.shape[1]
    target = shown[:, None] * prior[None] + BACKGROUND / n
    target = target / target.sum(-1, keepdims=True)
    # Far below what a row of n needs: keeps the logarithm finite.
    attention = jnp.maximum(attention, 1e-8)
    divergence = (target * (jnp.log(target) - jnp.log(attention))).sum(-1)
    return (shown * divergence).sum() / jnp.maximum(shown.sum(), 1)


def correlation_loss(
    visual: Float[Array, "b n e"], phi: Float[Array, "n n"]
) -> Float[Array, ""]:
    """Returns the squared distance of the mean cosines of AUs from phi (Frobenius).

    Args:
        visual: unit features.
        phi: of `correlation`.
    """
    alike = jnp.einsum("bie,bje->ij", visual, visual) / len(visual)
    return jnp.square(alike - phi).sum()


def objective(
    options: AULossOptions,
    out: MicroAUOutput,
    *,
    aus: Int[Array, "b n"],
    weights: Float[Array, "n"],
    prior: Float[Array, "n n"],
    phi: Float[Array, "n n"],
) -> tuple[jax.Array, dict[str, Array]]:
    """The weighted loss of a detector's answers.

    Args:
        options: which losses, and their weights.
        out: answers to a batch.
        aus: 0 or 1.
        weights, prior, phi: of the fold's training clips.

    Returns the loss, and its parts by name.
    """
    every = scores(out.visual, out.text, out.scale)
    logits = presence(own(every))
    gamma = options.focal_gamma if options.detection == "focal" else 0.0
    detection = detection_loss(logits, aus, weights, gamma=gamma)
    contrastive = sum(contrastive_loss(every, aus, weights)) / 2
    if options.dependency == "correlation":
        dependency = correlation_loss(out.visual, phi)
    else:
        dependency = dependency_loss(out.dependency, aus, prior)
    loss = (
        detection
        + options.contrastive_weight * contrastive
        + options.dependency_weight * dependency
    )
    return loss, {
        "loss": loss,
        "loss/bce": detection,
        "loss/contrastive": contrastive,
        "loss/dependency": dependency,
        "answered": jnp.mean(logits > 0),
    }


def presence(own: Float[Array, "b n 2"]) -> Float[Array, "b n"]:
    """Returns the logit of each AU: its present sentence's score less the absent's."""
    return own[..., 1] - own[..., 0]


def _weighed(aus: Int[Array, "b n"], weights: Float[Array, "n"]) -> jax.Array:
    """The weights of AUs where they are shown, 1 elsewhere."""
    return jnp.where(aus > 0, weights[None], 1)
