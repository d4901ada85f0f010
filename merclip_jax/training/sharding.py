"""The mesh and where arrays live: members without communication, batches by data."""

import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from merclip_jax.errors import UserError
from merclip_jax.training import packed
from merclip_jax.typing import Leaf


def make_mesh(
    stack: int, batch_size: int, *, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Returns a ("member", "data") mesh over the devices.

    Args:
        stack: members trained together.
        batch_size: clips of a member's batch.
        devices: to use; None for all there are.

    Raises:
        UserError: a process of several would have nothing to do.
    """
    # Members first: they need no communication. Of the devices left for each member as
    # many as divide the batch share its clips; the others stay idle.
    devices = jax.devices() if devices is None else devices
    member = math.gcd(stack, len(devices))
    data = math.gcd(batch_size, len(devices) // member)
    every = {device.process_index for device in devices}
    if idle := every - {device.process_index for device in devices[: member * data]}:
        raise UserError(
            f"{stack} members of batches of {batch_size} clips keep {member * data} of "
            f"{len(devices)} devices busy, and none of process {min(idle)}; choose a "
            "--config.train.batch_size that the devices divide, or fewer processes"
        )
    return jax.make_mesh(
        (member, data),
        ("member", "data"),
        # Under Explicit, JAX's default, `video @ text.T` and the optimizer's init would
        # need their shardings written out.
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices[: member * data],
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device: the run's constants, the resident clips."""
    return NamedSharding(mesh, P())


def by_member(mesh: Mesh) -> NamedSharding:
    """Leading axis m over members: states, keys, lengths."""
    return NamedSharding(mesh, P("member"))


def by_batch(mesh: Mesh, *, scanned: bool) -> NamedSharding:
    """Returns the sharding of a batch over members and their clips.

    Args:
        mesh: of the run.
        scanned: arrays are [k, m, b, ...], a scan's steps first; else [m, b, ...].
    """
    axes = ("member", "data")
    return NamedSharding(mesh, P(None, *axes) if scanned else P(*axes))


def of_state(mesh: Mesh, state: Leaf, *, fsdp: bool) -> Leaf:
    """Where each array [m, ...] of a stack's state lies: a tree of shardings.

    Args:
        mesh: of the run.
        state: shapes of the state.
        fsdp: whether large arrays lie in parts on the devices that share a batch; else
            each of these has all of its member's.
    """

    def place(leaf: Leaf) -> NamedSharding:
        parts = mesh.shape["data"] if fsdp else 1
        shape = leaf.shape[1:]
        # The longest axis that divides; the last one only for want of another, as TPUs
        # fill it up to 128 again. Moments are shaped as their parameters are, and so
        # fall into the same parts.
        axes = [i for i, n in enumerate(shape) if n % parts == 0]
        # A bias in parts saves nothing and is gathered in as many messages as a matrix;
        # of a vector of small arrays parts would fit none.
        small = len(shape) < 2 or math.prod(shape) < packed.SMALL
        if parts == 1 or not axes or small:
            return by_member(mesh)
        last = len(shape) - 1
        longest = max(axes, key=lambda i: (i != last, shape[i]))
        spec = [None] * len(shape)
        spec[longest] = "data"
        return NamedSharding(mesh, P("member", *spec))

    return jax.tree.map(place, state)
