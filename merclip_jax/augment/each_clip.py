"""One clip after another, on the device that holds it, and only those that are chosen.

A branch under `vmap` computes both sides, and so does a vmapped loop of branches. What
costs much is therefore done clip by clip, and `vmap` over members is answered by a
longer loop.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from merclip_jax.typing import Array, Bool, UInt8

AXES = ("member", "data")  # of the trainer's mesh: of members, and of a batch's clips
Act = Callable[[UInt8[Array, "t c h w"], Any], UInt8[Array, "t c h w"]]


def each_clip(
    act: Act,
    clips: UInt8[Array, "b t h w c"],
    chosen: Bool[Array, "b"],
    choices: Any,
) -> UInt8[Array, "b t h w c"]:
    """Returns the clips, the chosen ones after `act`.

    Args:
        act: (planes, choices) -> planes of one clip.
        clips: whole grey levels.
        chosen: which clips to change; nothing is computed for the others.
        choices: arrays [b, ...], the draws of each clip.
    """
    return _loop(act, 1)(clips, chosen, choices)


def _loop(act: Act, lead: int) -> Callable:
    """The loop over clips with `lead` leading axes, which is longer under `vmap`."""

    def local(clips, chosen, choices):
        chosen, choices = jax.tree.map(
            lambda x: x.reshape(-1, *x.shape[lead:]), (chosen, choices)
        )

        # The chosen ones first, and no more steps than there are of them: a branch
        # for each clip would copy what it passes on.
        turn = jnp.argsort(~chosen)

        def one(k, clips):
            i = turn[k]
            choice = jax.tree.map(lambda x: x[i], choices)
            # A plane of each channel: colours are arithmetic of whole rows.
            planes = act(clips[i].transpose(0, 3, 1, 2), choice)
            return clips.at[i].set(planes.transpose(0, 2, 3, 1))

        flat = clips.reshape(-1, *clips.shape[lead:])
        return jax.lax.fori_loop(0, chosen.sum(), one, flat).reshape(clips.shape)

    @custom_vmap
    def run(*args):
        return _shared(local, args[0].shape[:lead])(*args)

    @run.def_vmap
    def rule(size, batched, *args):
        def spread(x, is_batched):
            return x if is_batched else jnp.broadcast_to(x, (size, *x.shape))

        return _loop(act, lead + 1)(*jax.tree.map(spread, args, tuple(batched))), True

    return run


def _shared(local: Callable, sizes: tuple[int, ...]) -> Callable:
    """`local` of the clips that each device of the mesh holds, if there is one.

    Left to itself, the partitioner would bring all clips to every device, since a loop
    over a sharded axis has an order.
    """
    mesh, axes = jax.sharding.get_abstract_mesh(), AXES[-len(sizes) :]
    known = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    ours = len(axes) == len(sizes) and all(
        known.get(name) == AxisType.Auto and size % mesh.shape[name] == 0
        for name, size in zip(axes, sizes, strict=True)
    )
    if not ours or mesh.size == 1:
        return local
    # Loops and branches of one device's own: what varies over the mesh is not tracked.
    return jax.shard_map(local, in_specs=P(*axes), out_specs=P(*axes), check_vma=False)
