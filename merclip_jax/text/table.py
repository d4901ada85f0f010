"""The table of prompt features: encoded once by the frozen text tower, then read."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.models.clip_text import TOKEN_STD, ClipText
from merclip_jax.text.prompts import PromptSet
from merclip_jax.text.vocabulary import Vocabulary, WordVocabulary
from merclip_jax.typing import Array, Float

# As large as what the blocks add to a token, see `random_tower`.
RANDOM_TOKEN_STD = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class TextTower:
    """A frozen text tower that can be asked: module, variables, vocabulary.

    Two towers are equal only if they are the same object, which keeps systems hashable.
    """

    module: ClipText
    variables: dict
    vocabulary: Vocabulary


def encode_table(tower: TextTower, prompts: PromptSet, *, positions: int) -> jax.Array:
    """Returns the text features of a prompt set, float32 [p, s, e].

    Args:
        tower: frozen.
        prompts: p templates of s names.
        positions: position embeddings from here on are zeros.

    Raises:
        ValueError: if a sentence cannot be encoded.
    """
    # The tower is frozen and all prompts are known, so it never runs in a step: a step
    # gathers from this table.
    variables = keep_positions(tower.variables, positions)
    ids = tokenise(tower.vocabulary, prompts)
    features = encode_prompts(tower.module, variables, ids)
    return features.reshape(len(prompts.sentences), len(prompts.names), -1)


def tokenise(vocabulary: Vocabulary, prompts: PromptSet) -> np.ndarray:
    """Returns the ids of a prompt set's sentences, int32 [p * s, l], template-major.

    Args:
        vocabulary: of the tower that will read them.
        prompts: p templates of s names.

    Raises:
        ValueError: naming the AU combination whose sentence cannot be encoded.
    """
    texts = prompts.texts()
    try:
        return vocabulary.encode(texts)
    except ValueError:
        for row, sentence in enumerate(texts):
            try:
                vocabulary.encode([sentence])
            except ValueError as error:
                name = prompts.names[row % len(prompts.names)]
                raise ValueError(f"prompts of {name!r}: {error}") from error
        raise


def keep_positions(variables: dict, count: int) -> dict:
    """Returns a tower's variables with the positions from `count` on set to zero.

    Args:
        variables: are not changed.
        count: positions to keep.
    """
    # ViCLIP's text tower has 32 positions; the released code fills up with zeros.
    params = dict(variables["params"])
    kept = jnp.arange(len(params["positional_embedding"]))[:, None] < count
    params["positional_embedding"] = jnp.where(kept, params["positional_embedding"], 0)
    return variables | {"params": params}


def random_tower(tower: ClipText, key: jax.Array, ids: np.ndarray) -> dict:
    """Returns variables of an untrained tower whose sentences differ.

    Args:
        tower: to draw weights for.
        key: of the draw.
        ids: [s, l] of the sentences that it must tell apart.
    """
    # CLIP's own initialisation leaves all sentences nearly parallel. So the token
    # embeddings are made as large as what is added to them, and the final norm's bias
    # centres the features on zero.
    variables = jax.jit(tower.init)(key, jnp.asarray(ids[:1]))
    params = dict(variables["params"])
    params["token_embedding"] *= RANDOM_TOKEN_STD / TOKEN_STD
    _, sentences = _encode(tower, {"params": params}, ids)
    norm = params["ln_final"]
    params["ln_final"] = norm | {"bias": norm["bias"] - sentences.mean(0)}
    return {"params": params}


def random_text_tower(
    module: ClipText, vocabulary: WordVocabulary, texts: Sequence[str]
) -> TextTower:
    """Returns a tower of random weights, always the same ones.

    Args:
        module: its structure.
        vocabulary: has all words of `texts`.
        texts: that it must tell apart.
    """
    # The key is fixed: every member and every run must read the same sentences.
    variables = random_tower(module, jax.random.key(0), vocabulary.encode(texts))
    return TextTower(module, variables, vocabulary)


def similarities(features: jax.Array, video: np.ndarray) -> np.ndarray:
    """Returns the cosine of clips with each prompt, [..., s].

    Args:
        features: [p, s, e] of p templates.
        video: [..., e].
    """
    unit = ensemble(features)
    length = np.linalg.norm(video, axis=-1, keepdims=True)
    return np.asarray((video / length) @ unit.T)


def ensemble(features: Float[Array, "p s e"]) -> Float[Array, "s e"]:
    """Returns one unit feature a prompt, of all its templates.

    Args:
        features: of p templates.
    """
    # Mean over templates on the unit sphere, then back onto it, as CLIP's ensembles.
    unit = features / jnp.linalg.norm(features, axis=-1, keepdims=True)
    unit = unit.mean(0)
    return unit / jnp.linalg.norm(unit, axis=-1, keepdims=True)


def encode_prompts(tower: ClipText, variables: dict, ids: np.ndarray) -> jax.Array:
    """Returns text features, float32 [s, e].

    Args:
        tower, variables: of the frozen tower.
        ids: [s, l], padded with zeros.
    """
    return _encode(tower, variables, ids)[0].astype(jnp.float32)


def _encode(tower, variables, ids, *, batch: int = 64) -> tuple[jax.Array, jax.Array]:
    """Features [s, e] and sentences before the projection [s, d], in equal batches."""

    @jax.jit
    def apply(ids):
        features, state = tower.apply(variables, ids, mutable=["intermediates"])
        return features, state["intermediates"]["sentence"][0]

    # Equal batches compile once; what is repeated to fill the last is cut off.
    padded = np.pad(ids, [(0, -len(ids) % batch), (0, 0)], mode="edge")
    parts = [
        apply(jnp.asarray(padded[i : i + batch])) for i in range(0, len(padded), batch)
    ]
    return tuple(jnp.concatenate(part)[: len(ids)] for part in zip(*parts, strict=True))
