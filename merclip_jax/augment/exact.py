"""Products that are rounded on every device, whatever a compiler does with them.

Compilers draw a product into the sum behind it (a fused multiply-add) where they like,
and then it is not rounded: a value on a tie goes to another side. A sum of exact
products is the same either way.
"""

import jax
import jax.numpy as jnp

from merclip_jax.typing import Array, Float

Numbers = Float[Array, "..."]


def halves(x: Numbers) -> tuple[Numbers, Numbers]:
    """Two numbers of 12 bits each that add up to x, so that products are exact."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0xFFFFF000)
    high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return high, x - high


def scaled(x, factor):
    """A number times a float32, rounded once.

    Args:
        x: of at most 12 bits, such as whole numbers to 4095 and their halves.
        factor: any float32.
    """
    high, low = halves(jnp.asarray(factor, jnp.float32))
    return x * high + x * low
