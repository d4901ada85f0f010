"""SegNet: pictures from pictures, unpooled where they were pooled."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from merclip_jax.models.convolution import Conv3x3
from merclip_jax.models.layers import uniform_fan_in
from merclip_jax.models.norms import BatchNorm
from merclip_jax.typing import Array, Bool, Dtype, Float

STAGES = 5
# Convolutions of each stage, as in VGG16.
DEPTHS = (2, 2, 3, 3, 3)


class SegNet(nn.Module):
    """Returns pictures [n, h, w, outputs] before any activation.

    Sides must be multiples of 32. Layers are named as torch's: `conv{stage}{n}` and
    `bn{stage}{n}`, with a "d" in the decoder, which runs backwards.

    Attributes:
        widths: channels of the stages; the last two of five share one.
        outputs: channels of the result.
    """

    widths: Sequence[int] = (64, 128, 256, 512)
    outputs: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        *,
        train: bool,
        frozen: Bool[Array, ""] | None = None,
    ) -> Float[Array, "n h w outputs"]:
        def layer(x: jax.Array, name: str, width: int) -> jax.Array:
            x = self._conv(x, f"conv{name}", width)
            norm = BatchNorm(dtype=self.dtype, name=f"bn{name}")
            return nn.relu(norm(x, train=train, frozen=frozen))

        widths = [*self.widths, self.widths[-1]]
        places = []
        for stage in range(STAGES):
            for n in range(DEPTHS[stage]):
                x = layer(x, f"{stage + 1}{n + 1}", widths[stage])
            x, place = pool(x)
            places.append(place)
        for stage in reversed(range(STAGES)):
            x = unpool(x, places[stage])
            for n in reversed(range(DEPTHS[stage])):
                # The last layer of a stage has the width of the stage before it.
                width = widths[stage] if n else widths[stage - 1]
                name = f"{stage + 1}{n + 1}d"
                if stage or n:
                    x = layer(x, name, width)
        return self._conv(x, "conv11d", self.outputs)

    def _conv(self, x: jax.Array, name: str, width: int) -> jax.Array:
        fan_in = uniform_fan_in(9 * x.shape[-1])
        return Conv3x3(
            width,
            use_bias=True,
            kernel_init=fan_in,
            bias_init=fan_in,
            dtype=self.dtype,
            name=name,
        )(x)


def pool(
    x: Float[Array, "n h w c"],
) -> tuple[Float[Array, "n h2 w2 c"], Bool[Array, "n h2 2 w2 2 c"]]:
    """Returns the maxima of squares of 2x2, and where in each square they stood.

    Of equal values the first counts, row by row, as in torch: behind a ReLU many
    squares hold nothing but zeros.
    """
    n, h, w, c = x.shape
    squares = x.reshape(n, h // 2, 2, w // 2, 2, c)
    a, b = squares[:, :, 0, :, 0], squares[:, :, 0, :, 1]
    d, e = squares[:, :, 1, :, 0], squares[:, :, 1, :, 1]
    best = jnp.maximum(jnp.maximum(a, b), jnp.maximum(d, e))
    first = a == best
    second = (b == best) & ~first
    third = (d == best) & ~(first | second)
    fourth = ~(first | second | third)
    rows = jnp.stack([first, second], 3), jnp.stack([third, fourth], 3)
    place = jnp.stack(rows, 2)
    # Not `best`: its gradient would be shared out among equals.
    pooled = jnp.where(place, squares, jnp.zeros_like(squares)).sum((2, 4))
    return pooled, place


def unpool(
    x: Float[Array, "n h2 w2 c"], place: Bool[Array, "n h2 2 w2 2 c"]
) -> Float[Array, "n h w c"]:
    """Returns each value where its maximum stood, zeros beside it."""
    n, h, w, c = x.shape
    spread = jnp.where(place, x[:, :, None, :, None], jnp.zeros((), x.dtype))
    return spread.reshape(n, 2 * h, 2 * w, c)
