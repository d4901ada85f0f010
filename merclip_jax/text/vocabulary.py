"""Sentences to ids: what a text tower reads, and a word list for towers of our own."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

CONTEXT = 77  # tokens of a sentence, as in CLIP
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
    context: int = CONTEXT

    @classmethod
    def of(cls, texts: Sequence[str]) -> "WordVocabulary":
        """The vocabulary of some texts, with CLIP's context."""
        split = (_WORD.findall(text.lower()) for text in texts)
        return cls(tuple(sorted({word for text in split for word in text})))

    @property
    def size(self) -> int:
        """Number of ids."""
        # 0 for padding, the words, and the marks of start and end.
        return len(self.words) + 3

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Ids int32 [s, context]; ValueError names a text with an unknown word."""
        # A word left out would make two sentences one: unknown words are errors.
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
            # Zeros behind the end mark pad; the tower finds the mark as the largest id.
            row[: len(words) + 2] = [
                self.size - 2,
                *(index[word] for word in words),
                self.size - 1,
            ]
        return ids
