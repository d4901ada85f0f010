"""AugMix on the device: three chains of random operations mixed with the clip.

Clips are float32 [t, h, w, 3] of whole grey levels 0..255. One draw serves all frames.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from merclip_jax.augment.operations import (
    AFFINE,
    OPERATIONS,
    TABLES,
    Clip,
    Index,
    Scalar,
    blend,
    read,
    strength,
    tabulate,
    truncate,
    warp,
)
from merclip_jax.typing import Array, Bool, Float, Int

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


def apply_operation(clip: Clip, operation: Index, level: Scalar, sign: Scalar) -> Clip:
    """Returns one clip after one operation, whole grey levels again.

    Args:
        clip: whole levels 0..255; others give nonsense, not an error.
        operation: index into OPERATIONS.
        level: in 0.1..1.
        sign: +-1.
    """
    kinds = [0 if x in TABLES else 1 if x in AFFINE else 2 for x in OPERATIONS]
    kind = jnp.asarray(kinds, jnp.int32)[operation]
    amount = strength(operation, level, sign)

    def stage(carry, i):
        x, table = carry

        def when(family, act, otherwise):
            return jax.lax.cond(kind == family, act, lambda: otherwise)

        stages = (
            lambda: (x, when(0, lambda: tabulate(x, operation, amount), table)),
            lambda: (when(0, lambda: read(table, x.astype(jnp.int32)), x), table),
            lambda: (when(1, lambda: warp(x, operation, amount), x), table),
            lambda: (when(2, lambda: blend(x, operation, amount), x), table),
        )
        return jax.lax.switch(i, stages), None

    # The loop's own index is the same for all members under vmap, so that the stages
    # stay apart: XLA would else fuse them and work out tables anew for every pixel.
    table = jnp.zeros((len(clip), clip.shape[-1], 256), clip.dtype)
    (out, _), _ = jax.lax.scan(stage, (clip, table), jnp.arange(4))
    return out


def augmix(clip: Clip, draws: Draws) -> Clip:
    """Returns trunc(m x + (1 - m) sum of w_c chain_c(x)) for one clip.

    Args:
        clip: x, whole levels.
        draws: m is `mix`, w are `chain_weights`; the rest are the chains.
    """

    # Scans: chains and operations follow one another, in the memory of one operation.
    def step(x, slot):
        used, *choice = slot
        return jax.lax.cond(used, lambda: apply_operation(x, *choice), lambda: x), None

    def chain(total, choices):
        weight, depth, *slots = choices
        out, _ = jax.lax.scan(step, clip, (jnp.arange(DEPTH) < depth, *slots))
        return total + weight * out, None

    choices = (draws.chain_weights, *draws[2:])
    total, _ = jax.lax.scan(chain, jnp.zeros_like(clip), choices)
    return truncate(draws.mix * clip + (1 - draws.mix) * total)


def augmix_batch(
    key: Array, clips: Float[Array, "b t h w c"], chosen: Bool[Array, "b"]
) -> Float[Array, "b t h w c"]:
    """Returns the clips, the chosen ones after AugMix, each with its own draw.

    Args:
        key: of the batch.
        clips: whole levels.
        chosen: which clips to change.
    """

    def one(choices):
        key, clip, picked = choices
        return jax.lax.cond(picked, lambda: augmix(clip, draw(key)), lambda: clip)

    # One clip after the other: vmap over clips would hold all their chains at once.
    return jax.lax.map(one, (jax.random.split(key, len(clips)), clips, chosen))
