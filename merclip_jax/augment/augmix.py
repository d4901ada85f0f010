"""AugMix on the device: three chains of random operations mixed with the clip.

A clip is planes [t, c, h, w] of whole grey levels 0..255 in uint8. One draw serves all
frames.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from merclip_jax.augment.each_clip import each_clip
from merclip_jax.augment.operations import OPERATIONS, Planes, operate, truncate
from merclip_jax.typing import Array, Bool, Float, Int, UInt8

WIDTH, DEPTH = 3, 3


class Draws(NamedTuple):
    """Every choice of one AugMix call: `WIDTH` chains of at most `DEPTH` operations."""

    chain_weights: Float[Array, "3"]
    mix: Float[Array, ""]
    depth: Int[Array, "3"]
    operation: Int[Array, "3 3"]
    level: Float[Array, "3 3"]
    sign: Float[Array, "3 3"]


def draw(key: Array) -> Draws:
    """Returns the choices of one AugMix call.

    Weights ~ Dirichlet(1, 1, 1), mix ~ U(0, 1), depth ~ U{1, 2, 3}; each slot has an
    operation of the 13, with replacement, a level ~ U(0.1, 1) and a fair sign +-1.
    """
    keys = jax.random.split(key, 6)
    slots = (WIDTH, DEPTH)
    # Exponentials over their sum are Dirichlet(1, 1, 1).
    parts = jax.random.exponential(keys[0], (WIDTH,), jnp.float32)
    return Draws(
        chain_weights=parts / parts.sum(),
        mix=jax.random.uniform(keys[1], (), jnp.float32),
        depth=jax.random.randint(keys[2], (WIDTH,), 1, DEPTH + 1, jnp.int32),
        operation=jax.random.randint(keys[3], slots, 0, len(OPERATIONS), jnp.int32),
        level=jax.random.uniform(keys[4], slots, jnp.float32, 0.1, 1.0),
        sign=jax.random.rademacher(keys[5], slots, jnp.float32),
    )


def augmix(planes: Planes, draws: Draws) -> Planes:
    """Returns trunc(m x + (1 - m) sum of w_c chain_c(x)) for one clip.

    Args:
        planes: x, whole levels.
        draws: m is `mix`, w are `chain_weights`; the rest are the chains.
    """
    x = planes.astype(jnp.float32)

    # Loops: chains and operations follow one another, in the memory of one operation,
    # and a chain is no longer than its depth.
    def chain(total, choices):
        weight, depth, *slots = choices
        out = jax.lax.fori_loop(
            0, depth, lambda i, now: operate(now, *(s[i] for s in slots)), planes
        )
        return total + weight * out.astype(jnp.float32), None

    choices = (draws.chain_weights, *draws[2:])
    total, _ = jax.lax.scan(chain, jnp.zeros_like(x), choices)
    return truncate(draws.mix * x + (1 - draws.mix) * total).astype(jnp.uint8)


def augmix_batch(
    key: Array, clips: UInt8[Array, "b t h w c"], chosen: Bool[Array, "b"]
) -> UInt8[Array, "b t h w c"]:
    """Returns the clips, the chosen ones after AugMix, each with its own draw.

    Args:
        key: of the batch.
        clips: whole levels.
        chosen: which clips to change.
    """
    draws = jax.vmap(draw)(jax.random.split(key, len(clips)))
    return each_clip(augmix, clips, chosen, draws)
