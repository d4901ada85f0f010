"""FDP's network of single frames: Next-ViT's stages, mostly of convolutions.

Frames are [n, h, w, 1] with n = moments x clips: all frames of the first moment come
first, so that each moment can be normalised apart.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.attention import attend
from merclip_jax.models.convolution import Conv3x3
from merclip_jax.models.layers import MLP, DropPath, path_draws
from merclip_jax.models.norms import BatchNorm
from merclip_jax.typing import Array, Bool, Dtype, Float

HEAD = 8  # channels of an attention head, and of a group of "grouped" convolutions
GLOBAL_SHARE = 0.75  # of a global block's channels, which attend; the others convolve
KEYS = (8, 4, 2, 1)  # a key is the mean of so many tokens squared, stage by stage
LOCALS = ("dense", "grouped")
# The released code cuts draws at the value 2, a hundred deviations away: at none.
NORMAL = nn.initializers.normal(0.02)
Frozen = Bool[Array, ""] | None


def divisible(value: float | int, divisor: int = 32) -> int:
    """Returns the nearest multiple of a divisor, never below 0.9 of the value."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def _norm(x: jax.Array, moments: int, dtype: Dtype, name: str) -> BatchNorm:
    """BatchNorm of frames, those of one moment together."""
    group = len(x) // moments
    return BatchNorm(group_size=group, in_turn=True, dtype=dtype, name=name)


def _drop(
    branch: jax.Array, draws: jax.Array | None, rate: float, place: int, frozen: Frozen
) -> jax.Array:
    """A residual branch with whole frames dropped, none where the model is frozen."""
    dropped = DropPath(rate, place)(branch, draws)
    return dropped if frozen is None else jnp.where(frozen, branch, dropped)


class PatchEmbed(nn.Module):
    """Half the side by averages, other channels by a product and BatchNorm.

    What changes neither side nor channels is passed on as it is.
    """

    features: int
    stride: int = 1
    moments: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool, frozen: Frozen = None
    ) -> Float[Array, "n h2 w2 f"]:
        if self.stride == 1 and x.shape[-1] == self.features:
            return x
        if self.stride > 1:
            # An odd side's last average is of what is there, as torch's ceil_mode.
            window = (self.stride, self.stride)
            x = nn.avg_pool(x, window, window, "SAME", count_include_pad=False)
        x = nn.Dense(
            self.features,
            use_bias=False,
            kernel_init=NORMAL,
            dtype=self.dtype,
            name="conv",
        )(x)
        norm = _norm(x, self.moments, self.dtype, "norm")
        return norm(x, train=train, frozen=frozen)


class LocalMixer(nn.Module):
    """What a pixel takes from its neighbours.

    `kind`: "dense", one convolution as in the released code; "grouped", as the paper
    says: heads of channels apart, BatchNorm, ReLU, then a product over all.
    """

    kind: str = "dense"
    moments: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool, frozen: Frozen = None
    ) -> Float[Array, "n h w c"]:
        width = x.shape[-1]
        groups = width // HEAD if self.kind == "grouped" else 1
        x = Conv3x3(
            width, groups=groups, kernel_init=NORMAL, dtype=self.dtype, name="conv"
        )(x)
        if self.kind == "dense":
            return x
        norm = _norm(x, self.moments, self.dtype, "norm")
        x = nn.relu(norm(x, train=train, frozen=frozen))
        return nn.Dense(
            width, use_bias=False, kernel_init=NORMAL, dtype=self.dtype, name="project"
        )(x)


class LocalBlock(nn.Module):
    """Patch embedding, a local mixer, an MLP (LFA in the released code)."""

    features: int
    stride: int = 1
    kind: str = "dense"
    drop_path: float = 0.0
    moments: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        draws: Float[Array, "p n"] | None,
        *,
        train: bool,
        frozen: Frozen = None,
    ) -> Float[Array, "n h2 w2 f"]:
        mode = {"train": train, "frozen": frozen}
        shared = {"moments": self.moments, "dtype": self.dtype}
        x = PatchEmbed(self.features, self.stride, **shared, name="patch")(x, **mode)
        mixed = LocalMixer(self.kind, **shared, name="mix")(x, **mode)
        x = x + _drop(mixed, draws, self.drop_path, 0, frozen)
        normed = _norm(x, self.moments, self.dtype, "norm")(x, **mode)
        out = _mlp(normed, 3, self.dtype, train=train)
        return x + _drop(out, draws, self.drop_path, 1, frozen)


class Attention(nn.Module):
    """Attention of all pixels to means of runs of `keys` squared of them."""

    keys: int
    moments: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool, frozen: Frozen = None
    ) -> Float[Array, "n h w c"]:
        n, h, w, width = x.shape
        queries = x.reshape(n, h * w, width)
        read = queries
        if self.keys > 1:
            # Runs of the flattened picture, not squares: as the released code has it.
            run = self.keys**2
            count = h * w // run
            read = queries[:, : count * run].reshape(n, count, run, width).mean(2)
            norm = _norm(read, self.moments, self.dtype, "norm")
            read = norm(read, train=train, frozen=frozen)

        def dense(name: str) -> nn.Dense:
            return nn.Dense(width, kernel_init=NORMAL, dtype=self.dtype, name=name)

        out = attend(
            dense("q")(queries), dense("k")(read), dense("v")(read), heads=width // HEAD
        )
        return dense("proj")(out).reshape(x.shape)


class GlobalBlock(nn.Module):
    """Attention for most channels, a local mixer for the others, an MLP (GFA)."""

    features: int
    stride: int = 1
    keys: int = 1
    kind: str = "dense"
    drop_path: float = 0.0
    moments: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        draws: Float[Array, "p n"] | None,
        *,
        train: bool,
        frozen: Frozen = None,
    ) -> Float[Array, "n h2 w2 f"]:
        mode = {"train": train, "frozen": frozen}
        shared = {"moments": self.moments, "dtype": self.dtype}
        attending = divisible(GLOBAL_SHARE * self.features)
        rest = self.features - attending
        if rest < HEAD:
            raise ValueError(
                f"a global block of {self.features} channels: {attending} attend, "
                "which leaves none for the convolution"
            )
        x = PatchEmbed(attending, self.stride, **shared, name="patch")(x, **mode)
        z = _norm(x, self.moments, self.dtype, "norm1")(x, **mode)
        z = Attention(self.keys, **shared, name="attn")(z, **mode)
        x = x + _drop(z, draws, GLOBAL_SHARE * self.drop_path, 0, frozen)
        u = PatchEmbed(rest, **shared, name="project")(x, **mode)
        mixed = LocalMixer(self.kind, **shared, name="mix")(u, **mode)
        u = u + _drop(mixed, draws, (1 - GLOBAL_SHARE) * self.drop_path, 1, frozen)
        x = jnp.concatenate([x, u], -1)
        normed = _norm(x, self.moments, self.dtype, "norm2")(x, **mode)
        out = _mlp(normed, 2, self.dtype, train=train)
        return x + _drop(out, draws, self.drop_path, 2, frozen)


class FrameNetwork(nn.Module):
    """Returns the mean over each frame's pixels [n, c] and its features [n, features].

    Attributes:
        stem, stages: channels; depths: local blocks of each stage; globals: channels of
            the global block that ends each stage, () for none.
    """

    features: int
    stem: Sequence[int] = (64, 32, 64)
    stages: Sequence[int] = (96, 192, 384, 768)
    depths: Sequence[int] = (3, 4, 10, 3)
    global_widths: Sequence[int] = ()
    kind: str = "dense"
    drop_path: float = 0.1
    moments: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w 1"],
        *,
        train: bool,
        frozen: Frozen = None,
    ) -> tuple[Float[Array, "n c"], Float[Array, "n features"]]:
        mode = {"train": train, "frozen": frozen}
        shared = {"moments": self.moments, "dtype": self.dtype}
        widths = (*self.stem, self.stem[-1])
        for i, (width, stride) in enumerate(zip(widths, (2, 1, 1, 2), strict=True)):
            x = Conv3x3(
                width,
                stride,
                kernel_init=NORMAL,
                dtype=self.dtype,
                name=f"stem_{i}_conv",
            )(x)
            norm = _norm(x, self.moments, self.dtype, f"stem_{i}_norm")
            x = nn.relu(norm(x, **mode))
        self.sow("intermediates", "stem", x)
        per_stage = 1 if self.global_widths else 0
        total = sum(self.depths) + per_stage * len(self.depths)
        rates = [self.drop_path * i / max(total - 1, 1) for i in range(total)]
        # A global block has three branches; local ones leave the third draw unused.
        draws = path_draws(self, [3] * total, len(x), train=train, rate=self.drop_path)
        i = 0
        for stage, depth in enumerate(self.depths):
            for n in range(depth + per_stage):
                stride = 2 if stage and not n else 1
                own = {"drop_path": rates[i], "name": f"block_{i}"} | shared
                if n < depth:
                    block = LocalBlock(self.stages[stage], stride, self.kind, **own)
                else:
                    width = self.global_widths[stage]
                    block = GlobalBlock(width, 1, KEYS[stage], self.kind, **own)
                x = block(x, draws[i], **mode)
                i += 1
            self.sow("intermediates", f"stage{stage}", x)
        x = _norm(x, self.moments, self.dtype, "norm")(x, **mode)
        self.sow("intermediates", "normed", x)
        pooled = x.mean((1, 2))
        dense = nn.Dense(
            self.features, kernel_init=NORMAL, dtype=self.dtype, name="projection"
        )
        return pooled, dense(pooled)


def _mlp(x: jax.Array, ratio: int, dtype: Dtype, *, train: bool) -> jax.Array:
    """A block's products of each pixel; called inside the block, whose part it is."""
    hidden = divisible(ratio * x.shape[-1])
    return MLP(
        hidden,
        activation=nn.relu,
        dtype=dtype,
        kernel_init=NORMAL,
        out_init=NORMAL,
        name="mlp",
    )(x, train=train)
