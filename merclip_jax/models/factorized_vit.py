"""Factorised spatiotemporal encoder: CLIP's ViT on every frame, then one over time.

The factorised encoder of ViViT (Arnab et al., ICCV 2021, model 2) over CLIP's image
tower: space and time never attend together. Layout and names as in `uniformer_v2`.
"""

import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.layers import path_draws, rematerialised, watched
from merclip_jax.models.norms import LayerNorm
from merclip_jax.models.uniformer_v2 import LocalBlock
from merclip_jax.models.video import (
    PatchEmbed,
    VideoFeatures,
    check_clip,
    check_positions,
    linspace_rates,
    with_class,
)
from merclip_jax.typing import Array, Dtype, Shaped


class FactorizedViT(nn.Module):
    """Clip [b, t, h, w, 3] to VideoFeatures: class token over time, patch tokens.

    Every frame passes CLIP's ViT by itself; its class token after `ln_post` stands for
    the frame. The temporal blocks then read a class token and the t frames, each with
    its temporal position; `pooled` is that class token, normalised. `patches` are the
    raw patch tokens of the last spatial block. Raises ValueError on a clip that is not
    float [b, `frames`, h, w, 3] or whose frames do not divide into patches.

    Attributes:
        layers: spatial blocks, those of CLIP's ViT.
        frames: t, fixed by the temporal position embedding.
        drop_path: rate of the last block; it rises over all blocks in their order.
        remat: of `rematerialised`, for each block.
    """

    width: int
    layers: int
    heads: int
    patch_size: int
    frames: int
    temporal_layers: int
    drop_path: float = 0.0
    attention: str = "auto"
    remat: str = "none"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, clip: Shaped[Array, "..."], *, train: bool) -> VideoFeatures:
        check_clip(clip, "FactorizedViT", frames=self.frames)
        x = PatchEmbed(
            self.width,
            self.patch_size,
            temporal_downsample=False,
            dtype=self.dtype,
            name="patch_embed",
        )(clip)
        b, t, h, w, d = x.shape
        check_positions(self, clip, 1 + h * w)
        patches = x.reshape(b, t, h * w, d)
        blocks = self.layers + self.temporal_layers
        rates = linspace_rates(self.drop_path, blocks)
        draws = path_draws(self, [4] * blocks, b, train=train, rate=self.drop_path)
        x = with_class(self, patches, "class_embedding", "positional_embedding")
        x = LayerNorm(dtype=self.dtype, name="ln_pre")(x)
        x = watched(self, "after_ln_pre", x)
        for i in range(self.layers):
            block = self._block(f"block_{i}", rates[i])
            x = rematerialised(block, self.remat)(x, draws[i], train=train)
            x = watched(self, f"after_block_{i}", x)
        # CLIP's `ln_post` was trained for class tokens: patches stay raw.
        frames = LayerNorm(dtype=self.dtype, name="ln_post")(x[:, :, 0])
        self.sow("intermediates", "frames", frames)

        # One sequence a clip: an axis of one lets the same blocks serve space and time.
        y = with_class(
            self, frames[:, None], "temporal_class_embedding", "temporal_embedding"
        )
        for i in range(self.temporal_layers):
            j = self.layers + i
            block = self._block(f"temporal_{i}", rates[j])
            y = rematerialised(block, self.remat)(y, draws[j], train=train)
            self.sow("intermediates", f"after_temporal_{i}", y)
        pooled = LayerNorm(dtype=self.dtype, name="norm")(y[:, 0, 0])
        return VideoFeatures(pooled, x[:, :, 1:].reshape(b, t * h * w, d))

    def _block(self, name: str, rate: float) -> LocalBlock:
        # Without its mixers UniFormerV2's local block is CLIP's block.
        return LocalBlock(
            self.heads,
            local_mhra=0,
            reduced=0,
            drop_path=rate,
            attention=self.attention,
            dtype=self.dtype,
            name=name,
        )
