"""3x3 convolutions of FDP's sizes on a CPU, as XLA's own and as products.

  python -m benchmarks.convolutions

Forward and backward, for one member and for a stack that has a kernel for each, alone
and in a loop, as the steps of a dispatch are. Why `models/convolution.py` computes
products on a CPU; times are those of the machine.
"""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import app, flags

from merclip_jax.models.convolution import _as_products, _plain

TIMES = flags.DEFINE_integer("times", 5, "Runs that are timed; the shortest counts.")
# Members; pictures, side, channels of each: of the released size and of the tiny one.
SIZES = ((1, 64, 16, 96), (1, 64, 4, 384), (1, 288, 8, 24), (4, 288, 8, 24))


def timed(way: Callable, x: jax.Array, kernels: jax.Array, *, looped: bool) -> float:
    """Milliseconds of a forward and backward pass of all members at once.

    Args:
        way: from pictures and kernel to the convolution.
        x: [m, n, h, w, c].
        kernels: [m, 3, 3, c, f].
        looped: whether the pass is the body of a loop of two rounds, each counted.
    """

    def loss(x: jax.Array, kernels: jax.Array) -> jax.Array:
        one = functools.partial(way, stride=1)
        if len(x) == 1:
            return jnp.square(one(x[0], kernels[0])).sum()
        return jnp.square(jax.vmap(one)(x, kernels)).sum()

    gradients = jax.grad(loss, argnums=(0, 1))

    def rounds(x: jax.Array, kernels: jax.Array) -> tuple[jax.Array, jax.Array]:
        if not looped:
            return gradients(x, kernels)
        # Each round starts from what the one before gave, so that none is left out.
        return jax.lax.fori_loop(0, 2, lambda _, now: gradients(*now), (x, kernels))

    step = jax.jit(rounds)
    jax.block_until_ready(step(x, kernels))
    best = float("inf")
    for _ in range(TIMES.value):
        started = time.perf_counter()
        jax.block_until_ready(step(x, kernels))
        best = min(best, time.perf_counter() - started)
    return best * 1e3 / (2 if looped else 1)


def main(_: list[str]) -> None:
    """Print milliseconds for every size."""
    heads = ("alone, XLA", "products", "in a loop, XLA", "products")
    print(" " * 24 + "".join(f"{head:>16}" for head in heads))
    for members, n, side, width in SIZES:
        keys = jax.random.split(jax.random.key(0))
        x = jax.random.normal(keys[0], (members, n, side, side, width))
        kernels = 0.02 * jax.random.normal(keys[1], (members, 3, 3, width, width))
        found = [
            timed(way, x, kernels, looped=looped)
            for looped in (False, True)
            for way in (_plain, _as_products)
        ]
        shape = f"{members} x {n} of {side}x{side}x{width}"
        print(f"{shape:<24}" + "".join(f"{ms:>16.1f}" for ms in found), flush=True)


if __name__ == "__main__":
    app.run(main)
