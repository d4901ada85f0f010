"""MER-CLIP: a video encoder aligned with AU sentences, and an emotion head."""

import dataclasses
import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.declared import OneOf, Range, check
from merclip_jax.models.attention import ATTENTIONS
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.emotion_head import EmotionHead
from merclip_jax.models.factorized_vit import FactorizedViT
from merclip_jax.models.layers import (
    DTYPES,
    at_least_float32,
    compute_dtype,
    uniform_fan_in,
)
from merclip_jax.models.norms import LayerNorm
from merclip_jax.models.uniformer_v2 import UniFormerV2
from merclip_jax.typing import Array, Dtype, Shaped

TEMPERATURE = 0.07  # the contrastive temperature, fixed (paper) or its start (released)
BIAS = -10.0  # where the sigmoid loss starts: nearly all pairs are negatives (SigLIP)


@dataclasses.dataclass(frozen=True)
class Size:
    """Widths and depths of one published or test-sized MER-CLIP.

    `global_layers` are the local blocks, from 0, that a global block follows in the
    SSV2 structure: the last two thirds. `embed` is the width video and text share.
    """

    width: int
    layers: int
    heads: int
    patch_size: int
    global_layers: tuple[int, ...]
    embed: int
    text_width: int
    text_layers: int
    text_heads: int


# "b16" and "l14" have the widths of CLIP's towers, whose weights they start from.
SIZES = {
    "tiny": Size(64, 2, 2, 16, (0, 1), 64, 64, 2, 4),
    "b16": Size(768, 12, 12, 16, tuple(range(4, 12)), 512, 512, 12, 8),
    "l14": Size(1024, 24, 16, 14, tuple(range(8, 24)), 768, 768, 12, 12),
}


class Structure(NamedTuple):
    """What UniFormerV2 adds to a ViT; global blocks: the last few, None: as `Size`."""

    temporal_downsample: bool
    local_mhra: int
    last_global: int | None


STRUCTURES = {
    "ssv2": Structure(True, 2, None),  # what MER-CLIP uses
    "kinetics": Structure(False, 0, 4),
}
ENCODERS = ("uniformer_v2", "factorized_vit")
_DROPPED = Range(0, 1, below=True)  # what is left is divided by 1 - the rate


@dataclasses.dataclass(frozen=True)
class MerClipOptions:
    """The structure of a MER-CLIP and how it is regularised.

    video: one of ENCODERS; size: of SIZES; structure: of STRUCTURES (UniFormerV2's);
    temporal_layers: of the factorised encoder; the drop and dropout rates are
    probabilities; bn_group_size: clips that share BatchNorm statistics, 0 for the whole
    batch; attention: of `attend`; dtype: "auto" is bfloat16 on accelerators and
    float32 on a CPU. Raises ValueError for names that are not known.
    """

    video: Annotated[str, OneOf(ENCODERS)] = "uniformer_v2"
    size: Annotated[str, OneOf(SIZES)] = "b16"
    structure: Annotated[str, OneOf(STRUCTURES)] = "ssv2"
    temporal_layers: Annotated[int, Range(1, 48)] = 4
    drop_path: Annotated[float, _DROPPED] = 0.2
    global_drop_path: Annotated[float, _DROPPED] = 0.4
    global_mlp_dropout: Annotated[float, _DROPPED] = UniFormerV2.global_mlp_dropout
    head_blocks: Annotated[int, Range(0, 48)] = 2
    head_dropout: Annotated[float, _DROPPED] = 0.1
    learn_temperature: bool = False
    bn_group_size: Annotated[int, Range(0, 4096)] = 0
    attention: Annotated[str, OneOf(ATTENTIONS)] = "auto"
    dtype: Annotated[str, OneOf(DTYPES)] = "auto"

    def __post_init__(self):
        check(self)

    @property
    def together(self) -> int:
        """Clips that BatchNorm wants in the model at a time; 0: the whole batch."""
        mixers = STRUCTURES[self.structure].local_mhra
        return self.bn_group_size if self.video == "uniformer_v2" and mixers else 1

    @property
    def compute_dtype(self) -> jnp.dtype:
        """What the model computes in on the devices at hand."""
        return compute_dtype(self.dtype)


class MerClipOutput(NamedTuple):
    """`video` [b, e] to be aligned with text, `logits` [b, k]; `scale`, `bias` ()."""

    video: jax.Array
    logits: jax.Array
    scale: jax.Array
    bias: jax.Array


class MerClip(nn.Module):
    """The trained part of MER-CLIP; the text tower is frozen and lives apart.

    Attributes:
        encoder: any module that maps a clip [b, t, h, w, 3] to VideoFeatures.
        embed: width of the shared space and of the head, equal in the released layout.
        learn_temperature: `scale` is exp(logit_scale), learned; else 1/0.07.
        learn_bias: the sigmoid loss's bias is learned; else 0.
        head_blocks: 0 leaves a linear classifier on the pooled token.
    """

    encoder: nn.Module
    classes: int
    embed: int
    learn_temperature: bool = MerClipOptions.learn_temperature
    learn_bias: bool = False
    head_blocks: int = MerClipOptions.head_blocks
    head_heads: int = 4
    head_dropout: float = MerClipOptions.head_dropout
    attention: str = MerClipOptions.attention
    remat: str = "none"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, clip: Shaped[Array, "..."], *, train: bool) -> MerClipOutput:
        features = self.encoder(clip, train=train)
        pooled, patches = features
        width = pooled.shape[-1]
        self.sow("intermediates", "pooled", pooled)

        # MER-CLIP, eq. 8, and the norm that the released code puts behind it.
        projection = self.param(
            "video_projection", nn.initializers.normal(width**-0.5), (width, self.embed)
        )
        video = pooled @ projection.astype(self.dtype)
        video = LayerNorm(dtype=self.dtype, name="video_norm")(video)

        # MER-CLIP, eq. 4: the pooled token is normalised by now, patches are raw.
        tokens = jnp.concatenate([pooled[:, None], patches], axis=1)
        self.sow("intermediates", "tokens", tokens)
        tokens = nn.Dense(
            self.embed,
            use_bias=False,
            kernel_init=uniform_fan_in(width),
            dtype=self.dtype,
            name="head_projection",
        )(tokens)
        tokens = LayerNorm(dtype=self.dtype, name="head_norm")(tokens)
        self.sow("intermediates", "head_tokens", tokens)
        # The head has a projection of its own: `video` serves the alignment alone.
        logits = EmotionHead(
            self.classes,
            self.head_blocks,
            self.head_heads,
            self.head_dropout,
            self.attention,
            self.remat,
            self.dtype,
            name="head",
        )(tokens, train=train)

        if self.learn_temperature:
            # The logarithm is what is learned: the scale then cannot turn negative.
            start = nn.initializers.constant(math.log(1 / TEMPERATURE))
            scale = jnp.exp(self.param("logit_scale", start, ()))
        else:
            scale = jnp.asarray(1 / TEMPERATURE, at_least_float32(self.dtype))
        bias = jnp.zeros(())
        if self.learn_bias:
            bias = self.param("logit_bias", nn.initializers.constant(BIAS), ())
        wide = at_least_float32(self.dtype)  # losses must not be in bfloat16
        video, logits = video.astype(wide), logits.astype(wide)
        return MerClipOutput(video, logits, scale.astype(wide), bias.astype(wide))


def uniformer_v2(
    size: Size,
    structure: Structure = STRUCTURES["ssv2"],
    *,
    drop_path: float = 0.0,
    global_drop_path: float = 0.0,
    global_mlp_dropout: float = UniFormerV2.global_mlp_dropout,
    bn_group_size: int | None = None,
    attention: str = "auto",
    remat: str = "none",
    dtype: Dtype = jnp.float32,
) -> UniFormerV2:
    """Returns a published UniFormerV2 encoder.

    Args:
        size: one of SIZES.
        structure: one of STRUCTURES.
        drop_path, global_drop_path: rates of the last local and last global block.
        global_mlp_dropout: probability in the global blocks' MLPs.
        bn_group_size: clips that share BatchNorm statistics; None: the batch.
        attention, dtype: as in `attend`; of the computation.
        remat: of `layers.rematerialised`, for each block.
    """
    global_layers = size.global_layers
    if structure.last_global is not None:
        first = max(size.layers - structure.last_global, 0)
        global_layers = tuple(range(first, size.layers))
    return UniFormerV2(
        width=size.width,
        layers=size.layers,
        heads=size.heads,
        patch_size=size.patch_size,
        temporal_downsample=structure.temporal_downsample,
        local_mhra=structure.local_mhra,
        global_layers=global_layers,
        global_heads=size.heads,
        global_mlp_dropout=global_mlp_dropout,
        drop_path=drop_path,
        global_drop_path=global_drop_path,
        bn_group_size=bn_group_size,
        attention=attention,
        remat=remat,
        dtype=dtype,
    )


def mer_clip(
    options: MerClipOptions,
    *,
    classes: int,
    frames: int,
    learn_bias: bool = False,
    remat: str = "none",
) -> MerClip:
    """Returns the MER-CLIP that the options describe.

    Args:
        options: its structure.
        classes: emotions that the head tells apart.
        frames: of a clip; only the factorised encoder depends on it.
        learn_bias: for the sigmoid loss, which adds a bias to its logits.
        remat: of `layers.rematerialised`, for the blocks of encoder and head.
    """
    size, dtype = SIZES[options.size], options.compute_dtype
    if options.video == "factorized_vit":
        encoder = FactorizedViT(
            width=size.width,
            layers=size.layers,
            heads=size.heads,
            patch_size=size.patch_size,
            frames=frames,
            temporal_layers=options.temporal_layers,
            drop_path=options.drop_path,
            attention=options.attention,
            remat=remat,
            dtype=dtype,
        )
    else:
        encoder = uniformer_v2(
            size,
            STRUCTURES[options.structure],
            drop_path=options.drop_path,
            global_drop_path=options.global_drop_path,
            global_mlp_dropout=options.global_mlp_dropout,
            bn_group_size=options.bn_group_size or None,
            attention=options.attention,
            remat=remat,
            dtype=dtype,
        )
    return MerClip(
        encoder,
        classes=classes,
        embed=size.embed,
        learn_temperature=options.learn_temperature,
        learn_bias=learn_bias,
        head_blocks=options.head_blocks,
        head_dropout=options.head_dropout,
        attention=options.attention,
        remat=remat,
        dtype=dtype,
    )


def clip_text(size: Size, *, vocabulary: int, context: int) -> ClipText:
    """Returns the frozen text tower that belongs to a size.

    Args:
        size: one of SIZES.
        vocabulary: number of ids.
        context: longest prompt in tokens.
    """
    return ClipText(
        vocabulary=vocabulary,
        context=context,
        width=size.text_width,
        layers=size.text_layers,
        heads=size.text_heads,
        out=size.embed,
    )
