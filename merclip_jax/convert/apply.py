"""Applies a rule table to a checkpoint: all problems are collected, then raised."""

import re
from collections.abc import Mapping

import jax
import numpy as np

from merclip_jax.convert.rules import IGNORED, Rule


class ConversionError(ValueError):
    """A checkpoint that does not fit: the message lists every problem found."""


def flatten(tree: Mapping) -> dict[str, object]:
    """A nested dict as {"params/block_0/...": leaf}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(k.key for k in path): leaf for path, leaf in leaves}


def unflatten(flat: Mapping[str, object]) -> dict:
    """The inverse of `flatten`."""
    tree: dict = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def to_flax(
    state: Mapping[str, np.ndarray], rules: list[Rule], expected: Mapping
) -> dict:
    """Official keys and arrays to Flax variables.

    `expected` is the variables' tree of shapes (`jax.eval_shape` of init); the result
    has exactly its leaves, as NumPy arrays of the file's dtype. Raises ConversionError
    that lists unknown keys, keys that map twice, missing leaves and wrong shapes.
    """
    compiled = [(re.compile(pattern), path, lay) for pattern, path, lay in rules]
    shapes = {path: leaf.shape for path, leaf in flatten(expected).items()}
    found, problems = {}, []
    for key, array in state.items():
        if IGNORED.fullmatch(key):
            continue
        hits = [(m, p, lay) for r, p, lay in compiled if (m := r.fullmatch(key))]
        if len(hits) != 1:
            problems.append(f"{key}: no place for it in this model")
            continue
        match, path, layout = hits[0]
        path = path.format(*match.groups())
        try:
            array = layout.to_flax(np.asarray(array))
        except ValueError as error:
            problems.append(f"{key}: {error}")
            continue
        if path not in shapes:
            problems.append(f"{key}: this model has no {path}")
        elif path in found:
            problems.append(f"{key}: {path} is already filled")
        elif array.shape != shapes[path]:
            problems.append(f"{key}: {array.shape} does not fit {path} {shapes[path]}")
        else:
            found[path] = array
    problems += [f"{path}: missing from the file" for path in shapes.keys() - found]
    if problems:
        raise ConversionError(
            f"{len(problems)} problems in conversion:\n  "
            + "\n  ".join(sorted(problems))
        )
    return unflatten(found)
