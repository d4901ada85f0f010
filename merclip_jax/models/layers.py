"""Layers shared by the towers: norms, MLP, drop path, shifted convolutions.

Every module takes `dtype`, the compute dtype; parameters stay float32 (float64 under
x64 when initialised so). `*_init` are initialisers of the kernels.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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

    def call(*arrays: jax.Array | None, **static: Any) -> jax.Array:
        if remat == "none":
            return module(*arrays, **static)
        function = nn.remat(
            lambda module, *arrays: module(*arrays, **static), policy=_KEPT[remat]
        )
        return function(module, *arrays)

    return call


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
            # A fresh model's buffers stay 0 and 1, as torch's do.
            if not self.is_initializing():
                unbiased = var * (count / max(count - 1, 1))
                # Mean over groups: the released code averages the devices' buffers.
                for running, new in ((running_mean, mean), (running_var, unbiased)):
                    new = new.reshape(-1, width).mean(0).astype(running.value.dtype)
                    running.value += self.momentum * (new - running.value)
        else:
            wide = at_least_float32(self.dtype)
            mean, var = running_mean.value.astype(wide), running_var.value.astype(wide)
            mean, var = along(mean, y), along(var, y)
        y = scaled(y, mean, var, scale, bias, epsilon=self.epsilon)
        return y.reshape(x.shape)

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
    """Drops a residual branch of whole clips; what stays is scaled by 1/(1 - rate).

    Called with the branch and the draws of its block, of which it takes the one of its
    `place`; None: nothing is dropped.
    """

    rate: float
    place: int = 0

    def __call__(
        self, x: Float[Array, "b ..."], draws: Float[Array, "p b"] | None
    ) -> Float[Array, "b ..."]:
        # UniFormerV2's released code has tokens in front and so drops single tokens;
        # one draw for each clip is what drop path means.
        if draws is None or not self.rate:
            return x
        kept = (draws[self.place] >= self.rate).reshape((-1,) + (1,) * (x.ndim - 1))
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0.0
        return jnp.where(kept, x * scale, jnp.zeros_like(x))


def path_draws(
    module: nn.Module,
    blocks: Sequence[int],
    clips: int,
    *,
    train: bool,
    rate: float,
) -> Sequence[Float[Array, "p b"] | None]:
    """Returns what the drop paths of a tower draw, block by block: uniform in [0, 1).

    Args:
        module: whose "dropout" key is used.
        blocks: the paths of each.
        clips: in the batch, b.
        train: False: nothing is dropped, and None is returned for each block.
        rate: the highest of the tower; 0 draws nothing either.
    """
    if not train or not rate:
        return [None] * len(blocks)
    # All at once: a draw for each path makes a thousand instructions on a TPU.
    draws = jax.random.uniform(module.make_rng("dropout"), (sum(blocks), clips))
    return jnp.split(draws, np.cumsum(blocks)[:-1].tolist())


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


def _padded(x: jax.Array, taps: tuple[int, ...]) -> jax.Array:
    return jnp.pad(x, [(0, 0), *((k // 2, k // 2) for k in taps), (0, 0)])


def _shifted(padded: jax.Array, shape: tuple[int, ...], taps: tuple[int, ...]):
    """Every tap's place and what lies under it, [b, t, h, w, d]."""
    _, t, h, w, _ = shape
    for place in np.ndindex(*taps):
        i, j, k = place
        yield place, padded[:, i : i + t, j : j + h, k : k + w]


@jax.custom_vjp
def _shifted_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    taps = kernel.shape[:3]
    out = jnp.zeros_like(x)
    for place, part in _shifted(_padded(x, taps), x.shape, taps):
        out += part * along(kernel[place], x)
    return out


def _shifted_products_forward(x, kernel):
    return _shifted_products(x, kernel), (x, kernel)


def _shifted_products_backward(kept, gradient):
    # Written out because JAX would keep all 27 shifted arrays of the forward pass.
    x, kernel = kept
    taps = kernel.shape[:3]
    parts = _shifted(_padded(x, taps), x.shape, taps)
    sums = [jnp.sum(part * gradient, axis=(0, 1, 2, 3)) for _, part in parts]
    return (
        _shifted_products(gradient, kernel[::-1, ::-1, ::-1]),
        jnp.stack(sums).reshape(kernel.shape),
    )


_shifted_products.defvjp(_shifted_products_forward, _shifted_products_backward)
