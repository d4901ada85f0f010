"""A model's variables with the small ones side by side.

A model has hundreds of norms, biases and taps beside its dozens of matrices. Each by
itself, they and their moments are most of an optimiser's kernels, and a TPU moves and
lays out each of them. Side by side they are a few vectors (benchmarks/RESULTS.md).
"""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import flax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from merclip_jax.typing import Leaf

SMALL = 2**16  # elements; what has fewer is put beside others


class Place(NamedTuple):
    """What lies under a path of a collection: one array, or small ones in a vector.

    members: path and shape of each.
    """

    collection: str
    path: str
    members: tuple[tuple[str, tuple[int, ...]], ...]


class Packed(flax.struct.PyTreeNode):
    """Flax variables as a state holds them.

    Small arrays lie side by side in a vector where an optimiser does the same to them,
    in the place of the first by name. Axes in front of all, such as a stack's members,
    are allowed.

    arrays: collection -> tree; places: what each of its arrays holds.
    """

    arrays: Mapping[str, Mapping[str, Any]]
    places: tuple[Place, ...] = flax.struct.field(pytree_node=False)

    def unpack(self) -> dict[str, Any]:
        """Returns the variables, collection -> tree."""
        found = {
            name: flatten_dict(tree, sep="/") for name, tree in self.arrays.items()
        }
        flat: dict[str, dict[str, Leaf]] = {name: {} for name in found}
        for place in self.places:
            flat[place.collection] |= _parts(found[place.collection][place.path], place)
        return {name: unflatten_dict(tree, sep="/") for name, tree in flat.items()}

    def placed(self, collection: str, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the tree of what is placed as a collection's arrays are.

        Args:
            collection: whose places are used.
            tree: like it, without axes in front: gradients, new statistics.
        """
        return _packed(
            flatten_dict(tree, sep="/"),
            [place for place in self.places if place.collection == collection],
        )


def pack(
    variables: Mapping[str, Mapping[str, Any]],
    alike: Callable[[str], Hashable] | None,
) -> Packed:
    """Puts small arrays side by side.

    Args:
        variables: collection -> tree of arrays.
        alike: `Optimiser.alike`, which says what parameters may lie together.
    """
    arrays, places = {}, []
    for collection, tree in variables.items():
        flat = flatten_dict(tree, sep="/")
        groups: dict[Hashable, list[str]] = {}
        for path, leaf in sorted(flat.items()):
            kind: Hashable = path
            if math.prod(leaf.shape) < SMALL:
                # Statistics are none of the optimiser's.
                if collection != "params":
                    kind = leaf.dtype, None
                elif alike is not None:
                    kind = leaf.dtype, alike(path)
            groups.setdefault(kind, []).append(path)
        own = [
            Place(collection, paths[0], tuple((p, flat[p].shape) for p in paths))
            for paths in groups.values()
        ]
        arrays[collection] = _packed(flat, own)
        places += own
    return Packed(arrays, tuple(places))


def _packed(flat: Mapping[str, Leaf], places: list[Place]) -> dict[str, Any]:
    made = {place.path: _joined(flat, place) for place in places}
    return unflatten_dict(made, sep="/")


def _joined(flat: Mapping[str, Leaf], place: Place) -> Leaf:
    if len(place.members) == 1:
        return flat[place.path]
    return jnp.concatenate([flat[path].reshape(-1) for path, _ in place.members])


def _parts(found: Leaf, place: Place) -> dict[str, Leaf]:
    if len(place.members) == 1:
        return {place.path: found}
    parts, start = {}, 0
    for path, shape in place.members:
        end = start + math.prod(shape)
        parts[path] = found[..., start:end].reshape((*found.shape[:-1], *shape))
        start = end
    return parts
