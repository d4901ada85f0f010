"""FDP: a clip's dynamics from all its frames, for an emotion and a dynamic image.

Shao et al., Micro-Expression Recognition via Fine-Grained Dynamic Perception (2025).
The released code and the paper differ; what differs is a named value of `FdpOptions`.
"""

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from merclip_jax.declared import OneOf, Range, check
from merclip_jax.models.convolution import Conv3x3
from merclip_jax.models.frame_network import LOCALS, FrameNetwork
from merclip_jax.models.layers import (
    DTYPES,
    at_least_float32,
    compute_dtype,
    uniform_fan_in,
)
from merclip_jax.models.rank_pooling import rank_weights
from merclip_jax.models.segnet import SegNet
from merclip_jax.typing import Array, Bool, Dtype, Float

FRAMES = 8
MAPS = 8  # channels of the dynamic representation
POOL = 3  # pixels of a side whose maximum the emotion head reads


@dataclasses.dataclass(frozen=True)
class FdpSize:
    """Widths and depths: of the stem, the stages, SegNet and the emotion head."""

    stem: tuple[int, ...]
    stages: tuple[int, ...]
    depths: tuple[int, ...]
    global_widths: tuple[int, ...]
    segnet: tuple[int, ...]
    hidden: int


SIZES = {
    "released": FdpSize(
        (64, 32, 64),
        (96, 192, 384, 768),
        (3, 4, 10, 3),
        (128, 256, 512, 1024),
        (64, 128, 256, 512),
        256,
    ),
    # For two cores: the same structure, a thousandth of the arithmetic.
    "tiny": FdpSize(
        (16, 8, 16),
        (16, 24, 32, 48),
        (1, 1, 1, 1),
        # What attends is a multiple of 32 and takes all of fewer channels.
        (112, 112, 112, 128),
        (8, 16, 24, 32),
        64,
    ),
}
LAYOUTS = ("features", "time")
STATISTICS = ("moment", "clip")
FREEZES = ("after_first_pass", "never")
SCORERS = ("random", "rank")
NORMALISATIONS = ("split", "training")


@dataclasses.dataclass(frozen=True)
class FdpOptions:
    """What the released code and the paper do differently, and the size.

    The defaults are the released code's. size: of SIZES; local: how neighbouring pixels
    mix, of LOCALS; global_blocks: of attention at the end of each stage, 1 in the
    paper; layout: what the axis of length 8 is that the convolution over "time" sums
    over: neighbouring features, or time; statistics: whether BatchNorm normalises each
    moment apart or all frames together; freeze: when training goes on with BatchNorm's
    running statistics and without drop paths; scorer: how that convolution starts, at
    random or as rank pooling; normalised_by: whose mean and maximum frames are scaled
    with, those of the clips' own split (test clips by test clips) or of the training
    clips; drop_path: rate of the last block; dtype: "auto" is bfloat16 on accelerators
    and float32 on a CPU.
    """

    size: Annotated[str, OneOf(SIZES)] = "released"
    local: Annotated[str, OneOf(LOCALS)] = "dense"
    global_blocks: Annotated[int, Range(0, 1)] = 0
    layout: Annotated[str, OneOf(LAYOUTS)] = "features"
    statistics: Annotated[str, OneOf(STATISTICS)] = "moment"
    freeze: Annotated[str, OneOf(FREEZES)] = "after_first_pass"
    scorer: Annotated[str, OneOf(SCORERS)] = "random"
    normalised_by: Annotated[str, OneOf(NORMALISATIONS)] = "split"
    drop_path: Annotated[float, Range(0, 1, below=True)] = 0.1
    dtype: Annotated[str, OneOf(DTYPES)] = "float32"

    def __post_init__(self):
        check(self)

    @property
    def compute_dtype(self) -> jnp.dtype:
        """What the model computes in on the devices at hand."""
        return compute_dtype(self.dtype)


class FdpOutput(NamedTuple):
    """`logits` [b, k]; `image` [b, h, w] in 0..1; `scores` [b, t] of the frames."""

    logits: jax.Array
    image: jax.Array
    scores: jax.Array


class Fdp(nn.Module):
    """The whole network, of normalised grey frames.

    Attributes:
        classes: emotions.
        size: widths and depths.
        kind, global_blocks, layout, statistics, scorer, drop_path: see `FdpOptions`.
        ranks: whether frames get scores.
    """

    classes: int
    size: FdpSize = SIZES["released"]
    kind: str = "dense"
    global_blocks: int = 0
    layout: str = "features"
    statistics: str = "moment"
    scorer: str = "random"
    drop_path: float = 0.1
    ranks: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t h w 1"],
        *,
        train: bool,
        frozen: Bool[Array, ""] | None = None,
    ) -> FdpOutput:
        """Answers of clips.

        Args:
            x: normalised frames, as many as `FRAMES`, sides multiples of 32.
            train: whether statistics of the batch are used and drop paths drawn.
            frozen: of a training step, whether it is to do neither.
        """
        b, t, h, w, _ = x.shape
        if (t, h) != (FRAMES, w) or h % 32:
            raise ValueError(
                f"frames {list(x.shape)}: expected {FRAMES} square ones with sides "
                "that are multiples of 32"
            )
        mode = {"train": train, "frozen": frozen}
        # Moments first: those of one moment can be normalised together.
        frames = jnp.moveaxis(x, 1, 0).reshape(t * b, h, w, 1)
        pooled, features = FrameNetwork(
            features=h * w,
            stem=self.size.stem,
            stages=self.size.stages,
            depths=self.size.depths,
            global_widths=self.size.global_widths if self.global_blocks else (),
            kind=self.kind,
            drop_path=self.drop_path,
            moments=t if self.statistics == "moment" else 1,
            dtype=self.dtype,
            name="frames",
        )(frames, **mode)
        self.sow("intermediates", "features", features.reshape(t, b, -1))
        dynamics = self._dynamics(features.reshape(t, b, h, w))
        self.sow("intermediates", "dynamics", dynamics)
        image = SegNet(self.size.segnet, dtype=self.dtype, name="decoder")(
            dynamics, **mode
        )
        wide = at_least_float32(self.dtype)
        return FdpOutput(
            logits=self._emotion(dynamics).astype(wide),
            image=nn.sigmoid(image[..., 0].astype(wide)),
            scores=self._scores(pooled.reshape(t, b, -1)).astype(wide),
        )

    def _dynamics(self, features: Float[Array, "t b h w"]) -> Float[Array, "b h w 8"]:
        """The convolution that is to score frames and to pool them over time."""
        t, b, h, w = features.shape
        if self.layout == "time":
            volume = jnp.moveaxis(features, 0, -1)
        else:
            # A plain reshape: the last axis holds neighbouring features of one frame.
            volume = jnp.moveaxis(features, 0, 1).reshape(b, h, w, t)
        fan_in = uniform_fan_in(9 * t)
        init = fan_in if self.scorer == "random" else _rank_pooling
        return Conv3x3(
            MAPS,
            use_bias=True,
            kernel_init=init,
            bias_init=fan_in,
            dtype=self.dtype,
            name="scorer",
        )(volume)

    def _emotion(self, dynamics: Float[Array, "b h w 8"]) -> Float[Array, "b k"]:
        x = nn.max_pool(dynamics, (POOL, POOL), (POOL, POOL), "VALID")
        # As torch flattens: channel, row, column.
        x = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)
        for name, width in (("hidden", self.size.hidden), ("classifier", self.classes)):
            fan_in = uniform_fan_in(x.shape[-1])
            x = nn.Dense(
                width,
                kernel_init=fan_in,
                bias_init=fan_in,
                dtype=self.dtype,
                name=name,
            )(x)
            x = nn.relu(x) if name == "hidden" else x
        return x

    def _scores(self, pooled: Float[Array, "t b c"]) -> Float[Array, "b t"]:
        """A score of each moment, of the mean of all frames up to it."""
        t, b, c = pooled.shape
        if not self.ranks:
            return jnp.zeros((b, t), pooled.dtype)
        direction = self.param("ranker", uniform_fan_in(c), (c,))
        count = jnp.arange(1, t + 1, dtype=pooled.dtype)
        means = jnp.cumsum(pooled, 0) / count[:, None, None]
        return (means @ direction.astype(pooled.dtype)).T


def fdp(options: FdpOptions, *, classes: int, ranks: bool = False) -> Fdp:
    """The network of some options.

    Args:
        options: which.
        classes: emotions.
        ranks: whether frames get scores.
    """
    return Fdp(
        classes,
        SIZES[options.size],
        options.local,
        options.global_blocks,
        options.layout,
        options.statistics,
        options.scorer,
        options.drop_path,
        ranks,
        options.compute_dtype,
    )


def _rank_pooling(
    key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32
) -> jax.Array:
    """The middle tap as rank pooling over the frames, and a little noise."""
    weights = rank_weights(shape[2])
    middle = np.zeros(shape)
    middle[1, 1] = (weights / np.abs(weights).max())[:, None]
    return jnp.asarray(middle, dtype) + 0.02 * jax.random.normal(key, shape, dtype)
