"""A 3x3 convolution of pictures, computed as each platform likes it."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.layers import Initializer, along
from merclip_jax.models.portable import has_kernels
from merclip_jax.typing import Array, Dtype, Float


class Conv3x3(nn.Module):
    """torch's Conv2d of 3x3 taps and one pixel of padding on each side.

    `groups`: into which channels are divided, each seeing its own alone.
    """

    features: int
    stride: int = 1
    groups: int = 1
    use_bias: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        shape = (3, 3, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
        x = convolve(x.astype(self.dtype), kernel, stride=self.stride)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
            x = x + along(bias.astype(self.dtype), x)
        return x


def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 i f"], *, stride: int
) -> Float[Array, "n h2 w2 f"]:
    """Returns the convolution with one pixel of zeros around the pictures.

    Args:
        x: pictures.
        kernel: of c / i groups.
        stride: pixels from one result to the next.
    """
    if not has_kernels():
        return _plain(x, kernel, stride)
    # XLA's CPU backend computes its own many times slower than products where members
    # have a kernel each, and slower still in a loop, as the steps of a dispatch are
    # (benchmarks/convolutions.py).
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_as_products, stride=stride),
        default=functools.partial(_plain, stride=stride),
    )


def _plain(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """As XLA's own convolution."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def _as_products(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The nine shifted pictures side by side, times the kernel as a matrix."""
    n, h, w, c = x.shape
    _, _, within, features = kernel.shape
    groups = c // within
    out_h, out_w = ((side - 1) // stride + 1 for side in (h, w))
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [
        jax.lax.slice(
            padded,
            (0, i, j, 0),
            (n, i + (out_h - 1) * stride + 1, j + (out_w - 1) * stride + 1, c),
            (1, stride, stride, 1),
        )
        for i in range(3)
        for j in range(3)
    ]
    if groups == 1:
        rows = jnp.concatenate(shifted, -1)
        return rows @ kernel.reshape(9 * c, features)
    taps = jnp.stack(shifted, -2).reshape(n, out_h, out_w, 9, groups, within)
    kernel = kernel.reshape(9, within, groups, features // groups)
    y = jnp.einsum("nhwkgi,kigf->nhwgf", taps, kernel)
    return y.reshape(n, out_h, out_w, features)
