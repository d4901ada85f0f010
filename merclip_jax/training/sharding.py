"""The mesh and where arrays live: members without communication, batches by data."""

import math

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def make_mesh(stack: int, batch_size: int) -> Mesh:
    """Returns a ("member", "data") mesh over the devices.

    Args:
        stack: members trained together.
        batch_size: clips of a member's batch.
    """
    # Members first: they need no communication. Of the devices left for each member as
    # many as divide the batch share its clips; the others stay idle.
    devices = jax.device_count()
    member = math.gcd(stack, devices)
    data = math.gcd(batch_size, devices // member)
    return jax.make_mesh(
        (member, data),
        ("member", "data"),
        # Under Explicit, JAX's default, `video @ text.T` and the optimizer's init would
        # need their shardings written out.
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=jax.devices()[: member * data],
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
