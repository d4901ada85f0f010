"""Norms in float32 or wider, whatever the model computes in."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from merclip_jax.models.layers import along, at_least_float32
from merclip_jax.typing import Array, Bool, Dtype, Float, Leaf


def scaled(
    x: Float[Array, "... d"],
    mean: Float[Array, "..."],
    variance: Float[Array, "..."],
    scale: Float[Array, "d"],
    bias: Float[Array, "d"],
    *,
    epsilon: float,
) -> Float[Array, "... d"]:
    """Returns (x - mean) / sqrt(variance + epsilon) * scale + bias, in x's dtype.

    Args:
        x: channels last.
        mean, variance: with as many axes, float32 or wider.
        scale, bias: of the channels.
        epsilon: added to the variance.
    """
    wide = mean.dtype
    gain = jax.lax.rsqrt(variance + epsilon) * along(scale.astype(wide), x)
    y = (x.astype(wide) - mean) * gain + along(bias.astype(wide), x)
    return y.astype(x.dtype)


def moments(
    x: Float[Array, "... d"], average: Callable[[jax.Array], jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Returns mean and biased variance in float32 or wider.

    Args:
        x: values.
        average: of an array like x over some of its axes, which it keeps.
    """
    # bfloat16 keeps 8 bits: a mean over 768 channels would lose what it averages.
    wide = at_least_float32(x.dtype)
    mean = average(x.astype(wide))
    # Two passes: E[x^2] - E[x]^2 cancels where the mean is large, and moves more on a
    # TPU.
    return mean, average(jnp.square(x.astype(wide) - mean))


class LayerNorm(nn.Module):
    """LayerNorm over the last axis with biased variance, in float32 or wider."""

    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        y = x.astype(self.dtype)
        mean, variance = moments(y, lambda y: y.mean(-1, keepdims=True))
        return scaled(y, mean, variance, scale, bias, epsilon=self.epsilon)


class BatchNorm(nn.Module):
    """torch's BatchNorm over every axis but the last.

    Normalises with the biased batch variance and keeps running averages of the mean
    and of the *unbiased* variance, which flax's own BatchNorm does not. Raises
    ValueError when the batch does not divide into groups.

    Attributes:
        momentum: weight of the new value, as in torch (flax: of the old one).
        group_size: clips (leading axis) that share one set of statistics, as when each
            of several devices normalises its own; None: all clips.
        in_turn: groups come one after another, so that running averages move once for
            each; otherwise all at once, and they move once by the groups' mean.
        skip: tokens at the front (of the last axis but one) that are normalised and
            have no part in the statistics.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    group_size: int | None = None
    in_turn: bool = False
    skip: int = 0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b ... d"],
        *,
        train: bool,
        frozen: Bool[Array, ""] | None = None,
    ) -> jax.Array:
        """`frozen`: whether a training step uses running averages and keeps them."""
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (width,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (width,))
        y = x.astype(self.dtype)
        if train:
            group = self.group_size or len(x)
            if len(x) % group:
                raise ValueError(
                    f"BatchNorm: a batch of {len(x)} clips does not divide into "
                    f"groups of {group}"
                )
            y = y.reshape(len(x) // group, group, *y.shape[1:])
            average, count = self._average(y.shape)
            mean, var = moments(y, average)
            unbiased = var * (count / max(count - 1, 1))
            updates = (running_mean, mean), (running_var, unbiased)
            kept = [running.value for running, _ in updates]
            # A fresh model's buffers stay 0 and 1, as torch's do.
            if not self.is_initializing():
                for running, new in updates:
                    running.value = self._moved(running.value, new.reshape(-1, width))
            if frozen is not None:
                # Which of the two is a matter of values: one program for both.
                mean, var = (
                    jnp.where(frozen, along(old.astype(new.dtype), y), new)
                    for old, new in zip(kept, (mean, var), strict=True)
                )
                for (running, _), old in zip(updates, kept, strict=True):
                    running.value = jnp.where(frozen, old, running.value)
        else:
            wide = at_least_float32(self.dtype)
            mean, var = running_mean.value.astype(wide), running_var.value.astype(wide)
            mean, var = along(mean, y), along(var, y)
        y = scaled(y, mean, var, scale, bias, epsilon=self.epsilon)
        return y.reshape(x.shape)

    def _moved(self, running: Leaf, new: Float[Array, "g d"]) -> Leaf:
        """A running average [d] after the statistics of all groups."""
        new = new.astype(running.dtype)
        if not self.in_turn:
            # Mean over groups: the released code averages the devices' buffers.
            return running + self.momentum * (new.mean(0) - running)
        # r <- r + momentum (new - r), group after group.
        keep = 1 - self.momentum
        weights = self.momentum * keep ** np.arange(len(new) - 1, -1, -1)
        weights = jnp.asarray(weights, running.dtype)
        return keep ** len(new) * running + weights @ new

    def _average(self, shape: tuple[int, ...]) -> tuple[Callable, int]:
        """What averages an array [g, b, ..., d] over a group, and over how many values.

        The first `skip` tokens do not count. Leaving them out by a mask spares a copy
        of all others.
        """
        axes = tuple(range(1, len(shape) - 1))
        n = shape[-2]
        count = math.prod(shape[i] for i in axes) // n * (n - self.skip)
        counted = jnp.arange(n) >= self.skip
        counted = counted.reshape((1,) * (len(shape) - 2) + (n, 1))

        def average(y: jax.Array) -> jax.Array:
            y = jnp.where(counted, y, 0) if self.skip else y
            return y.sum(axes, keepdims=True) / count

        return average, count
