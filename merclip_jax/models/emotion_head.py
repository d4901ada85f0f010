"""MER-CLIP's emotion head: a two-block transformer read after each block."""

import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.attention import attend, read_by_one
from merclip_jax.models.layers import (
    MLP,
    Initializer,
    along,
    gelu,
    rematerialised,
)
from merclip_jax.models.norms import LayerNorm
from merclip_jax.typing import Array, Dtype, Float

EPSILON = 1e-6  # the head's LayerNorm, unlike CLIP's 1e-5


class Projection(nn.Module):
    """The parameters of a Dense layer for x, in the compute dtype: kernel and bias."""

    features: int
    kernel_init: Initializer
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> tuple[Array, Array]:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return kernel.astype(self.dtype), bias.astype(self.dtype)


class HeadAttention(nn.Module):
    """Self-attention in which the first `queries` tokens alone are queries."""

    heads: int
    attention: str = "auto"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"], *, queries: int) -> Array:
        width = x.shape[-1]
        init = nn.initializers.normal(0.02)
        kernel, bias = Projection(3 * width, init, self.dtype, name="qkv")(x)
        if queries == 1:
            q = x[:, 0] @ kernel[:, :width] + bias[None, :width]
            y = read_by_one(q, (x,), kernel[:, width:], bias[width:], heads=self.heads)[
                :, None
            ]
        else:
            q, k, v = jnp.split(x @ kernel + along(bias, x), 3, axis=-1)
            # Keys and values of all tokens: what is not read is still attended to.
            y = attend(
                q[:, :queries], k, v, heads=self.heads, implementation=self.attention
            )
        return nn.Dense(width, kernel_init=init, dtype=self.dtype, name="proj")(y)


class HeadBlock(nn.Module):
    """Pre-norm attention and exact-GELU MLP; returns the first `queries` tokens."""

    heads: int
    attention: str = "auto"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], *, queries: int, train: bool
    ) -> Float[Array, "b q d"]:
        width = x.shape[-1]
        init = nn.initializers.normal(0.02)
        y = LayerNorm(EPSILON, self.dtype, name="norm")(x)
        y = HeadAttention(self.heads, self.attention, self.dtype, name="attn")(
            y, queries=queries
        )
        x = x[:, :queries] + y
        y = LayerNorm(EPSILON, self.dtype, name="norm_mlp")(x)
        return x + MLP(
            4 * width,
            activation=gelu,
            dtype=self.dtype,
            kernel_init=init,
            out_init=init,
            name="mlp",
        )(y, train=train)


class EmotionHead(nn.Module):
    """Tokens [b, n, d], the pooled one first, to logits [b, k] (MER-CLIP, eq. 11).

    Token 0 after each block passes one shared norm, dropout and linear layer; the
    logits are the mean over blocks (released code). No position embedding.

    Attributes:
        classes: k.
        blocks: transformer blocks; 0: token 0 of the input is classified.
        dropout: probability before the linear layer.
        attention: as `implementation` in `attend`.
        remat: of `rematerialised`, for each block.
    """

    classes: int
    blocks: int
    heads: int
    dropout: float
    attention: str = "auto"
    remat: str = "none"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "b n d"], *, train: bool
    ) -> Float[Array, "b k"]:
        # Made once: every block is read through the same norm and classifier.
        norm = LayerNorm(EPSILON, self.dtype, name="norm")
        drop = nn.Dropout(self.dropout, deterministic=not train)
        classify = nn.Dense(
            self.classes,
            kernel_init=nn.initializers.normal(0.02),
            dtype=self.dtype,
            name="classifier",
        )
        if not self.blocks:
            return classify(drop(norm(tokens[:, 0])))
        x, logits = tokens, []
        for i in range(self.blocks):
            # Of the last block token 0 alone is read: one query is a tenth of its work.
            queries = 1 if i == self.blocks - 1 else x.shape[1]
            block = HeadBlock(self.heads, self.attention, self.dtype, name=f"block_{i}")
            x = rematerialised(block, self.remat)(x, queries=queries, train=train)
            self.sow("intermediates", f"after_block_{i}", x)
            logits.append(classify(drop(norm(x[:, 0]))))
        # The first block is read too, which trains it directly (released code).
        return sum(logits) / self.blocks
