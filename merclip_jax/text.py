"""Tokens of prompts, and the table that the frozen text tower encodes once."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.models.clip_text import TOKEN_STD, ClipText
from merclip_jax.prompts import PromptBank

RANDOM_TOKEN_STD = 0.5
_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


@runtime_checkable
class Vocabulary(Protocol):
    """What turns sentences into ids: `WordVocabulary`, or CLIP's own tokenizer."""

    size: int
    context: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Ids int32 [s, context]; ValueError names a text that cannot be encoded."""


@dataclasses.dataclass(frozen=True)
class WordVocabulary:
    """A word-level vocabulary for towers with random weights.

    Ids: 0 pads, words from 1, then the start and end marks, the end being largest as
    in CLIP's own vocabulary. Published weights need the tokenizer they came with.
    """

    words: tuple[str, ...]
    context: int = 77

    @classmethod
    def of(cls, texts: Sequence[str]) -> "WordVocabulary":
        """The vocabulary of some texts, with CLIP's context."""
        split = (_WORD.findall(text.lower()) for text in texts)
        return cls(tuple(sorted({word for text in split for word in text})))

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.words) + 3

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Ids int32 [s, context]; ValueError names a text with an unknown word."""
        index = {word: i + 1 for i, word in enumerate(self.words)}
        ids = np.zeros((len(texts), self.context), np.int32)
        for row, text in zip(ids, texts, strict=True):
            words = _WORD.findall(text.lower())
            unknown = [word for word in words if word not in index]
            if unknown or len(words) + 2 > self.context:
                raise ValueError(
                    f"{text!r}: expected at most {self.context - 2} known words; "
                    f"unknown: {unknown}"
                )
            row[: len(words) + 2] = [
                self.size - 2,
                *(index[word] for word in words),
                self.size - 1,
            ]
        return ids


@dataclasses.dataclass(frozen=True)
class PromptTable:
    """The bank of sentences, their features [p, s, e] and every clip's set [n]."""

    bank: PromptBank
    features: jax.Array
    sets: np.ndarray


def tokenise(vocabulary: Vocabulary, bank: PromptBank) -> np.ndarray:
    """Ids int32 [p * s, l] of a bank's sentences, template-major.

    Raises ValueError that names the AU set whose sentence cannot be encoded.
    """
    texts = bank.texts()
    try:
        return vocabulary.encode(texts)
    except ValueError:
        for row, sentence in enumerate(texts):
            try:
                vocabulary.encode([sentence])
            except ValueError as error:
                name = bank.names[row % len(bank.names)]
                raise ValueError(f"prompts of set {name!r}: {error}") from error
        raise


def keep_positions(variables: dict, count: int) -> dict:
    """Variables of a tower whose positions from `count` on are zero.

    ViCLIP's text tower has 32 positions; the released code fills up with zeros
    (MER_CLIP section 5).
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
