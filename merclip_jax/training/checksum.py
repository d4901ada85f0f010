"""Checksums of arrays where they lie: on the devices, or in the host's memory."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.typing import Array, Num

_ODD = np.uint32(2654435761)  # Knuth's multiplicative hash: 2^32 / golden ratio


def checksums(tree: object) -> dict[str, str]:
    """A checksum of every array of a tree, by its path.

    Device arrays are summed up on their devices, so that a sharded state need not come
    to the host; any one changed element changes the sum.

    Args:
        tree: of jax and NumPy arrays.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    on_device = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in leaves
        if isinstance(leaf, jax.Array)
    }
    # One program for all of them, one transfer of its results.
    sums = jax.device_get(_sums(on_device)) if on_device else {}
    found = {}
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path)
        if name in sums:
            found[name] = "".join(f"{int(word):08x}" for word in sums[name])
        else:
            found[name] = hashlib.sha256(np.ascontiguousarray(leaf)).hexdigest()
    return found


@jax.jit
def _sums(leaves: dict[str, Array]) -> dict[str, Array]:
    return {name: _sum(leaf) for name, leaf in leaves.items()}


def _sum(leaf: Num[Array, "..."]) -> Array:
    """Two words uint32 [2] of an array's bits and their places."""
    words = _bits(leaf).reshape(-1).astype(jnp.uint32)
    place = jnp.arange(words.size, dtype=jnp.uint32)
    found = []
    # Each step below loses nothing of a word, so another word gives another summand.
    for salt in (0x9E3779B9, 0x85EBCA6B):
        mixed = (words ^ (place * _ODD + np.uint32(salt))) * np.uint32(0xC2B2AE35)
        mixed = (mixed ^ (mixed >> np.uint32(15))) * _ODD
        found.append(jnp.sum(mixed ^ (mixed >> np.uint32(13)), dtype=jnp.uint32))
    return jnp.stack(found)


def _bits(leaf: Num[Array, "..."]) -> Num[Array, "..."]:
    """An array's bits as unsigned integers of at most 32 bits."""
    if leaf.dtype == jnp.bool_:
        return leaf.astype(jnp.uint8)
    width = min(leaf.dtype.itemsize, 4)
    return jax.lax.bitcast_convert_type(leaf, f"uint{8 * width}")
