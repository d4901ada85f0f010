"""UniFormerV2: a CLIP ViT with local temporal mixers and global query blocks.

Layout [b, t, n, d] with n = 1 + h*w tokens a frame, the class token first. The clip's
frame count is read from the array, never from the configuration. Wiring, initial
values and widths are those of UniFormerV2's released code.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.attention import PackedAttention
from merclip_jax.models.depthwise import depthwise_conv
from merclip_jax.models.layers import (
    MLP,
    DropPath,
    along,
    path_draws,
    rematerialised,
    uniform_fan_in,
    watched,
)
from merclip_jax.models.norms import BatchNorm, LayerNorm
from merclip_jax.models.video import (
    PatchEmbed,
    VideoFeatures,
    check_clip,
    check_positions,
    linspace_rates,
)
from merclip_jax.typing import Array, Dtype, Float, Shaped


class LocalMHRA(nn.Module):
    """Local temporal relation: BN, d -> r, depthwise over 3 frames, r -> d.

    The class token of each frame has no part in it: its place in the result is 0.
    `reduced` is r; `bn_group_size` is the group size of its `BatchNorm`.
    """

    reduced: int
    bn_group_size: int | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "b t n d"], *, train: bool
    ) -> Float[Array, "b t n d"]:
        width = tokens.shape[-1]
        # The class token is computed with the patches and dropped at the end: cutting
        # it off first would copy all of them, and putting it back once more.
        x = BatchNorm(
            group_size=self.bn_group_size, skip=1, dtype=self.dtype, name="bn"
        )(tokens, train=train)
        x = nn.Dense(
            self.reduced,
            kernel_init=uniform_fan_in(width),
            bias_init=uniform_fan_in(width),
            dtype=self.dtype,
            name="reduce",
        )(x)
        kernel = self.param("kernel", uniform_fan_in(3), (3, self.reduced))
        bias = self.param("bias", uniform_fan_in(3), (self.reduced,))
        # The three frames are the only neighbours: two axes of one stand for h and w.
        taps = kernel.astype(self.dtype).reshape(3, 1, 1, self.reduced)
        x = depthwise_conv(x[:, :, :, None], taps)[:, :, :, 0]
        x = x + along(bias.astype(self.dtype), x)
        # Zeros, so that a block with CLIP's weights starts as CLIP's block.
        x = nn.Dense(
            width,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name="expand",
        )(x)
        patches = jnp.arange(x.shape[2]).reshape(1, 1, -1, 1) > 0
        return jnp.where(patches, x, jnp.zeros_like(x))


class LocalBlock(nn.Module):
    """Local UniBlock: MHRA, attention within each frame, MHRA, MLP.

    `local_mhra` 1 leaves the second MHRA out, 0 both; `reduced` are their channels.
    Called with tokens and the draws of its four paths.
    """

    heads: int
    local_mhra: int
    reduced: int
    drop_path: float
    bn_group_size: int | None = None
    attention: str = "auto"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t n d"],
        draws: Float[Array, "4 b"] | None,
        *,
        train: bool,
    ) -> Float[Array, "b t n d"]:
        def mix(x, place, name):
            # The class token has no neighbour in space or time: it is left out, and
            # learns of other frames through the patches it attends to.
            branch = LocalMHRA(self.reduced, self.bn_group_size, self.dtype, name=name)
            return x + DropPath(self.drop_path, place)(branch(x, train=train), draws)

        width = x.shape[-1]
        if self.local_mhra >= 1:
            x = mix(x, 0, "lmhra1")
        y = LayerNorm(dtype=self.dtype, name="ln_1")(x)
        y = PackedAttention(
            self.heads, implementation=self.attention, dtype=self.dtype, name="attn"
        )(y)
        x = x + DropPath(self.drop_path, 1)(y, draws)
        if self.local_mhra == 2:
            x = mix(x, 2, "lmhra2")
        y = LayerNorm(dtype=self.dtype, name="ln_2")(x)
        y = MLP(4 * width, dtype=self.dtype, name="mlp")(y, train=train)
        return x + DropPath(self.drop_path, 3)(y, draws)


class GlobalBlock(nn.Module):
    """Global UniBlock: one query a clip reads all tokens of all frames.

    Called with the query, the local stream, the draws of its two paths and the patch
    grid (rows, columns).
    """

    heads: int
    mlp_hidden: int
    mlp_dropout: float
    drop_path: float
    attention: str = "auto"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        query: Float[Array, "b 1 d"],
        tokens: Float[Array, "b t n d"],
        draws: Float[Array, "2 b"] | None,
        *,
        grid: tuple[int, int],
        train: bool,
    ) -> Float[Array, "b 1 d"]:
        b, t, _, d = tokens.shape
        # The positional convolution (DPE) changes keys and values only: it starts at
        # random, and in the stream it would disturb the CLIP blocks that follow.
        patches = tokens[:, :, 1:].reshape(b, t, *grid, d)
        kernel = self.param("dpe_kernel", uniform_fan_in(27), (3, 3, 3, d))
        bias = self.param("dpe_bias", nn.initializers.zeros, (d,))
        dpe = depthwise_conv(patches, kernel.astype(self.dtype))
        dpe = dpe + along(bias.astype(self.dtype), dpe)
        self.sow("intermediates", "dpe", dpe)
        norm = LayerNorm(dtype=self.dtype, name="ln_3")
        # Class tokens and patches in two arrays: the query does not mind their order.
        context = norm(tokens[:, :, 0]), norm(patches + dpe)
        # Both branches end in zeros: an untrained block hands the query on as it is.
        y = PackedAttention(
            self.heads,
            zero_out=True,
            implementation=self.attention,
            dtype=self.dtype,
            name="attn",
        )(LayerNorm(dtype=self.dtype, name="ln_1")(query), context)
        query = query + DropPath(self.drop_path, 0)(y, draws)
        y = MLP(
            self.mlp_hidden,
            dropout=self.mlp_dropout,
            zero_out=True,
            bias_init=uniform_fan_in(d),
            dtype=self.dtype,
            name="mlp",
        )(LayerNorm(dtype=self.dtype, name="ln_2")(query), train=train)
        return query + DropPath(self.drop_path, 1)(y, draws)


class UniFormerV2(nn.Module):
    """Clip [b, t, h, w, 3] to VideoFeatures: fused query, raw patch tokens.

    Raises ValueError on a clip that is not float [b, t, h, w, 3] or an impossible
    option.

    Attributes:
        local_mhra: temporal mixers of each local block, 0, 1 or 2.
        reduction: width over the channels inside a mixer.
        global_layers: local blocks, from 0, that a global block follows.
        drop_path, global_drop_path: rates of the last local and last global block.
        remat: of `rematerialised`, for each block.
        frozen: the variant without class-token residual and `balance`.
    """

    width: int
    layers: int
    heads: int
    patch_size: int
    temporal_downsample: bool = True
    local_mhra: int = 2
    reduction: float = 1.5
    global_layers: tuple[int, ...] = ()
    global_heads: int = 1
    global_mlp_factor: float = 4.0
    global_mlp_dropout: float = 0.5
    drop_path: float = 0.0
    global_drop_path: float = 0.0
    frozen: bool = False
    bn_group_size: int | None = None
    attention: str = "auto"
    remat: str = "none"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, clip: Shaped[Array, "..."], *, train: bool) -> VideoFeatures:
        check_clip(clip, "UniFormerV2")
        self._check()
        x = PatchEmbed(
            self.width,
            self.patch_size,
            self.temporal_downsample,
            self.dtype,
            name="patch_embed",
        )(clip)
        self.sow("intermediates", "after_patch_embed", x)
        b, t, *grid, d = x.shape
        n = 1 + grid[0] * grid[1]
        check_positions(self, clip, n)
        normal = nn.initializers.normal(d**-0.5)
        cls = self.param("class_embedding", normal, (d,)).astype(self.dtype)
        position = self.param("positional_embedding", normal, (n, d)).astype(self.dtype)
        x = x.reshape(b, t, n - 1, d)
        cls = jnp.broadcast_to(cls.reshape(1, 1, 1, d), (b, t, 1, d))
        # Positions are of space alone: time enters by convolutions (stem, MHRA, DPE).
        x = jnp.concatenate([cls, x], axis=2) + position[None, None]
        x = LayerNorm(dtype=self.dtype, name="ln_pre")(x)
        x = watched(self, "after_ln_pre", x)

        query = self.param("temporal_cls_token", nn.initializers.zeros, (d,))
        query = jnp.broadcast_to(query.astype(self.dtype).reshape(1, 1, d), (b, 1, d))
        local_rates = linspace_rates(self.drop_path, self.layers)
        global_rates = linspace_rates(self.global_drop_path, len(self.global_layers))
        draws = path_draws(
            self,
            [4] * self.layers + [2] * len(self.global_layers),
            b,
            train=train,
            rate=max(self.drop_path, self.global_drop_path),
        )
        for i in range(self.layers):
            block = LocalBlock(
                self.heads,
                self.local_mhra,
                int(d // self.reduction),
                local_rates[i],
                self.bn_group_size,
                self.attention,
                self.dtype,
                name=f"block_{i}",
            )
            x = rematerialised(block, self.remat)(x, draws[i], train=train)
            x = watched(self, f"after_block_{i}", x)
            # The query is carried on: each global block adds to what those before read.
            if i in self.global_layers:
                j = self.global_layers.index(i)
                block = GlobalBlock(
                    self.global_heads,
                    round(self.global_mlp_factor * d),
                    self.global_mlp_dropout,
                    global_rates[j],
                    self.attention,
                    self.dtype,
                    name=f"global_{j}",
                )
                query = rematerialised(block, self.remat)(
                    query,
                    x,
                    draws[self.layers + j],
                    grid=(grid[0], grid[1]),
                    train=train,
                )
                self.sow("intermediates", f"after_global_{j}", query)

        fused = query[:, 0]
        # MER-CLIP, eq. 3: a learned balance for each channel, half and half at first.
        if not self.frozen:
            balance = self.param("balance", nn.initializers.zeros, (d,))
            alpha = jax.nn.sigmoid(balance.astype(self.dtype))[None]
            fused = (1 - alpha) * fused + alpha * x[:, :, 0].mean(1)
        self.sow("intermediates", "fused", fused)
        pooled = LayerNorm(dtype=self.dtype, name="norm")(fused)
        return VideoFeatures(pooled, x[:, :, 1:].reshape(b, t * (n - 1), d))

    def _check(self) -> None:
        if self.local_mhra not in (0, 1, 2):
            raise ValueError(f"local_mhra must be 0, 1 or 2, got {self.local_mhra}")
        if self.local_mhra and not 0 < self.reduction <= self.width:
            raise ValueError(
                f"reduction must be above 0 and at most the width {self.width}, "
                f"got {self.reduction}"
            )
        layers = list(self.global_layers)
        if layers != sorted(set(layers)) or not set(layers) <= set(range(self.layers)):
            raise ValueError(
                f"global_layers must rise within 0..{self.layers - 1}, got {layers}"
            )


class UniFormerV2Classifier(nn.Module):
    """UniFormerV2 with its own classifier, as trained on Kinetics and SSV2."""

    encoder: UniFormerV2
    classes: int
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self, clip: Shaped[Array, "..."], *, train: bool
    ) -> Float[Array, "b k"]:
        x = self.encoder(clip, train=train).pooled
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(
            self.classes,
            kernel_init=uniform_fan_in(self.encoder.width),
            bias_init=uniform_fan_in(self.encoder.width),
            dtype=self.encoder.dtype,
            name="classifier",
        )(x)
