"""CLIP's text tower, which CLIP, ViCLIP and MER-CLIP have alike."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from merclip_jax.models.clip_text import ClipText
from merclip_jax.weights.families import numbers
from merclip_jax.weights.families.numbers import Arrays, Shapes
from merclip_jax.weights.families.rules import BLOCK, SAME, Rule, block, norm

CLIP_TEXT: list[Rule] = [
    ("positional_embedding", "params/positional_embedding", SAME),
    (r"token_embedding\.weight", "params/token_embedding", SAME),
    ("text_projection", "params/text_projection", SAME),
    *norm("ln_final", "ln_final"),
    *block(BLOCK, "block_{0}"),
]


def text_numbers(arrays: Arrays) -> dict:
    """The numbers of a text tower; Unclear when an array that tells them is odd."""
    vocabulary, width = numbers.shape_at(arrays, "params/token_embedding", 2)
    return {
        "vocabulary": vocabulary,
        "context": numbers.shape_at(arrays, "params/positional_embedding", 2)[0],
        "width": width,
        "layers": numbers.count(arrays, r"params/block_(\d+)/.*"),
        "out": numbers.shape_at(arrays, "params/text_projection", 2)[1],
    }


def text_shapes(module: Mapping) -> Shapes:
    """Shapes of the text tower that numbers describe; nothing is computed."""
    tower = ClipText(
        module["vocabulary"],
        module["context"],
        module["width"],
        module["layers"],
        numbers.heads(module["width"]),
        module["out"],
    )
    ids = jnp.zeros((1, 1), jnp.int32)
    return numbers.by_path(jax.eval_shape(lambda: tower.init(jax.random.key(0), ids)))
