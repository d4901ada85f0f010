"""Multi-head attention, and CLIP's module of it with packed projections."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.fused_attention import fused_attention
from merclip_jax.models.layers import Initializer, along
from merclip_jax.models.per_device import per_device
from merclip_jax.typing import Array, Dtype, Float

# "auto" is "fused" on TPUs and "xla" elsewhere.
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
    if heads < 1 or q.shape[-1] % heads:
        raise ValueError(
            f"attention: width {q.shape[-1]} does not divide into {heads} heads"
        )
    if implementation not in ATTENTIONS:
        raise ValueError(
            f"attention={implementation!r}: expected one of {list(ATTENTIONS)}"
        )
    batch, (n, d) = q.shape[:-2], q.shape[-2:]
    q, k, v = (a.reshape(-1, *a.shape[-2:]) for a in (q, k, v))
    plain = functools.partial(_attend_xla, heads=heads, causal=causal)
    fused = per_device(lambda q, k, v: fused_attention(q, k, v, heads))
    if q.dtype == jnp.float64:
        out = _attend_float64(q, k, v, heads=heads, causal=causal)
    elif implementation == "xla" or n == 1 or causal:
        out = plain(q, k, v)
    elif implementation == "fused":
        out = fused(q, k, v)
    elif implementation == "cudnn":
        out = _attend_cudnn(q, k, v, heads=heads)
    else:
        # Of both only that of the platform is compiled.
        out = jax.lax.platform_dependent(q, k, v, tpu=fused, default=plain)
    return out.reshape(*batch, n, d)


def _attend_xla(
    q: Float[Array, "b n d"],
    k: Float[Array, "b s d"],
    v: Float[Array, "b s d"],
    *,
    heads: int,
    causal: bool,
) -> Float[Array, "b n d"]:
    q, k, v = (_split(a, heads) for a in (q, k, v))
    # Inside, jax mixes bfloat16 with float32 without saying so.
    with jax.numpy_dtype_promotion("standard"):
        out = jax.nn.dot_product_attention(
            q, k, v, is_causal=causal, implementation="xla"
        )
    return out.reshape(*out.shape[:2], -1)


def _attend_cudnn(
    q: Float[Array, "b n d"],
    k: Float[Array, "b s d"],
    v: Float[Array, "b s d"],
    *,
    heads: int,
) -> Float[Array, "b n d"]:
    n, s = q.shape[1], k.shape[1]
    # cuDNN trains on even lengths alone. What is added is no key of any query.
    q, k, v = (jnp.pad(a, [(0, 0), (0, a.shape[1] % 2), (0, 0)]) for a in (q, k, v))
    lengths = [jnp.full((len(q),), m, jnp.int32) for m in (n, s)]
    q, k, v = (_split(a, heads) for a in (q, k, v))
    with jax.numpy_dtype_promotion("standard"):
        out = jax.nn.dot_product_attention(
            q,
            k,
            v,
            query_seq_lengths=lengths[0],
            key_value_seq_lengths=lengths[1],
            implementation="cudnn",
        )
    return out.reshape(*out.shape[:2], -1)[:, :n]


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


class PackedAttention(nn.Module):
    """Attention with CLIP's packed projection [d, 3d] (q, k, v) and `out_proj` [d, d].

    `context` gives keys and values (cross-attention); without it x attends to itself.

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
        context: Float[Array, "*batch s d"] | None = None,
    ) -> Float[Array, "*batch n d"]:
        width = x.shape[-1]
        kernel = self.param("in_proj_kernel", self.kernel_init, (width, 3 * width))
        bias = self.param("in_proj_bias", nn.initializers.zeros, (3 * width,))
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        # One matmul for self-attention; for cross-attention two slices of the same
        # kernel, which keeps the layout of CLIP's files.
        if context is None:
            q, k, v = jnp.split(x @ kernel + along(bias, x), 3, axis=-1)
        else:
            q = x @ kernel[:, :width] + along(bias[:width], x)
            kv = context @ kernel[:, width:] + along(bias[width:], context)
            k, v = jnp.split(kv, 2, axis=-1)
        y = attend(
            q,
            k,
            v,
            heads=self.heads,
            causal=self.causal,
            implementation=self.implementation,
        )
        init = nn.initializers.zeros if self.zero_out else self.out_init
        return nn.Dense(width, kernel_init=init, dtype=self.dtype, name="out_proj")(y)
