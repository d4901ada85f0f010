"""CLIP's image tower: every token of a picture, not its class token alone.

Layout and names as in `factorized_vit`, so that CLIP's files fit both alike.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models import mer_clip
from merclip_jax.models.layers import rematerialised
from merclip_jax.models.norms import LayerNorm
from merclip_jax.models.uniformer_v2 import LocalBlock
from merclip_jax.models.video import PatchEmbed, check_clip, check_positions, with_class
from merclip_jax.typing import Array, Dtype, Float, Shaped

# Of CLIP's two towers, which MER-CLIP has too. B/32 is not among them: its grid of
# 7 x 7 patches is too coarse for regions of a face.
SIZES = {
    "tiny": dataclasses.replace(mer_clip.SIZES["tiny"], patch_size=4),
    "b16": mer_clip.SIZES["b16"],
    "l14": mer_clip.SIZES["l14"],
}


class ClipViT(nn.Module):
    """Pictures [b, h, w, 3] to tokens [b, 1 + n, d] after `ln_post`, the class first.

    Patches are row-major. Raises ValueError on pictures that are not float, or do not
    divide into patches, or are not of the position embedding's size.

    Attributes:
        trained_blocks: the last blocks, through which gradients pass; no less than
            `layers`: through all of the tower, embeddings included. What is in front
            has no backward pass, and its parameters get zeros for gradients.
        attention: as `implementation` in `attend`.
        remat: of `rematerialised`, for each block.
    """

    width: int
    layers: int
    heads: int
    patch_size: int
    trained_blocks: int
    attention: str = "auto"
    remat: str = "none"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, pictures: Shaped[Array, "..."], *, train: bool
    ) -> Float[Array, "b n d"]:
        clip = pictures[:, None]  # the patches and blocks are those of video
        check_clip(clip, "ClipViT", frames=1)
        x = PatchEmbed(
            self.width,
            self.patch_size,
            temporal_downsample=False,
            dtype=self.dtype,
            name="patch_embed",
        )(clip)
        b, _, h, w, d = x.shape
        check_positions(self, clip, 1 + h * w)
        x = with_class(
            self, x.reshape(b, 1, h * w, d), "class_embedding", "positional_embedding"
        )
        x = LayerNorm(dtype=self.dtype, name="ln_pre")(x)
        for i in range(self.layers):
            if 0 < self.layers - self.trained_blocks == i:
                x = jax.lax.stop_gradient(x)
            # Without its mixers UniFormerV2's local block is CLIP's block.
            block = LocalBlock(
                self.heads,
                local_mhra=0,
                reduced=0,
                drop_path=0.0,
                attention=self.attention,
                dtype=self.dtype,
                name=f"block_{i}",
            )
            x = rematerialised(block, self.remat)(x, None, train=train)
        if not self.trained_blocks:
            x = jax.lax.stop_gradient(x)
        # Over all tokens, though CLIP was trained with the class token's alone.
        return LayerNorm(dtype=self.dtype, name="ln_post")(x[:, 0])


def frozen_paths(layers: int, trained_blocks: int) -> tuple[str, ...]:
    """Regular expressions of a tower's parameters that have no gradient.

    Args:
        layers: of the tower.
        trained_blocks: of `ClipViT`.

    Returns:
        Of paths below the tower; none where all of it is trained.
    """
    still = layers - trained_blocks
    if still <= 0:
        return ()
    blocks = "|".join(map(str, range(still)))
    embeddings = r"(class_embedding|positional_embedding|patch_embed/.*|ln_pre/.*)"
    return embeddings, rf"block_({blocks})/.*"
