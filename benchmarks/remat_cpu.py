"""XLA's CPU backend undoes `jax.checkpoint`: bytes of a chain of 32 small layers.

  python -m benchmarks.remat_cpu

Its gradient is compiled as it is, rematerialised in blocks of four layers, and as a
`lax.scan` of such blocks. XLA drops the barriers of `jax.checkpoint` on a CPU, so that
nothing holds what is computed again back until it is needed: by its default order it is
made early and kept. A loop's body waits for its turn.
"""

import jax
import jax.numpy as jnp
from absl import app

from merclip_jax import command
from merclip_jax.training.compiler import OPTIONS

BLOCKS, LAYERS, ROWS, WIDTH = 8, 4, 4096, 512


def block(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Four layers; what their backward pass needs is eight arrays like x."""
    for i in range(LAYERS):
        x = jnp.sin(jnp.cos(x @ weights[i]))
    return x


def chain(one_block):
    """(x, weights) to the sum behind all blocks, written out."""

    def run(x, weights):
        for i in range(BLOCKS):
            x = one_block(x, weights[i])
        return x.sum()

    return run


def loop(x: jax.Array, weights: jax.Array) -> jax.Array:
    """The same as a loop."""
    x, _ = jax.lax.scan(lambda x, w: (jax.checkpoint(block)(x, w), None), x, weights)
    return x.sum()


def main(_: list[str]) -> None:
    """Print temporaries in MB, by XLA's default order and by memory."""
    x = jax.ShapeDtypeStruct((ROWS, WIDTH), jnp.float32)
    weights = jax.ShapeDtypeStruct((BLOCKS, LAYERS, WIDTH, WIDTH), jnp.float32)
    print(f"one array: {ROWS * WIDTH * 4 / 1e6:.1f} MB; temporaries in MB")
    print(f"{'':<24}{'as it is':>10}{'ordered for memory':>20}")
    cases = {
        "all kept": chain(block),
        "jax.checkpoint": chain(jax.checkpoint(block)),
        "loop of jax.checkpoint": loop,
    }
    for name, run in cases.items():
        lowered = jax.jit(jax.grad(run, argnums=(0, 1))).lower(x, weights)
        used = [
            lowered.compile(compiler_options=options).memory_analysis()
            for options in ({}, OPTIONS["cpu"])
        ]
        mb = [use.temp_size_in_bytes / 1e6 for use in used]
        print(f"{name:<24}{mb[0]:>10.0f}{mb[1]:>20.0f}")


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
