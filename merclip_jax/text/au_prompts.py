"""Two sentences for every AU, absent and present; encoded once by the frozen tower.

The sentences are ours, after the outline of Micro-AU CLIP.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from merclip_jax.text.table import TextTower, encode_prompts, keep_positions
from merclip_jax.text.vocabulary import CONTEXT
from merclip_jax.text.wording import NAMES

PRESENT = "a close-up of a face with a subtle {name}: {motion}."
ABSENT = "a close-up of a face at rest, no {name}: {region} stays still."


class Words(NamedTuple):
    """What is said of an AU: its name, how it looks, and where."""

    name: str
    motion: str
    region: str


def _words(au: int, motion: str, region: str) -> Words:
    return Words(NAMES[au], motion, region)


# fmt: off
WORDS: dict[int, Words] = {
    1: _words(1, "the inner corners of the eyebrows are pulled up", "inner eyebrows"),
    2: _words(2, "the outer ends of the eyebrows are lifted", "outer eyebrows"),
    4: _words(4, "the eyebrows are drawn down and together", "eyebrows"),
    5: _words(5, "the upper eyelids are lifted and the eyes widen", "upper eyelids"),
    6: _words(6, "the cheeks rise and the skin beside the eyes gathers", "cheeks"),
    7: _words(7, "the eyelids are squeezed and the eyes narrow", "eyelids"),
    9: _words(9, "the skin of the nose bridge wrinkles upward", "nose"),
    10: _words(10, "the upper lip is pulled up", "upper lip"),
    12: _words(12, "the lip corners are pulled up and back", "lip corners"),
    14: _words(
        14, "the lip corners are tightened inward making dimples", "lip corners"
    ),
    15: _words(15, "the lip corners are pulled down", "lip corners"),
    17: _words(17, "the chin boss is pushed up and the lower lip rises", "chin"),
    20: _words(20, "the lips are stretched sideways and flattened", "mouth"),
    23: _words(23, "the lips are rolled inward and narrow", "lips"),
    24: _words(24, "the lips are pressed together", "lips"),
    25: _words(25, "the lips come apart and the teeth may show", "lips"),
    26: _words(26, "the jaw falls and the mouth opens", "jaw"),
    # No name in MER-CLIP's sentences, which say nothing of blinks.
    45: Words("blink", "both eyes close and open again at once", "eyelids"),
}
# fmt: on


def sentences(aus: Sequence[int]) -> list[str]:
    """Two sentences of each AU, absent and then present, one AU after another.

    Args:
        aus: of WORDS.

    Raises:
        ValueError: lists AUs without words.
    """
    if unknown := [au for au in aus if au not in WORDS]:
        raise ValueError(f"aus: no words for {unknown}; expected some of {list(WORDS)}")
    return [
        form.format(**WORDS[au]._asdict()) for au in aus for form in (ABSENT, PRESENT)
    ]


def encode(
    tower: TextTower, aus: Sequence[int], *, positions: int = CONTEXT
) -> jax.Array:
    """Features of the AUs' sentences, float32 [n, 2, e]; absent, present.

    Args:
        tower: frozen.
        aus: of WORDS.
        positions: position embeddings from here on are zeros.

    Raises:
        ValueError: an AU has no words, or the tower's vocabulary lacks some.
    """
    ids = tower.vocabulary.encode(sentences(aus))
    variables = keep_positions(tower.variables, positions)
    return encode_prompts(tower.module, variables, ids).reshape(len(aus), 2, -1)
