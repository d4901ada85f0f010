"""A batch in parts that pass the model one after another."""

from collections.abc import Callable

import jax

from merclip_jax.typing import Array, Shaped


def divided(
    batch: Shaped[Array, "b ..."], *, size: int, group: int
) -> tuple[Shaped[Array, "k s ..."], Callable[[jax.Array], jax.Array]]:
    """Returns the parts of a batch, and what puts answers [k, s, ...] in its order.

    Args:
        batch: of b clips.
        size: s, clips of a part; divides b.
        group: neighbours that stay together, as BatchNorm's groups must; divides s.
    """
    b = len(batch)
    k = b // size
    # Every k-th group, not a slice: on devices that share a batch each part then has
    # clips of all of them, and no clip moves.
    parts = batch.reshape(size // group, k, group, *batch.shape[1:]).swapaxes(0, 1)

    def merge(answers: jax.Array) -> jax.Array:
        rest = answers.shape[2:]
        apart = answers.reshape(k, size // group, group, *rest)
        return apart.swapaxes(0, 1).reshape(b, *rest)

    return parts.reshape(k, size, *batch.shape[1:]), merge
