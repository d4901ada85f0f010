"""Layers shared by the towers: norms, MLP, drop path, shifted convolutions.

Every module takes `dtype`, the compute dtype; parameters stay float32 (float64 under
x64 when initialised so). `*_init` are initialisers of the kernels.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.typing import Array, Dtype, Float, Shaped

Initializer = Callable[..., jax.Array]


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """CLIP's activation x * sigmoid(1.702 x); any shape."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exact (erf) GELU of the emotion head; any shape."""
    return jax.nn.gelu(x, approximate=False)


def at_least_float32(dtype: Dtype) -> jnp.dtype:
    """What norms and outputs are computed in: float64 stays, all else is float32."""
    return jnp.dtype(dtype) if jnp.dtype(dtype).itemsize > 4 else jnp.dtype("float32")


def along(vector: Float[Array, "d"], like: Shaped[Array, "..."]) -> jax.Array:
    """Returns `vector` [d] with leading axes of one, as many as `like` has.

    Args:
        vector: one value for each channel.
        like: what it is to be broadcast against, channels last.
    """
    # Written out because the tests run with rank_promotion="raise".
    return vector.reshape((1,) * (like.ndim - 1) + (-1,))


def uniform_fan_in(fan_in: int) -> Initializer:
    """Torch's default for linear and convolution layers: U(+-1/sqrt(fan_in))."""

    def init(key, shape, dtype=jnp.float32, out_sharding=None):
        del out_sharding
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


# `Execution.remat`: what of a block's forward pass is kept for its backward pass.
_KEPT = {
    "products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "blocks": jax.checkpoint_policies.nothing_saveable,
}


def rematerialised(module: nn.Module, remat: str) -> Callable[..., jax.Array]:
    """Returns a module's call, whose backward pass computes again what it lacks.

    Arrays go in by position, all that is static by name.

    Args:
        module: a block.
        remat: "none" keeps all of the forward pass, "products" those with weights,
            "blocks" the block's input alone.
    """

    def call(*arrays: jax.Array, **static: Any) -> jax.Array:
        if remat == "none":
            return module(*arrays, **static)
        function = nn.remat(
            lambda module, *arrays: module(*arrays, **static), policy=_KEPT[remat]
        )
        return function(module, *arrays)

    return call


class LayerNorm(nn.Module):
    """LayerNorm over the last axis with biased variance, in float32 or wider."""

    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        # bfloat16 keeps 8 bits: a mean over 768 channels would lose what it averages.
        wide = at_least_float32(self.dtype)
        # The fast variance, E[x^2] - E[x]^2, cancels where the mean is large.
        norm = nn.LayerNorm(
            epsilon=self.epsilon, dtype=wide, use_fast_variance=False, name="norm"
        )
        nn.share_scope(self, norm)  # parameters lie directly under this module's name
        return norm(x.astype(wide)).astype(self.dtype)


class BatchNorm(nn.Module):
    """torch's BatchNorm over every axis but the last.

    Normalises with the biased batch variance and keeps running averages of the mean
    and of the *unbiased* variance, which flax's own BatchNorm does not. Raises
    ValueError when the batch does not divide into groups.

    Attributes:
        momentum: weight of the new value, as in torch (flax: of the old one).
        group_size: clips (leading axis) that share one set of statistics, as when each
            of several devices normalises its own; None: all clips.
        skip: tokens at the front (of the last axis but one) that are normalised and
            have no part in the statistics.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    group_size: int | None = None
    skip: int = 0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b ... d"], *, train: bool) -> jax.Array:
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (width,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (width,))
        wide = at_least_float32(self.dtype)
        y = x.astype(wide)
        if train:
            group = self.group_size or len(x)
            if len(x) % group:
                raise ValueError(
                    f"BatchNorm: a batch of {len(x)} clips does not divide into "
                    f"groups of {group}"
                )
            y = y.reshape(len(x) // group, group, *y.shape[1:])
            mean, var, count = self._moments(y)
            # A fresh model's buffers stay 0 and 1, as torch's do.
            if not self.is_initializing():
                unbiased = var * (count / max(count - 1, 1))
                # Mean over groups: the released code averages the devices' buffers.
                for running, new in ((running_mean, mean), (running_var, unbiased)):
                    new = new.reshape(-1, width).mean(0).astype(running.value.dtype)
                    running.value += self.momentum * (new - running.value)
        else:
            mean, var = running_mean.value.astype(wide), running_var.value.astype(wide)
            mean, var = along(mean, y), along(var, y)
        gain = jax.lax.rsqrt(var + self.epsilon) * along(scale.astype(wide), y)
        y = (y - mean) * gain + along(bias.astype(wide), y)
        return y.reshape(x.shape).astype(self.dtype)

    def _moments(self, y: Float[Array, "g ... d"]) -> tuple[jax.Array, jax.Array, int]:
        """Mean and variance of each group [g, 1, ..., d], and of how many values."""
        axes = tuple(range(1, y.ndim - 1))
        count, counted = math.prod(y.shape[i] for i in axes), True
        if self.skip:
            n = y.shape[-2]
            count = count // n * (n - self.skip)
            # Leaving tokens out by a mask spares a copy of all others.
            counted = (jnp.arange(n) >= self.skip).reshape((1,) * (y.ndim - 2) + (n, 1))
        # Two passes: one, by E[x^2] - E[x]^2 around some value, moves more on a TPU.
        mean = jnp.where(counted, y, 0).sum(axes, keepdims=True) / count
        off = jnp.where(counted, y - mean, 0)
        return mean, jnp.square(off).sum(axes, keepdims=True) / count, count


class MLP(nn.Module):
    """c_proj(dropout(activation(c_fc(x)))), d -> hidden -> d.

    `zero_out` starts `c_proj` at zero; `bias_init` is of `c_fc`.
    """

    hidden: int
    activation: Callable[[jax.Array], jax.Array] = quick_gelu
    dropout: float = 0.0
    zero_out: bool = False
    dtype: Dtype = jnp.float32
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    out_init: Initializer = nn.initializers.xavier_uniform()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"], *, train: bool) -> jax.Array:
        width = x.shape[-1]
        x = nn.Dense(
            self.hidden,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            name="c_fc",
        )(x)
        x = self.activation(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        init = nn.initializers.zeros if self.zero_out else self.out_init
        return nn.Dense(width, kernel_init=init, dtype=self.dtype, name="c_proj")(x)


class DropPath(nn.Module):
    """Drops a residual branch of whole clips; what stays is scaled by 1/(1 - rate)."""

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "b ..."], *, train: bool) -> jax.Array:
        # UniFormerV2's released code has tokens in front and so drops single tokens;
        # one draw for each clip is what drop path means.
        broadcast = tuple(range(1, x.ndim))
        return nn.Dropout(self.rate, broadcast_dims=broadcast, deterministic=not train)(
            x
        )


def depthwise_conv(
    x: Float[Array, "b t h w d"],
    kernel: Float[Array, "kt kh kw d"],
) -> Float[Array, "b t h w d"]:
    """Depthwise 3D convolution with stride 1 and zero padding of half a kernel.

    Args:
        x: values.
        kernel: one tap for each channel, kt, kh and kw odd.
    """
    # A TPU has a convolution for it, which moves a sixth of what the sum of shifted
    # products does (benchmarks/RESULTS.md). Elsewhere the sum wins: XLA fuses it, and
    # under `vmap` over members products stay products.
    return jax.lax.platform_dependent(
        x, kernel, tpu=_grouped_conv, default=_shifted_products
    )


def _grouped_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel[..., None, :],
        window_strides=(1, 1, 1),
        padding=[(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=x.shape[-1],
    )


def _shifted_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    taps = kernel.shape[:3]
    pad = [(0, 0), *((k // 2, k // 2) for k in taps), (0, 0)]
    padded = jnp.pad(x, pad)
    out = jnp.zeros_like(x)
    for i in range(taps[0]):
        for j in range(taps[1]):
            for k in range(taps[2]):
                _, t, h, w, d = x.shape
                tap = kernel[i, j, k].reshape(1, 1, 1, 1, d)
                out += padded[:, i : i + t, j : j + h, k : k + w] * tap
    return out
