"""Depthwise convolution as kernels for NVIDIA GPUs, written in Pallas for Triton.

XLA fuses the sum of shifted arrays too, but reads every number alone, and goes over all
of them once for every two taps of the kernel's gradient. Here a program holds a tile of
places by channels and reads eight numbers at a time.
"""

import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from merclip_jax.typing import Array, Float

CHANNELS = 128  # of a tile
PLACES = 8  # of a tile of outputs
ROWS = 4  # of a tile whose taps' gradients are summed: 27 sums stay in registers
PROGRAMS = 64  # that share the places of a sum


def takes(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether the kernels are written for such arrays, and gain by them."""
    whole = x.shape[-1] % CHANNELS == 0 and math.prod(x.shape[:-1]) % PLACES == 0
    # Few taps XLA fuses with what stands around them.
    many = math.prod(kernel.shape[:3]) > 3
    return whole and many and x.dtype == kernel.dtype and x.dtype.itemsize <= 4


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_kernel(
    x: Float[Array, "b t h w d"],
    kernel: Float[Array, "kt kh kw d"],
    interpret: bool = False,
) -> Float[Array, "b t h w d"]:
    """Returns the convolution, summed in float32.

    Args:
        x: values, of such a shape as `takes` says.
        kernel: odd in its first three axes.
        interpret: run on any device, slowly, for tests.
    """
    flat = x.reshape(-1, x.shape[-1])
    taps = kernel.reshape(-1, kernel.shape[-1])
    place = pl.BlockSpec((PLACES, CHANNELS), lambda i, c: (i, c))
    out = pl.pallas_call(
        functools.partial(_sum_of_taps, volume=x.shape[1:4], taps=kernel.shape[:3]),
        grid=(len(flat) // PLACES, flat.shape[1] // CHANNELS),
        in_specs=[pl.no_block_spec, pl.no_block_spec],
        out_specs=place,
        out_shape=jax.ShapeDtypeStruct(flat.shape, flat.dtype),
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="depthwise",
    )(flat, taps)
    return out.reshape(x.shape)


def _save(x, kernel, interpret):
    return depthwise_kernel(x, kernel, interpret), (x, kernel)


def _pull(interpret, kept, gradient):
    x, kernel = kept
    back = depthwise_kernel(gradient, kernel[::-1, ::-1, ::-1], interpret)
    return back, _taps_gradient(x, gradient, kernel, interpret)


depthwise_kernel.defvjp(_save, _pull)


def _taps_gradient(x, gradient, kernel, interpret: bool) -> jax.Array:
    flat = x.reshape(-1, x.shape[-1])
    taps = math.prod(kernel.shape[:3])
    sums = pl.pallas_call(
        functools.partial(
            _sum_of_places, volume=x.shape[1:4], taps=kernel.shape[:3], places=len(flat)
        ),
        grid=(PROGRAMS, flat.shape[1] // CHANNELS),
        in_specs=[pl.no_block_spec, pl.no_block_spec],
        out_specs=pl.no_block_spec,
        out_shape=jax.ShapeDtypeStruct((PROGRAMS, taps, x.shape[-1]), jnp.float32),
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="depthwise_taps",
    )(flat, gradient.reshape(flat.shape))
    return sums.sum(0).reshape(kernel.shape).astype(kernel.dtype)


def _sum_of_taps(x, kernel, out, *, volume, taps) -> None:
    rows = pl.program_id(0) * PLACES + jnp.arange(PLACES)
    channels = pl.program_id(1) * CHANNELS + jnp.arange(CHANNELS)
    total = jnp.zeros((PLACES, CHANNELS), jnp.float32)
    for tap, moved, inside in _neighbours(rows, volume, taps):
        part = _read(x, moved, channels, inside)
        weight = plgpu.load(kernel.at[tap, channels]).astype(jnp.float32)
        total += part * weight[None]
    out[...] = total.astype(out.dtype)


def _sum_of_places(x, gradient, out, *, volume, taps, places: int) -> None:
    program = pl.program_id(0)
    channels = pl.program_id(1) * CHANNELS + jnp.arange(CHANNELS)
    count = math.prod(taps)

    def add(i, sums):
        rows = (i * PROGRAMS + program) * ROWS + jnp.arange(ROWS)
        pulled = _read(gradient, rows, channels, rows < places)
        parts = _neighbours(rows, volume, taps)
        return tuple(
            total + _read(x, moved, channels, inside & (rows < places)) * pulled
            for total, (_, moved, inside) in zip(sums, parts, strict=True)
        )

    start = (jnp.zeros((ROWS, CHANNELS), jnp.float32),) * count
    sums = jax.lax.fori_loop(0, pl.cdiv(places, ROWS * PROGRAMS), add, start)
    for tap, total in enumerate(sums):
        plgpu.store(out.at[program, tap, channels], total.sum(0))


def _neighbours(
    rows: jax.Array, volume: tuple[int, int, int], taps: tuple[int, int, int]
) -> Iterator[tuple[int, jax.Array, jax.Array]]:
    """Each tap, the rows it reads for rows of a flat volume, and which are in it."""
    t, h, w = volume
    at = rows // (h * w) % t, rows // w % h, rows % w
    for tap, place in enumerate(np.ndindex(*taps)):
        by = [i - k // 2 for i, k in zip(place, taps, strict=True)]
        inside = rows >= 0
        for a, step, length in zip(at, by, volume, strict=True):
            if step:
                inside &= (a + step >= 0) & (a + step < length)
        yield tap, rows + (by[0] * h + by[1]) * w + by[2], inside


def _read(ref, rows, channels, inside) -> jax.Array:
    """A tile as float32, 0 outside."""
    places = ref.at[rows[:, None], channels[None]]
    return plgpu.load(places, mask=inside[:, None], other=0).astype(jnp.float32)
