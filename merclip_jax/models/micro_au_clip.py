"""A detector of AUs after Micro-AU CLIP: each from its own region, then all together.

Only the outline of Micro-AU CLIP is known to us (its abstract and captions). What is
computed here, to the last equation, is ours: no reproduction of that paper.
"""

import dataclasses
import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.declared import OneOf, Range, check
from merclip_jax.models.attention import ATTENTIONS
from merclip_jax.models.au_regions import REGIONS, regions
from merclip_jax.models.clip_vit import SIZES, ClipViT, frozen_paths
from merclip_jax.models.layers import (
    DTYPES,
    MLP,
    at_least_float32,
    compute_dtype,
    gelu,
    watched,
)
from merclip_jax.models.norms import LayerNorm
from merclip_jax.typing import Array, Bool, Dtype, Float, Shaped

SCALE, MOST_SCALE = 10.0, 100.0  # where exp(log_tau) starts, and what caps it
EMBEDDING_STD = 0.02
# The apex alone; what changed since the onset, around grey; a picture of its motion
# (horizontal, vertical, strain), which the dataset holds in place of frames.
INPUTS = ("apex", "diff", "flow")
# CLIP's, on the scale 0..1.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclasses.dataclass(frozen=True)
class MicroAUOptions:
    """The structure of the detector.

    aus: which it detects, of `au_regions.REGIONS`; input: what it sees of onset and
    apex, one of INPUTS; size: one of `clip_vit.SIZES`; trained_blocks: last blocks of
    the image tower that learn, with its last norm, as many as it has or more: all of
    it; heads: of the AU attention; pta_self: slots of a region read each other before
    they are pooled; gda_cls: AUs also read the picture's class token; attention: of the
    tower, as in `attend`; dtype: "auto" is bfloat16 on accelerators and float32 on a
    CPU.
    """

    aus: Annotated[tuple[int, ...], OneOf(REGIONS)] = (1, 2, 4, 7, 12, 14, 15, 17)
    input: Annotated[str, OneOf(INPUTS)] = "diff"
    size: Annotated[str, OneOf(SIZES)] = "b16"
    trained_blocks: Annotated[int, Range(0, 128)] = 4
    heads: Annotated[int, Range(1, 64)] = 8
    pta_self: bool = False
    gda_cls: bool = False
    attention: Annotated[str, OneOf(ATTENTIONS)] = "auto"
    dtype: Annotated[str, OneOf(DTYPES)] = "auto"

    def __post_init__(self):
        check(self)
        if not self.aus or len(set(self.aus)) < len(self.aus):
            raise ValueError(f"aus={self.aus}: expected one or more, each once")
        if SIZES[self.size].width % self.heads:
            raise ValueError(
                f"heads={self.heads}: do not divide the width "
                f"{SIZES[self.size].width} of size={self.size!r}"
            )

    @property
    def compute_dtype(self) -> jnp.dtype:
        """What the model computes in on the devices at hand."""
        return compute_dtype(self.dtype)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Regular expressions of the paths of all parameters that stay as they are."""
        paths = frozen_paths(SIZES[self.size].layers, self.trained_blocks)
        return tuple(f"encoder/{path}" for path in paths)


class MicroAUOutput(NamedTuple):
    """What the detector says, in float32 or wider.

    visual: [b, n, e] unit features of the AUs; text: [n, 2, e] those of their sentences
    (absent, present) after the adapter; scale: () tau; slots: [b, n, k] how each AU
    attends to the slots of its region; dependency: [b, n, n] to the other AUs.
    """

    visual: jax.Array
    text: jax.Array
    scale: jax.Array
    slots: jax.Array
    dependency: jax.Array


def picture(frames: Float[Array, "b t h w 3"], input: str) -> Float[Array, "b h w 3"]:
    """What the detector sees of a clip, normalised as CLIP's pictures are.

    Args:
        frames: in 0..255; onset and apex, of "flow" one picture.
        input: one of INPUTS.

    Raises:
        ValueError: other numbers of frames.
    """
    count = 1 if input == "flow" else 2
    if frames.shape[1] != count:
        raise ValueError(
            f"input={input!r}: expected {count} frames, got {frames.shape[1]}"
        )
    x = frames[:, -1] / 255
    if input == "diff":
        # What a face looks like at rest cancels; what moves is made twice as strong.
        x = jnp.clip(0.5 + 2 * (x - frames[:, 0] / 255), 0, 1)
    mean, std = (jnp.asarray(of, x.dtype).reshape(1, 1, 1, 3) for of in (MEAN, STD))
    return (x - mean) / std


def unit(x: Float[Array, "... e"]) -> Float[Array, "... e"]:
    """Vectors of length 1, in float32 or wider; a zero vector stays one."""
    x = x.astype(at_least_float32(x.dtype))
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


class WeighedAttention(nn.Module):
    """Multi-head attention that also tells its weights; q, k, v, out with biases.

    Called with queries, keys' tokens and which of these there are (`mask`, broadcast
    against [..., s]); returns the answers and the weights of each head.
    """

    heads: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*batch q d"],
        context: Float[Array, "*batch s d"],
        mask: Bool[Array, "..."] | None = None,
    ) -> tuple[Float[Array, "*batch q d"], Float[Array, "*batch h q s"]]:
        d = x.shape[-1]

        def project(tokens, name):
            made = nn.Dense(d, dtype=self.dtype, name=name)(tokens)
            return made.reshape(*made.shape[:-1], self.heads, d // self.heads)

        q, k, v = project(x, "q"), project(context, "k"), project(context, "v")
        scores = jnp.einsum("...qhc,...shc->...hqs", q, k)
        wide = at_least_float32(self.dtype)
        scores = scores.astype(wide) * (d // self.heads) ** -0.5
        if mask is not None:
            # exp(-inf) is 0: what is not there gets no weight at all.
            scores = jnp.where(mask[..., None, None, :], scores, -jnp.inf)
        weights = jax.nn.softmax(scores, axis=-1)
        read = jnp.einsum("...hqs,...shc->...qhc", weights.astype(self.dtype), v)
        read = read.reshape(*read.shape[:-2], d)
        return nn.Dense(d, dtype=self.dtype, name="out")(read), weights


class PatchTokenAttention(nn.Module):
    """Each AU's feature from the patch tokens of its region, and of no other.

    Called with patch tokens, and with the patch of each slot and whether the AU has
    that slot (`regions`); returns features and the weights of the slots, the heads'
    mean.

    Attributes:
        heads: of the attention.
        self_attention: slots of a region read each other first.
    """

    heads: int
    self_attention: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "b p d"],
        patches: Shaped[Array, "b n k"],
        mask: Bool[Array, "n k"],
    ) -> tuple[Float[Array, "b n d"], Float[Array, "b n k"]]:
        (b, p, d), (n, k) = tokens.shape, mask.shape
        # A product with ones and zeros, exact: a gather's gradient would be a scatter,
        # whose sums have no fixed order on a GPU.
        chosen = jax.nn.one_hot(patches.reshape(b, n * k), p, dtype=self.dtype)
        found = jnp.einsum(
            "bsp,bpd->bsd", chosen, tokens, precision=jax.lax.Precision.HIGHEST
        )
        found = LayerNorm(dtype=self.dtype, name="norm")(found).reshape(b, n, k, d)
        # Which landmark a slot is. Two slots may show one patch.
        slot = self.param("slot_embedding", nn.initializers.zeros, (n, k, d))
        found = found + slot.astype(self.dtype)[None]
        mask = mask[None]
        if self.self_attention:
            y = LayerNorm(dtype=self.dtype, name="norm_self")(found)
            attend = WeighedAttention(self.heads, self.dtype, name="attn_self")
            found = found + attend(y, y, mask)[0]
        init = nn.initializers.normal(EMBEDDING_STD)
        query = self.param("query_embedding", init, (n, d)).astype(self.dtype)
        query = jnp.broadcast_to(query[None, :, None], (b, n, 1, d))
        attend = WeighedAttention(self.heads, self.dtype, name="attn")
        read, weights = attend(query, found, mask)
        x = (query + read)[:, :, 0]
        return _with_mlp(x, self.dtype), weights[:, :, :, 0].mean(2)


class GlobalDependencyAttention(nn.Module):
    """AUs read each other: features, and how much each reads of each, the heads' mean.

    Attributes:
        heads: of the attention.
        with_class: AUs read the picture's class token too. The weights that are told
            are then those of the AUs, brought to a sum of 1.
    """

    heads: int
    with_class: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, features: Float[Array, "b n d"], picture: Float[Array, "b d"]
    ) -> tuple[Float[Array, "b n d"], Float[Array, "b n n"]]:
        n, d = features.shape[1:]
        init = nn.initializers.normal(EMBEDDING_STD)
        identity = self.param("au_embedding", init, (n, d)).astype(self.dtype)
        y = LayerNorm(dtype=self.dtype, name="norm")(features) + identity[None]
        context = y
        if self.with_class:
            first = LayerNorm(dtype=self.dtype, name="norm_class")(picture)
            context = jnp.concatenate([y, first[:, None]], axis=1)
        attend = WeighedAttention(self.heads, self.dtype, name="attn")
        read, weights = attend(y, context)
        weights = weights.mean(1)[:, :, :n]
        if self.with_class:
            weights = weights / weights.sum(-1, keepdims=True)
        return _with_mlp(features + read, self.dtype), weights


def _with_mlp(x: Float[Array, "b n d"], dtype: Dtype) -> Float[Array, "b n d"]:
    """Adds MLP(norm(x)) to x, in the module that calls it."""
    y = LayerNorm(dtype=dtype, name="norm_mlp")(x)
    mlp = MLP(2 * x.shape[-1], activation=gelu, dtype=dtype, name="mlp")
    return x + mlp(y, train=False)


class MicroAUClip(nn.Module):
    """Normalised pictures, their landmarks and the AUs' sentences to MicroAUOutput.

    Attributes:
        encoder: pictures to tokens, the class token first.
        aus: n AUs of `au_regions.REGIONS`.
        embed: width of the shared space, e.
        heads, pta_self, gda_cls: of MicroAUOptions.
    """

    encoder: ClipViT
    aus: tuple[int, ...]
    embed: int
    heads: int = MicroAUOptions.heads
    pta_self: bool = False
    gda_cls: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        pictures: Float[Array, "b h w 3"],
        landmarks: Float[Array, "b 68 2"],
        sentences: Float[Array, "n 2 e"],
        *,
        train: bool,
    ) -> MicroAUOutput:
        tokens = watched(self, "tokens", self.encoder(pictures, train=train))
        patch = self.encoder.patch_size
        grid = (pictures.shape[1] // patch, pictures.shape[2] // patch)
        # Landmarks are given: nothing is learned of where they lie.
        where = jax.lax.stop_gradient(landmarks)
        patches, mask = regions(where, self.aus, patch_size=patch, grid=grid)
        features, slots = PatchTokenAttention(
            self.heads, self.pta_self, self.dtype, name="pta"
        )(tokens[:, 1:], patches, jnp.asarray(mask))
        self.sow("intermediates", "independent", features)
        features, dependency = GlobalDependencyAttention(
            self.heads, self.gda_cls, self.dtype, name="gda"
        )(features, tokens[:, 0])
        self.sow("intermediates", "dependent", features)
        width = features.shape[-1]
        # CLIP's own image projection where its weights are at hand.
        projection = self.param(
            "image_projection", nn.initializers.normal(width**-0.5), (width, self.embed)
        )
        features = LayerNorm(dtype=self.dtype, name="norm")(features)
        visual = unit(features @ projection.astype(self.dtype))
        log_tau = self.param("log_tau", nn.initializers.constant(math.log(SCALE)), ())
        return MicroAUOutput(
            visual=visual,
            text=self._adapted(sentences),
            scale=jnp.minimum(jnp.exp(log_tau), MOST_SCALE).astype(visual.dtype),
            slots=slots,
            dependency=dependency,
        )

    def _adapted(self, sentences: Float[Array, "n 2 e"]) -> Float[Array, "n 2 e"]:
        """Sentences moved apart: present and absent lie close together in CLIP."""
        # In float32: it is small, and what tells two near sentences apart is smaller.
        wide = at_least_float32(self.dtype)
        made = MLP(
            self.embed, activation=gelu, zero_out=True, dtype=wide, name="text_adapter"
        )(sentences.astype(wide), train=False)
        return unit(sentences.astype(wide) + made)


def micro_au_clip(options: MicroAUOptions, *, remat: str = "none") -> MicroAUClip:
    """Returns the detector that the options describe.

    Args:
        options: its structure.
        remat: of `layers.rematerialised`, for the blocks of the image tower.
    """
    size, dtype = SIZES[options.size], options.compute_dtype
    encoder = ClipViT(
        width=size.width,
        layers=size.layers,
        heads=size.heads,
        patch_size=size.patch_size,
        trained_blocks=options.trained_blocks,
        attention=options.attention,
        remat=remat,
        dtype=dtype,
    )
    return MicroAUClip(
        encoder,
        aus=options.aus,
        embed=size.embed,
        heads=options.heads,
        pta_self=options.pta_self,
        gda_cls=options.gda_cls,
        dtype=dtype,
    )
