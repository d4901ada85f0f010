"""What the video encoders share: output, checks of the input, patch embedding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.layers import uniform_fan_in
from merclip_jax.typing import Array, Dtype, Float, Shaped


class VideoFeatures(NamedTuple):
    """What every video encoder returns.

    `pooled` [b, d] is the normalised clip feature that is aligned with text;
    `patches` [b, n, d] are the raw patch tokens, time-major then row-major.
    """

    pooled: jax.Array
    patches: jax.Array


def check_clip(
    clip: Shaped[Array, "..."], encoder: str, *, frames: int | None = None
) -> None:
    """Checks what a video encoder is given.

    Args:
        clip: should be float [b, t, h, w, 3].
        encoder: its name, for the message.
        frames: the t that it needs; None: any from 1.

    Raises:
        ValueError: if the clip is anything else.
    """
    # uint8 frames would pass every layer and give nonsense: the caller normalises.
    t = "t >= 1" if frames is None else frames
    good = (
        clip.ndim == 5
        and clip.shape[-1] == 3
        and clip.shape[1] == (frames or max(clip.shape[1], 1))
    )
    if not (good and jnp.issubdtype(clip.dtype, jnp.floating)):
        raise ValueError(
            f"{encoder} expects normalised frames, float [b, {t}, h, w, 3]; "
            f"got {clip.dtype} {list(clip.shape)}"
        )


def check_positions(module: nn.Module, clip: Shaped[Array, "..."], n: int) -> None:
    """Checks that the loaded position embedding fits the frames.

    Args:
        module: an encoder with a parameter `positional_embedding`.
        clip: [b, t, h, w, 3], for the message.
        n: tokens of one frame, class token included.

    Raises:
        ValueError: when the embedding has another number of rows.
    """
    # flax would say it by parameter shapes; a user knows the size of the frames.
    table = module.variables.get("params", {}).get("positional_embedding")
    if table is not None and len(table) != n:
        h, w = clip.shape[2:4]
        raise ValueError(
            f"frames of {h}x{w} pixels make {n} tokens, but this encoder's position "
            f"embedding is for {len(table)}: give frames of the size it was made for"
        )


class PatchEmbed(nn.Module):
    """Tubelets to tokens: a strided convolution without bias.

    Raises ValueError when the frame size is no multiple of the patch.

    Attributes:
        temporal_downsample: the kernel spans frames 2t-1, 2t, 2t+1 (frame -1 and, for
            odd counts, the frame after the last are zeros) and t = ceil(frames / 2);
            False: every frame gives one set of patches.
    """

    width: int
    patch_size: int
    temporal_downsample: bool
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, clip: Float[Array, "b f h w c"]) -> Float[Array, "b t y x d"]:
        b, f, h, w, c = clip.shape
        p = self.patch_size
        if h % p or w % p:
            raise ValueError(
                f"frames of {h}x{w} pixels do not divide into {p}x{p} patches"
            )
        taps = 3 if self.temporal_downsample else 1
        kernel = self.param(
            "kernel", uniform_fan_in(taps * p * p * c), (taps, p, p, c, self.width)
        )
        # Patches do not overlap, so that the convolution is a reshape and one matmul,
        # which stays one under `vmap` over members.
        x = clip.astype(self.dtype).reshape(b, f, h // p, p, w // p, p, c)
        x = x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, f, h // p, w // p, p * p * c)
        kernel = kernel.astype(self.dtype).reshape(taps * p * p * c, self.width)
        if not self.temporal_downsample:
            return x @ kernel
        if f % 2:
            x = jnp.pad(x, [(0, 0), (0, 1), (0, 0), (0, 0), (0, 0)])
        t, (y, z), q = -(-f // 2), x.shape[2:4], x.shape[4]
        x = x.reshape(b, t, 2, y, z, q)
        # Frame 2t-1 is the odd frame of the pair before: odd frames are read once by
        # both of their taps, and the product is shifted, not the (larger) pixels.
        both = jnp.concatenate([kernel[2 * q :], kernel[:q]], axis=1)
        own, next_pair = jnp.split(x[:, :, 1] @ both, 2, axis=-1)
        before = jnp.pad(next_pair[:, :-1], [(0, 0), (1, 0)] + [(0, 0)] * 3)
        return before + x[:, :, 0] @ kernel[q : 2 * q] + own


def linspace_rates(rate: float, blocks: int) -> list[float]:
    """Drop-path rates that rise linearly over the blocks of a tower.

    Args:
        rate: probability at the last block.
        blocks: how many.

    Returns:
        One rate for each block, the first 0.
    """
    # Early blocks feed all later ones and are dropped least (stochastic depth).
    return [rate * i / max(blocks - 1, 1) for i in range(blocks)]


def with_class(
    module: nn.Module, tokens: Float[Array, "b s n d"], cls: str, position: str
) -> Float[Array, "b s m d"]:
    """A learned class token in front, learned positions added to all.

    Args:
        module: whose parameters they are, and whose dtype they get.
        tokens: of s sequences a clip.
        cls, position: names of the parameters.
    """
    b, s, n, d = tokens.shape
    init = nn.initializers.normal(d**-0.5)
    first = module.param(cls, init, (d,)).astype(module.dtype)
    places = module.param(position, init, (1 + n, d)).astype(module.dtype)
    first = jnp.broadcast_to(first.reshape(1, 1, 1, d), (b, s, 1, d))
    return jnp.concatenate([first, tokens], axis=2) + places[None, None]
