"""Functions that XLA cannot divide: on a mesh each device runs them on its own part."""

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec as P

DATA = "data"  # the axis of the trainer's mesh that shares a batch


def per_device(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Returns a function of arrays [b, ...] that treats each of the b by itself.

    Where the step is compiled for a mesh whose axis "data" shares the batch, every
    device calls it with its own part; else it is called as it is. What is given as
    `shared` goes to every device whole, behind the others.
    """

    def call(*arrays: jax.Array, shared: tuple[jax.Array, ...] = ()) -> jax.Array:
        mesh = jax.sharding.get_abstract_mesh()
        parts = 1 if mesh.empty else mesh.shape.get(DATA, 1)
        # A single clip, as at initialisation, has no parts: all devices do the same.
        if parts == 1 or any(len(a) % parts for a in arrays):
            return function(*arrays, *shared)
        return jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(P(DATA),) * len(arrays) + (P(),) * len(shared),
            out_specs=P(DATA),
            check_vma=False,  # a kernel does not tell over which axes its results vary
        )(*arrays, *shared)

    return call
