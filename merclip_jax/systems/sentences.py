"""What clips say of AUs by their likeness to sentences that name them.

Sentences are features [p, s, e] of p templates; a clip is its embedding [e].
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from merclip_jax.models.mer_clip import Size, clip_text
from merclip_jax.scoring import emotion_rules
from merclip_jax.scoring.emotion_rules import Reading
from merclip_jax.systems.system import Evidence, Exhibit, Outputs
from merclip_jax.text import table
from merclip_jax.text.table import TextTower
from merclip_jax.text.vocabulary import WordVocabulary
from merclip_jax.typing import Array, Float


def reading(
    features: Float[Array, "p s e"],
    numbers: Sequence[set[int]],
    outputs: Mapping[str, np.ndarray],
) -> Reading:
    """AUs as probable as the sentences that name them.

    Args:
        features: of s sentences.
        numbers: [s] the AUs of each.
        outputs: "video" [n, e] and the "scale" [n] of cosines.
    """
    aus = tuple(sorted(set().union(*numbers)))
    probabilities = emotion_rules.of_combinations(
        table.similarities(features, outputs["video"]),
        np.asarray([[au in own for au in aus] for own in numbers]),
        scale=outputs["scale"],
    )
    return Reading(
        aus=aus,
        shown=probabilities > 0.5,
        probabilities=probabilities,
        note="An AU is as probable as the training clips' sentences that name it, "
        "by the likeness of clip and sentence; what sees the clip did learn from "
        "emotion labels.",
    )


def ranks(
    features: Float[Array, "p s e"],
    said: np.ndarray,
    own: np.ndarray,
    video: np.ndarray,
) -> np.ndarray:
    """The place, from 1, of each clip's own sentence; ties count against the clip.

    Args:
        features: of all s sentences.
        said: sorted indices of those that compete.
        own: [n] the sentence of each clip; one that does not compete has the place 0.
        video: [n, e].
    """
    similarity = table.similarities(features[:, said], video)
    there = np.isin(own, said)
    place = np.searchsorted(said, np.where(there, own, said[0]))
    mine = similarity[np.arange(len(own)), place]
    return np.where(there, (similarity >= mine[:, None]).sum(1), 0)


def evidence(
    features: Float[Array, "p s e"], numbers: Sequence[set[int]]
) -> Evidence | None:
    """Likeness to the sentences that name an AU, less that to those that do not.

    None where no AU can be told apart: all sentences name it, or none.

    Args:
        features: of s sentences.
        numbers: [s] the AUs of each.
    """
    every = sorted(set().union(*numbers))
    holds = np.asarray([[au in own for au in every] for own in numbers])
    told = holds.any(0) & ~holds.all(0)
    aus = tuple(au for au, of in zip(every, told, strict=True) if of)
    if not aus:
        return None
    texts = table.ensemble(features)
    holds = jnp.asarray(holds[:, told], texts.dtype)
    named, others = (
        (w / w.sum(0, keepdims=True)).T @ texts for w in (holds, 1 - holds)
    )
    directions = named - others

    def of(outputs: Outputs) -> Array:
        length = jnp.linalg.norm(outputs["video"], axis=-1, keepdims=True)
        return (outputs["video"] / length) @ directions.T

    note = "The clip's cosine with the sentences that name the AU less that with "
    return Evidence(aus, of, f"{note}those that do not.")


def nearest(
    features: Float[Array, "p s e"],
    descriptions: Sequence[str],
    own: int,
    video: np.ndarray,
    *,
    count: int = 3,
) -> Exhibit:
    """The sentences nearest to a clip, and its own one, to show.

    Args:
        features: of s sentences.
        descriptions: [s] what they say.
        own: the clip's sentence, -1 for none.
        video: [e].
        count: of the nearest.
    """
    similarity = table.similarities(features, video)
    best = np.argsort(-similarity, kind="stable")[:count]
    rows = [(float(similarity[i]), descriptions[i], int(i) == own) for i in best]
    if own not in best:
        text = descriptions[own] if own >= 0 else "no AU annotated"
        rows.append((None, text, True))
    return Exhibit("AU text, cosine similarity with the clip", tuple(rows))


def random_tower(size: Size, texts: Sequence[str]) -> TextTower:
    """A tower of random weights whose sentences differ; always the same one.

    Args:
        size: of the tower.
        texts: that it must tell apart, made from no clip of a dataset.
    """
    vocabulary = WordVocabulary.of(texts)
    module = clip_text(size, vocabulary=vocabulary.size, context=vocabulary.context)
    return table.random_text_tower(module, vocabulary, texts)
