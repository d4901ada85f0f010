"""Attention as one TPU kernel: scores never leave the chip.

XLA writes the float32 scores of every head to memory and reads them back, forward and
backward: at 197 tokens a frame that is most of what attention moves. A whole sequence
fits on the chip, so the kernel needs no running softmax; the backward pass computes the
weights again from q and k.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from merclip_jax.typing import Array, Float

LANES = 128  # of a vector register: a kernel reads heads by so many channels
ROWS = 256  # queries at a time: their scores for 1569 keys are 1.6 MB
LONG = 3200  # bytes of a channel's keys: for more, 16 MiB, given unasked, do not do
ROOM = 48 * 2**20  # bytes on the chip, of a v5e's 128 MiB, for such a kernel


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def fused_attention(
    q: Float[Array, "b n d"],
    k: Float[Array, "b s d"],
    v: Float[Array, "b s d"],
    heads: int,
    interpret: bool = False,
) -> Float[Array, "b n d"]:
    """Returns multi-head attention, softmax in float32.

    Args:
        q: n queries.
        k: s keys.
        v: the keys' values.
        heads: parts of the width d.
        interpret: run on any device, slowly, for tests.
    """
    return _call(_forward, (q, k, v), (q,), heads, interpret)[0]


def _save(q, k, v, heads, interpret):
    return fused_attention(q, k, v, heads, interpret), (q, k, v)


def _pull(heads, interpret, kept, gradient):
    return _call(_backward, (*kept, gradient), kept, heads, interpret)


fused_attention.defvjp(_save, _pull)


def _call(kernel, arrays, outputs, heads: int, interpret: bool) -> tuple:
    """Run a kernel for every sequence and every few heads."""
    b, _, d = arrays[0].shape
    channels = d // heads
    # As many heads as fill a register's lanes; where they do not, all of them.
    width = math.lcm(channels, LANES)
    width = width if d % width == 0 else d
    room = ROOM if arrays[1].shape[1] * arrays[1].dtype.itemsize > LONG else None
    blocks = [pl.BlockSpec((1, a.shape[1], width), _place) for a in arrays]
    made = [pl.BlockSpec((1, a.shape[1], width), _place) for a in outputs]
    return pl.pallas_call(
        functools.partial(kernel, channels=channels),
        grid=(b, d // width),
        in_specs=blocks,
        out_specs=made,
        out_shape=[jax.ShapeDtypeStruct(a.shape, a.dtype) for a in outputs],
        interpret=interpret,
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=room),
        name=kernel.__name__.strip("_") + "_attention",
    )(*arrays)


def _place(sequence, part):
    return sequence, 0, part


def _forward(q, k, v, out, *, channels: int) -> None:
    for head in _heads(q, channels):
        keys, values = k[0, :, head], v[0, :, head]
        for rows in _rows(q):
            weights = _weights(q[0, rows, head], keys)
            out[0, rows, head] = _dot(weights.astype(v.dtype), values, 1, 0).astype(
                out.dtype
            )


def _backward(q, k, v, gradient, dq, dk, dv, *, channels: int) -> None:
    scale = channels**-0.5
    for head in _heads(q, channels):
        keys, values = k[0, :, head], v[0, :, head]
        to_keys = jnp.zeros(keys.shape, jnp.float32)
        to_values = jnp.zeros(values.shape, jnp.float32)
        for rows in _rows(q):
            queries, pulled = q[0, rows, head], gradient[0, rows, head]
            weights = _weights(queries, keys)
            to_values += _dot(weights.astype(v.dtype), pulled, 0, 0)
            to_weights = _dot(pulled, values, 1, 1)
            mean = (to_weights * weights).sum(1, keepdims=True)
            to_scores = (weights * (to_weights - mean) * scale).astype(q.dtype)
            dq[0, rows, head] = _dot(to_scores, keys, 1, 0).astype(dq.dtype)
            to_keys += _dot(to_scores, queries, 0, 0)
        dk[0, :, head] = to_keys.astype(dk.dtype)
        dv[0, :, head] = to_values.astype(dv.dtype)


def _weights(queries: Array, keys: Array) -> Array:
    """Softmax of the scaled scores, float32 [n, s]."""
    scores = _dot(queries, keys, 1, 1) * queries.shape[1] ** -0.5
    raised = jnp.exp(scores - scores.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def _dot(left: Array, right: Array, over: int, under: int) -> Array:
    """A product summed in float32 over an axis of each."""
    return jax.lax.dot_general(
        left,
        right,
        (((over,), (under,)), ((), ())),
        preferred_element_type=jnp.float32,
    )


def _heads(ref, channels: int) -> list[slice]:
    return [slice(i, i + channels) for i in range(0, ref.shape[2], channels)]


def _rows(ref) -> list[slice]:
    n = ref.shape[1]
    return [slice(i, min(i + ROWS, n)) for i in range(0, n, ROWS)]
