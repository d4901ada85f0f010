"""Multi-head attention, and CLIP's module of it with packed projections."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from merclip_jax.models.card import AMPERE, compute_capability
from merclip_jax.models.fused_attention import fused_attention
from merclip_jax.models.layers import Initializer, along, at_least_float32
from merclip_jax.models.per_device import per_device
from merclip_jax.models.portable import has_kernels
from merclip_jax.typing import Array, Dtype, Float

# "auto" is "fused" on TPUs, "cudnn" on NVIDIA GPUs for what it takes, else "xla".
ATTENTIONS = ("auto", "xla", "fused", "cudnn")


def attend(
    q: Float[Array, "*batch n d"],
    k: Float[Array, "*batch s d"],
    v: Float[Array, "*batch s d"],
    *,
    heads: int,
    causal: bool = False,
    implementation: str = "auto",
) -> Float[Array, "*batch n d"]:
    """Returns multi-head scaled dot-product attention in the dtype of `v`.

    Args:
        q: n queries.
        k: s keys.
        v: the keys' values.
        heads: parts of the width d; head h is channels h*d/heads onwards.
        causal: token i reads tokens 0..i alone.
        implementation: one of ATTENTIONS. "xla" is `jax.nn.dot_product_attention`, the
            softmax in float32 or wider; "fused" a kernel for TPUs that keeps scores on
            the chip; "cudnn" that of NVIDIA GPUs, for bfloat16. What a kernel gains
            nothing by, a single query or a causal mask, is left to "xla".

    Raises:
        ValueError: for other implementations, and when d does not divide into heads.
    """
    _check_heads(q.shape[-1], heads)
    if implementation not in ATTENTIONS:
        raise ValueError(
            f"attention={implementation!r}: expected one of {list(ATTENTIONS)}"
        )
    batch, (n, d) = q.shape[:-2], q.shape[-2:]
    q, k, v = (a.reshape(-1, *a.shape[-2:]) for a in (q, k, v))
    plain = functools.partial(_attend_jax, heads=heads, causal=causal)
    fused = per_device(lambda q, k, v: fused_attention(q, k, v, heads))
    cudnn = functools.partial(_attend_jax, heads=heads, implementation="cudnn")
    if q.dtype == jnp.float64:
        out = _attend_float64(q, k, v, heads=heads, causal=causal)
    elif implementation == "xla" or n == 1 or causal or not has_kernels():
        out = plain(q, k, v)
    elif implementation == "fused":
        out = fused(q, k, v)
    elif implementation == "cudnn":
        out = jax.lax.platform_dependent(q, k, v, cuda=cudnn, default=plain)
    else:
        # Of all only that of the platform is compiled. JAX traces cuDNN's where it is.
        kernels = {"cuda": cudnn} if _cudnn_takes(q.dtype, d // heads) else {}
        out = jax.lax.platform_dependent(q, k, v, tpu=fused, **kernels, default=plain)
    return out.reshape(*batch, n, d)


def _cudnn_takes(dtype: Dtype, channels: int) -> bool:
    """Whether there is a card here whose cuDNN attends in a dtype, head by head."""
    takes = dtype == jnp.bfloat16 and channels % 8 == 0 and channels <= 128
    return takes and compute_capability() >= AMPERE


def _check_heads(width: int, heads: int) -> None:
    if heads < 1 or width % heads:
        raise ValueError(f"attention: width {width} does not divide into {heads} heads")


def _attend_jax(
    q: Float[Array, "b n d"],
    k: Float[Array, "b s d"],
    v: Float[Array, "b s d"],
    *,
    heads: int,
    causal: bool = False,
    implementation: str = "xla",
) -> Float[Array, "b n d"]:
    b, n, d = q.shape
    lengths = {}
    if implementation == "cudnn":
        # Of each sequence, which JAX's rule for `vmap` wants to be of each member too:
        # hence a choice of one of two equal numbers by what is a member's own.
        own = q[:, 0, 0] > 0
        lengths = {
            "query_seq_lengths": jnp.where(own, n, n),
            "key_value_seq_lengths": jnp.where(own, k.shape[1], k.shape[1]),
        }
        # cuDNN trains on even lengths alone. What is added is no key of any query.
        q, k, v = (jnp.pad(a, [(0, 0), (0, a.shape[1] % 2), (0, 0)]) for a in (q, k, v))
    q, k, v = (_split(a, heads) for a in (q, k, v))
    # Inside, jax mixes bfloat16 with float32 without saying so.
    with jax.numpy_dtype_promotion("standard"):
        out = jax.nn.dot_product_attention(
            q, k, v, is_causal=causal, implementation=implementation, **lengths
        )
    return out.reshape(b, -1, d)[:, :n]


def _split(a: Float[Array, "b n d"], heads: int) -> Float[Array, "b n h c"]:
    return a.reshape(*a.shape[:2], heads, -1)


def _attend_float64(
    q: Float[Array, "b n d"],
    k: Float[Array, "b s d"],
    v: Float[Array, "b s d"],
    *,
    heads: int,
    causal: bool,
) -> Float[Array, "b n d"]:
    """The same in float64, where `jax.nn` sums in float32: for the exact tests."""
    q, k, v = (_split(a, heads) for a in (q, k, v))
    scores = jnp.einsum("bnhc,bshc->bhns", q, k) * q.shape[-1] ** -0.5
    if causal:
        seen = jnp.tril(jnp.ones((1, 1, *scores.shape[2:]), bool))
        scores = jnp.where(seen, scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1)
    out = jnp.einsum("bhns,bshc->bnhc", weights, v)
    return out.reshape(*out.shape[:2], -1)


def read_by_one(
    query: Float[Array, "b d"],
    contexts: Sequence[Float[Array, "b ... d"]],
    kernel: Float[Array, "d 2*d"],
    bias: Float[Array, "2*d"],
    *,
    heads: int,
) -> Float[Array, "b d"]:
    """Returns what a single query a clip reads of all tokens.

    The keys are never made: (W x) . q = x . (W^T q), so that each head's query goes to
    the tokens rather than all tokens to it. Nor are the values: the sum over tokens
    comes before the projection. The keys' bias adds the same to all scores of a head,
    which the softmax does not see.

    Args:
        query: projected.
        contexts: tokens, of which keys and values are projections.
        kernel, bias: of keys and values side by side.
        heads: parts of the width d.

    Raises:
        ValueError: when d does not divide into heads.
    """
    b, d = query.shape
    _check_heads(d, heads)
    keys, values = (a.reshape(-1, heads, d // heads) for a in jnp.split(kernel, 2, 1))
    asked = query.reshape(b, heads, -1) * (d // heads) ** -0.5
    asked = jnp.einsum("bhc,xhc->bhx", asked, keys)
    read = _read(asked, tuple(contexts))
    out = jnp.einsum("bhx,xhc->bhc", read, values)
    return out.reshape(b, d) + along(bias[d:], query)


def read_weights(
    query: Float[Array, "b d"],
    contexts: Sequence[Float[Array, "b ... d"]],
    kernel: Float[Array, "d 2*d"],
    *,
    heads: int,
) -> list[Float[Array, "b h ..."]]:
    """Returns the weights [b, h, ...] by which `read_by_one` reads each context.

    Args:
        query, contexts, kernel, heads: as there; weights of all contexts sum to 1.
    """
    b, d = query.shape
    keys = jnp.split(kernel, 2, 1)[0].reshape(-1, heads, d // heads)
    asked = query.reshape(b, heads, -1) * (d // heads) ** -0.5
    asked = jnp.einsum("bhc,xhc->bhx", asked, keys)
    return _read_forward(asked, tuple(contexts))[1][2]


@jax.custom_vjp
def _read(
    asked: Float[Array, "b h d"], contexts: tuple[Float[Array, "b ... d"], ...]
) -> Float[Array, "b h d"]:
    """What each head reads of all tokens: their mean, weighted by softmax."""
    return _read_forward(asked, contexts)[0]


def _read_forward(asked, contexts):
    scores = [_product("bhx,b...x->bh...", asked, tokens) for tokens in contexts]
    # Of small arrays: the tokens stay where they are.
    weights = _parted(jax.nn.softmax(_joined(scores), axis=2), scores)
    return _weighted(weights, contexts, asked.dtype), (asked, contexts, weights)


def _read_backward(kept, gradient):
    # Written out so that scores and values give one product for the tokens' gradient.
    asked, contexts, weights = kept
    to_weights = [_product("bhx,b...x->bh...", gradient, tokens) for tokens in contexts]
    flat, pulled = _joined(weights), _joined(to_weights)
    to_scores = flat * (pulled - (flat * pulled).sum(2, keepdims=True))
    to_scores = _parted(to_scores, weights)
    both = jnp.concatenate([asked, gradient], axis=1)
    to_contexts = []
    for scores, weight in zip(to_scores, weights, strict=True):
        one = jnp.concatenate([scores, weight], axis=1).astype(asked.dtype)
        to_contexts.append(jnp.einsum("bh...,bhx->b...x", one, both))
    return _weighted(to_scores, contexts, asked.dtype), tuple(to_contexts)


_read.defvjp(_read_forward, _read_backward)


def _weighted(weights, contexts, dtype: Dtype) -> Float[Array, "b h d"]:
    parts = []
    for weight, tokens in zip(weights, contexts, strict=True):
        # By letters: ONNX knows no ellipsis that is summed over.
        over = "ijk"[: weight.ndim - 2]
        product = f"bh{over},b{over}x->bhx"
        parts.append(_product(product, weight.astype(dtype), tokens))
    return sum(parts).astype(dtype)


def _product(subscripts: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """An einsum whose sums and result are float32 or wider."""
    wide = at_least_float32(left.dtype)
    return jnp.einsum(subscripts, left, right, preferred_element_type=wide)


def _joined(parts: Sequence[jax.Array]) -> Float[Array, "b h n"]:
    """Arrays [b, h, ...] one behind the other."""
    return jnp.concatenate([a.reshape(*a.shape[:2], -1) for a in parts], axis=2)


def _parted(flat: Float[Array, "b h n"], like: Sequence[jax.Array]) -> list[jax.Array]:
    """The inverse of `_joined`."""
    stops = np.cumsum([math.prod(a.shape[2:]) for a in like])[:-1].tolist()
    parts = jnp.split(flat, stops, axis=2)
    return [part.reshape(a.shape) for part, a in zip(parts, like, strict=True)]


class PackedAttention(nn.Module):
    """Attention with CLIP's packed projection [d, 3d] (q, k, v) and `out_proj` [d, d].

    `context` gives keys and values (cross-attention); without it x attends to itself.
    A single query may read several arrays of tokens.

    Attributes:
        zero_out: `out_proj` starts at zero, so a residual branch starts as nothing.
        implementation: as in `attend`.
    """

    heads: int
    causal: bool = False
    zero_out: bool = False
    implementation: str = "auto"
    dtype: Dtype = jnp.float32
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    out_init: Initializer = nn.initializers.xavier_uniform()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*batch n d"],
        context: Float[Array, "*batch s d"] | tuple[jax.Array, ...] | None = None,
    ) -> Float[Array, "*batch n d"]:
        width = x.shape[-1]
        kernel = self.param("in_proj_kernel", self.kernel_init, (width, 3 * width))
        bias = self.param("in_proj_bias", nn.initializers.zeros, (3 * width,))
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        # One matmul for self-attention; for cross-attention two slices of the same
        # kernel, which keeps the layout of CLIP's files.
        options = {
            "heads": self.heads,
            "causal": self.causal,
            "implementation": self.implementation,
        }
        if context is None:
            q, k, v = jnp.split(x @ kernel + along(bias, x), 3, axis=-1)
            y = attend(q, k, v, **options)
        else:
            q = x @ kernel[:, :width] + along(bias[:width], x)
            kernel, bias = kernel[:, width:], bias[width:]
            if isinstance(context, tuple):
                if self.is_mutable_collection("intermediates"):
                    weights = read_weights(q[:, 0], context, kernel, heads=self.heads)
                    for i, part in enumerate(weights):
                        self.sow("intermediates", f"weights_{i}", part)
                y = read_by_one(q[:, 0], context, kernel, bias, heads=self.heads)[
                    :, None
                ]
            else:
                kv = context @ kernel + along(bias, context)
                y = attend(q, *jnp.split(kv, 2, axis=-1), **options)
        init = nn.initializers.zeros if self.zero_out else self.out_init
        return nn.Dense(width, kernel_init=init, dtype=self.dtype, name="out_proj")(y)
