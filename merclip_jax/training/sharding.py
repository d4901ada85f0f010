"""The mesh and where arrays live: members without communication, batches by data."""

import math

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def make_mesh(stack: int, batch_size: int, devices: int | None = None) -> Mesh:
    """A ("member", "data") mesh over the devices.

    As many devices as divide the stack go to members, of the rest as many as divide
    the batch go to its clips; what then stays over is not used.
    """
    devices = devices or jax.device_count()
    member = math.gcd(stack, devices)
    data = math.gcd(batch_size, devices // member)
    return jax.make_mesh(
        (member, data),
        ("member", "data"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=jax.devices()[: member * data],
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device: prompts, the resident clips."""
    return NamedSharding(mesh, P())


def by_member(mesh: Mesh) -> NamedSharding:
    """Leading axis m over members: states, keys, lengths."""
    return NamedSharding(mesh, P("member"))


def by_batch(mesh: Mesh, *, scanned: bool) -> NamedSharding:
    """[m, b, ...] or, `scanned`, [k, m, b, ...] over members and their clips."""
    axes = ("member", "data")
    return NamedSharding(mesh, P(None, *axes) if scanned else P(*axes))
