"""The table of prompt features: encoded once by the frozen text tower, then read."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.models.clip_text import TOKEN_STD, ClipText
from merclip_jax.text.prompts import PromptSet
from merclip_jax.text.vocabulary import Vocabulary, WordVocabulary

RANDOM_TOKEN_STD = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class TextTower:
    """A frozen text tower that can be asked: module, variables, vocabulary.

    `origin` is its provenance as the weights say it, empty for a random tower. Two
    towers are equal only if they are the same object, which keeps systems hashable.
    """

    module: ClipText
    variables: dict
    vocabulary: Vocabulary
    origin: dict = dataclasses.field(default_factory=dict)


def encode_table(tower: TextTower, prompts: PromptSet, *, positions: int) -> jax.Array:
    """Text features float32 [p, s, e] of a prompt set, encoded once.

    `positions`: position embeddings from here on are zeros (ViCLIP's tower has 32 of
    the 77). Raises ValueError if a sentence cannot be encoded.
    """
    variables = keep_positions(tower.variables, positions)
    ids = tokenise(tower.vocabulary, prompts)
    features = encode_prompts(tower.module, variables, ids)
    return features.reshape(len(prompts.sentences), len(prompts.names), -1)


def tokenise(vocabulary: Vocabulary, prompts: PromptSet) -> np.ndarray:
    """Ids int32 [p * s, l] of a prompt set's sentences, template-major.

    Raises ValueError that names the AU combination whose sentence cannot be encoded.
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
    """Variables of a tower whose positions from `count` on are zero.

    ViCLIP's text tower has 32 positions; the released code fills up with zeros.
    """
    params = dict(variables["params"])
    kept = jnp.arange(len(params["positional_embedding"]))[:, None] < count
    params["positional_embedding"] = jnp.where(kept, params["positional_embedding"], 0)
    return variables | {"params": params}


def random_tower(tower: ClipText, key: jax.Array, ids: np.ndarray) -> dict:
    """Variables of a frozen tower that nobody trained, whose sentences differ.

    CLIP's own initialisation leaves all sentences nearly parallel. Here the token
    embeddings are as large as what is added to them, and the final norm's bias centres
    the features of the sentences `ids` [s, l] on zero.
    """
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
    """A tower of random weights, always the same ones, that tells `texts` apart."""
    variables = random_tower(module, jax.random.key(0), vocabulary.encode(texts))
    return TextTower(module, variables, vocabulary)


def similarities(features: jax.Array, video: np.ndarray) -> np.ndarray:
    """Cosine [s] of a clip [e] with each prompt, averaged over templates [p, s, e]."""
    unit = features / jnp.linalg.norm(features, axis=-1, keepdims=True)
    unit = unit.mean(0)
    unit = unit / jnp.linalg.norm(unit, axis=-1, keepdims=True)
    return np.asarray(unit @ (video / np.linalg.norm(video)))


def encode_prompts(tower: ClipText, variables: dict, ids: np.ndarray) -> jax.Array:
    """Text features float32 [s, e] of prompt ids [s, l]."""
    return _encode(tower, variables, ids)[0].astype(jnp.float32)


def _encode(tower, variables, ids, *, batch: int = 64) -> tuple[jax.Array, jax.Array]:
    """Features [s, e] and sentences before the projection [s, d], in equal batches."""

    @jax.jit
    def apply(ids):
        features, state = tower.apply(variables, ids, mutable=["intermediates"])
        return features, state["intermediates"]["sentence"][0]

    padded = np.pad(ids, [(0, -len(ids) % batch), (0, 0)], mode="edge")
    parts = [
        apply(jnp.asarray(padded[i : i + batch])) for i in range(0, len(padded), batch)
    ]
    return tuple(jnp.concatenate(part)[: len(ids)] for part in zip(*parts, strict=True))
