"""Depthwise convolution, by what each platform does best."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.models.card import AMPERE, compute_capability
from merclip_jax.models.depthwise_kernel import depthwise_kernel, takes
from merclip_jax.models.layers import along
from merclip_jax.models.per_device import per_device
from merclip_jax.models.portable import has_kernels
from merclip_jax.typing import Array, Float


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
    # products does (benchmarks/RESULTS.md). On NVIDIA's GPUs theirs takes five times
    # what kernels of our own do. Elsewhere the sum wins: XLA fuses it, and under `vmap`
    # over members products stay products.
    if not has_kernels():
        return _shifted_products(x, kernel)
    too_old = 0 < compute_capability() < AMPERE
    ways = {"cuda": _kernel} if takes(x, kernel) and not too_old else {}
    return jax.lax.platform_dependent(
        x, kernel, tpu=_grouped_conv, **ways, default=_shifted_products
    )


def _kernel(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return per_device(depthwise_kernel)(x, shared=(kernel,))


def _grouped_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel[..., None, :],
        window_strides=(1, 1, 1),
        padding=[(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=x.shape[-1],
    )


def _shifted(
    x: jax.Array, taps: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], jax.Array]]:
    """Every tap's place, and the part of x [b, t, h, w, d] that it is multiplied by."""
    _, t, h, w, _ = x.shape
    padded = jnp.pad(x, [(0, 0), *((k // 2, k // 2) for k in taps), (0, 0)])
    for place in np.ndindex(*taps):
        i, j, k = place
        yield place, padded[:, i : i + t, j : j + h, k : k + w]


@jax.custom_vjp
def _shifted_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    out = jnp.zeros_like(x)
    for place, part in _shifted(x, kernel.shape[:3]):
        out += part * along(kernel[place], x)
    return out


def _shifted_products_forward(x, kernel):
    return _shifted_products(x, kernel), (x, kernel)


def _shifted_products_backward(kept, gradient):
    # Written out because JAX would keep all 27 shifted arrays of the forward pass.
    x, kernel = kept
    parts = _shifted(x, kernel.shape[:3])
    sums = [jnp.sum(part * gradient, axis=(0, 1, 2, 3)) for _, part in parts]
    return (
        _shifted_products(gradient, kernel[::-1, ::-1, ::-1]),
        jnp.stack(sums).reshape(kernel.shape),
    )


_shifted_products.defvjp(_shifted_products_forward, _shifted_products_backward)
