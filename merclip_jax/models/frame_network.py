"""FDP's network of single frames: Next-ViT's stages, mostly of convolutions.

Frames are [n, h, w, 1] with n = moments x clips: all frames of the first moment come
first, so that each moment can be normalised apart.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.attention import attend
from merclip_jax.models.convolution import Conv3x3
from merclip_jax.models.layers import MLP, DropPath, path_draws, watched
from merclip_jax.models.norms import BatchNorm
from merclip_jax.models.video import linspace_rates
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


class _OfFrames(nn.Module):
    """What works on frames: `moments` of each clip, which BatchNorm keeps apart."""

    moments: int = 1
    dtype: Dtype = jnp.float32

    def _norm(
        self, x: Float[Array, "n ... c"], name: str, *, train: bool, frozen: Frozen
    ) -> Float[Array, "n ... c"]:
        norm = BatchNorm(
            group_size=len(x) // self.moments,
            in_turn=True,
            dtype=self.dtype,
            name=name,
        )
        return norm(x, train=train, frozen=frozen)

    def _product(self, features: int, name: str) -> nn.Dense:
        """A product of each pixel's channels, without a bias."""
        return nn.Dense(
            features,
            use_bias=False,
            kernel_init=NORMAL,
            dtype=self.dtype,
            name=name,
        )

    def _shared(self) -> dict[str, Any]:
        """What every part has from the whole."""
        return {"moments": self.moments, "dtype": self.dtype}


class PatchEmbed(_OfFrames):
    """Half the side by averages, other channels by a product and BatchNorm.

    What changes neither side nor channels is passed on as it is.
    """

    features: int = 0
    stride: int = 1

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
        x = self._product(self.features, "conv")(x)
        return self._norm(x, "norm", train=train, frozen=frozen)


class LocalMixer(_OfFrames):
    """What a pixel takes from its neighbours.

    `kind`: "dense", one convolution as in the released code; "grouped", as the paper
    says: heads of channels apart, BatchNorm, ReLU, then a product over all.
    """

    kind: str = "dense"

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
        x = nn.relu(self._norm(x, "norm", train=train, frozen=frozen))
        return self._product(width, "project")(x)


class Attention(_OfFrames):
    """Attention of all pixels to means of runs of `keys` squared of them."""

    keys: int = 1

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
            read = self._norm(read, "norm", train=train, frozen=frozen)

        def dense(name: str) -> nn.Dense:
            return nn.Dense(width, kernel_init=NORMAL, dtype=self.dtype, name=name)

        out = attend(
            dense("q")(queries), dense("k")(read), dense("v")(read), heads=width // HEAD
        )
        return dense("proj")(out).reshape(x.shape)


class _Block(_OfFrames):
    """What blocks share: a patch embedding in front, residual branches, an MLP last.

    Called with frames and the draws of its branches' drop paths, None for no drop.
    `frozen` says whether a training step is to drop nothing.
    """

    features: int = 0
    stride: int = 1
    kind: str = "dense"
    drop_path: float = 0.0

    def _embedded(self, x: jax.Array, features: int, mode: dict) -> jax.Array:
        embed = PatchEmbed(
            features=features, stride=self.stride, name="patch", **self._shared()
        )
        return embed(x, **mode)

    def _mixed(self, x: jax.Array, mode: dict) -> jax.Array:
        return LocalMixer(kind=self.kind, name="mix", **self._shared())(x, **mode)

    def _mlp(self, x: jax.Array, ratio: int, *, train: bool) -> jax.Array:
        mlp = MLP(
            divisible(ratio * x.shape[-1]),
            activation=nn.relu,
            dtype=self.dtype,
            kernel_init=NORMAL,
            out_init=NORMAL,
            name="mlp",
        )
        return mlp(x, train=train)

    def _drop(
        self,
        branch: jax.Array,
        draws: Float[Array, "p n"] | None,
        place: int,
        frozen: Frozen,
        *,
        share: float = 1.0,
    ) -> jax.Array:
        """A branch with whole frames dropped, at a share of the block's rate."""
        dropped = DropPath(share * self.drop_path, place)(branch, draws)
        return dropped if frozen is None else jnp.where(frozen, branch, dropped)


class LocalBlock(_Block):
    """A local mixer and an MLP (LFA in the released code)."""

    branches = 2

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
        x = self._embedded(x, self.features, mode)
        x = x + self._drop(self._mixed(x, mode), draws, 0, frozen)
        out = self._mlp(self._norm(x, "norm", **mode), 3, train=train)
        return x + self._drop(out, draws, 1, frozen)


class GlobalBlock(_Block):
    """Attention for most channels, a local mixer for the others, an MLP (GFA).

    `keys`: of `Attention`. Raises ValueError where no channels are left for the mixer.
    """

    keys: int = 1
    branches = 3

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
        attending = divisible(GLOBAL_SHARE * self.features)
        rest = self.features - attending
        if rest < HEAD:
            raise ValueError(
                f"a global block of {self.features} channels: {attending} attend, "
                "which leaves none for the convolution"
            )
        x = self._embedded(x, attending, mode)
        attention = Attention(keys=self.keys, name="attn", **self._shared())
        z = attention(self._norm(x, "norm1", **mode), **mode)
        x = x + self._drop(z, draws, 0, frozen, share=GLOBAL_SHARE)
        project = PatchEmbed(features=rest, name="project", **self._shared())
        u = project(x, **mode)
        mixed = self._mixed(u, mode)
        u = u + self._drop(mixed, draws, 1, frozen, share=1 - GLOBAL_SHARE)
        x = jnp.concatenate([x, u], -1)
        out = self._mlp(self._norm(x, "norm2", **mode), 2, train=train)
        return x + self._drop(out, draws, 2, frozen)


class FrameNetwork(_OfFrames):
    """Returns the mean over each frame's pixels [n, c] and its features [n, features].

    Attributes:
        stem, stages: channels; depths: local blocks of each stage; global_widths:
            channels of the global block that ends each stage, () for none.
        drop_path: rate of the last block; it rises over all blocks in their order.
    """

    features: int = 0
    stem: Sequence[int] = ()
    stages: Sequence[int] = ()
    depths: Sequence[int] = ()
    global_widths: Sequence[int] = ()
    kind: str = "dense"
    drop_path: float = 0.1

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w 1"], *, train: bool, frozen: Frozen = None
    ) -> tuple[Float[Array, "n c"], Float[Array, "n features"]]:
        mode = {"train": train, "frozen": frozen}
        widths = (*self.stem, self.stem[-1])
        for i, (width, stride) in enumerate(zip(widths, (2, 1, 1, 2), strict=True)):
            conv = Conv3x3(
                width,
                stride,
                kernel_init=NORMAL,
                dtype=self.dtype,
                name=f"stem_{i}_conv",
            )
            x = nn.relu(self._norm(conv(x), f"stem_{i}_norm", **mode))
        self.sow("intermediates", "stem", x)
        stages = self._blocks()
        draws = iter(
            path_draws(
                self,
                [block.branches for blocks in stages for block in blocks],
                len(x),
                train=train,
                rate=self.drop_path,
            )
        )
        for stage, blocks in enumerate(stages):
            for block in blocks:
                x = block(x, next(draws), **mode)
            x = watched(self, f"stage{stage}", x)
        x = self._norm(x, "norm", **mode)
        self.sow("intermediates", "normed", x)
        pooled = x.mean((1, 2))
        dense = nn.Dense(
            self.features, kernel_init=NORMAL, dtype=self.dtype, name="projection"
        )
        return pooled, dense(pooled)

    def _blocks(self) -> list[list[_Block]]:
        """The blocks of each stage; the first of all but the first stage halves."""
        ends = self.global_widths or (None,) * len(self.depths)
        total = sum(self.depths) + len(self.global_widths)
        rates = iter(enumerate(linspace_rates(self.drop_path, total)))
        stages = []
        for stage, (width, depth, end) in enumerate(
            zip(self.stages, self.depths, ends, strict=True)
        ):
            blocks: list[_Block] = []
            for n in range(depth + (end is not None)):
                i, rate = next(rates)
                own = {"kind": self.kind, "drop_path": rate, "name": f"block_{i}"}
                own |= self._shared()
                if n < depth:
                    stride = 2 if stage and not n else 1
                    blocks.append(LocalBlock(features=width, stride=stride, **own))
                else:
                    keys = KEYS[stage]
                    blocks.append(GlobalBlock(features=end, keys=keys, **own))
            stages.append(blocks)
        return stages
