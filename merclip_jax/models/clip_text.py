"""CLIP's text tower: a causal transformer read at the end-of-text token."""

import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.attention import PackedAttention
from merclip_jax.models.layers import MLP
from merclip_jax.models.norms import LayerNorm
from merclip_jax.typing import Array, Dtype, Float, Int

TOKEN_STD = 0.02


class TextBlock(nn.Module):
    """Pre-norm transformer block with a causal mask and QuickGELU.

    `layers` of the whole tower set the scale of the initial values.
    """

    heads: int
    layers: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        width = x.shape[-1]
        # CLIP's initial values: branches that end in the stream start smaller the more
        # of them (two a block) are added to it.
        residual = width**-0.5 * (2 * self.layers) ** -0.5
        y = LayerNorm(dtype=self.dtype, name="ln_1")(x)
        x = x + PackedAttention(
            self.heads,
            causal=True,
            dtype=self.dtype,
            kernel_init=nn.initializers.normal(width**-0.5),
            out_init=nn.initializers.normal(residual),
            name="attn",
        )(y)
        y = LayerNorm(dtype=self.dtype, name="ln_2")(x)
        return x + MLP(
            4 * width,
            dtype=self.dtype,
            kernel_init=nn.initializers.normal((2 * width) ** -0.5),
            out_init=nn.initializers.normal(residual),
            name="mlp",
        )(y, train=False)


class ClipText(nn.Module):
    """Prompt ids [b, l], padded with zeros, to features [b, out] (MER-CLIP, eq. 7).

    Raises ValueError on prompts longer than the context.

    Attributes:
        vocabulary: number of ids.
        context: tokens that have a position; shorter prompts may come without padding.
        out: width of the space shared with the video.
    """

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    out: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, ids: Int[Array, "b l"]) -> Float[Array, "b out"]:
        length = ids.shape[1]
        if length > self.context:
            raise ValueError(f"prompts of {length} tokens exceed {self.context}")
        normal = nn.initializers.normal
        tokens = self.param(
            "token_embedding", normal(TOKEN_STD), (self.vocabulary, self.width)
        )
        position = self.param(
            "positional_embedding", normal(0.01), (self.context, self.width)
        )
        x = tokens.astype(self.dtype)[ids] + position.astype(self.dtype)[None, :length]
        for i in range(self.layers):
            x = TextBlock(self.heads, self.layers, self.dtype, name=f"block_{i}")(x)
        self.sow("intermediates", "before_ln_final", x)
        x = LayerNorm(dtype=self.dtype, name="ln_final")(x)
        # The end of text has the largest id and, by the causal mask, has read all of
        # the sentence. The first one counts: some tokenizers pad with the end mark.
        x = jnp.take_along_axis(x, ids.argmax(-1)[:, None, None], axis=1)[:, 0]
        self.sow("intermediates", "sentence", x)
        projection = self.param(
            "text_projection", normal(self.width**-0.5), (self.width, self.out)
        )
        return x @ projection.astype(self.dtype)
