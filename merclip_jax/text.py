"""Prompts, their tokens, and the table that the frozen text tower encodes once."""

import dataclasses
import itertools
import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax import facs
from merclip_jax.models.clip_text import TOKEN_STD, ClipText

RANDOM_TOKEN_STD = 0.5
_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


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
class PromptBank:
    """Every AU set that training may name, its mirror image, and the templates.

    `cells` are canonical AU cells, `descriptions` their sentences' middle parts,
    `mirror` [s] the index of each set with left and right swapped.
    """

    cells: tuple[str, ...]
    descriptions: tuple[str, ...]
    mirror: np.ndarray
    templates: tuple[str, ...]

    def texts(self) -> list[str]:
        """Prompts, template-major: row = template * sets + set (MER_CLIP 8.3)."""
        return [t.format(d) for t in self.templates for d in self.descriptions]

    def index(self, au_cells: Sequence[str]) -> np.ndarray:
        """AU-set index int32 [n] of each cell; -1 where no sentence describes it."""
        rank = {cell: i for i, cell in enumerate(self.cells)}
        found = (rank.get(str(facs.parse_cell(cell)), -1) for cell in au_cells)
        return np.fromiter(found, np.int32, len(au_cells))


@dataclasses.dataclass(frozen=True)
class PromptTable:
    """The bank of sentences, their features [p, s, e] and every clip's set [n]."""

    bank: PromptBank
    features: jax.Array
    au_sets: np.ndarray


def prompt_bank(
    au_cells: Sequence[str],
    *,
    templates: int = 7,
    order: str = "ascending",
    last_and: bool = True,
) -> PromptBank:
    """The bank of the sets in `au_cells` and their mirror images, in sorted order.

    Sets whose description is empty are left out. Raises ValueError when nothing is
    left or the number of templates is not 1..10.
    """
    if not 1 <= templates <= len(facs.TEMPLATES):
        raise ValueError(f"templates must be 1..{len(facs.TEMPLATES)}, got {templates}")
    sets = {}
    for cell in au_cells:
        au_set = facs.parse_cell(cell)
        for variant in (au_set, facs.mirror(au_set)):
            if facs.describe(variant, order=order, last_and=last_and):
                sets[str(variant)] = variant
    if not sets:
        raise ValueError("no clip has an action unit that a sentence can describe")
    cells = tuple(sorted(sets))
    rank = {cell: i for i, cell in enumerate(cells)}
    return PromptBank(
        cells=cells,
        descriptions=tuple(
            facs.describe(sets[c], order=order, last_and=last_and) for c in cells
        ),
        mirror=np.asarray([rank[str(facs.mirror(sets[c]))] for c in cells], np.int32),
        templates=facs.TEMPLATES[:templates],
    )


def reference_texts(templates: Sequence[str]) -> list[str]:
    """Sentences of all single AUs, sided or not, and of all pairs of Table II.

    They hold every word that a description can have. What is made for a tower with
    random weights is made from them, never from a dataset: no test clip has a part.
    """
    cells = [str(number) for number in facs.PHRASES]
    cells += [f"{side}{n}" for side in facs.SIDES for n in facs.SIDED_PHRASES]
    cells += [f"{a}+{b}" for a, b in itertools.combinations(facs.TABLE_II, 2)]
    cells.append("ref(1)+(L12 or L14)+2")
    bodies = [facs.describe(facs.parse_cell(cell)) for cell in cells]
    return [template.format(body) for template in templates for body in bodies]


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
