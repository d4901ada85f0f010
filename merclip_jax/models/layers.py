"""Layers shared by the towers: activations, MLP, drop path, what is computed again.

Every module takes `dtype`, the compute dtype; parameters stay float32 (float64 under
x64 when initialised so). `*_init` are initialisers of the kernels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from merclip_jax.typing import Array, Dtype, Float, Shaped

Initializer = Callable[..., jax.Array]
DTYPES = ("auto", "float32", "bfloat16")  # what a model's options say of its dtype


def watched(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """Returns x, kept as an intermediate; a perturbation of that name is added to it.

    So one and the same forward pass says what a layer holds and, by the gradient of the
    collection "perturbations", what an answer owes to it. Without the two collections
    it is x, and costs nothing.

    Args:
        module: that computes x.
        name: under which it is kept.
        x: of any shape.
    """
    module.sow("intermediates", name, x)
    if module.has_variable("perturbations", name):
        x = x + module.get_variable("perturbations", name)
    return x


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """CLIP's activation x * sigmoid(1.702 x); any shape."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exact (erf) GELU of the emotion head; any shape."""
    return jax.nn.gelu(x, approximate=False)


def compute_dtype(name: str) -> jnp.dtype:
    """What a model computes in on the devices at hand; `name` is one of DTYPES."""
    if name != "auto":
        return jnp.dtype(name)
    # Most CPUs emulate bfloat16, which is slower than float32 there.
    return jnp.dtype("float32" if jax.default_backend() == "cpu" else "bfloat16")


def at_least_float32(dtype: Dtype) -> jnp.dtype:
    """What norms and outputs are computed in: float64 stays, all else is float32."""
    return jnp.dtype(dtype) if jnp.dtype(dtype).itemsize > 4 else jnp.dtype("float32")


def along(vector: Float[Array, "d"], like: Shaped[Array, "..."]) -> jax.Array:
    """Returns `vector` [d] with leading axes of one, as many as `like` has.

    Args:
        vector: one value for each channel.
        like: what it is to be broadcast against, channels last.
    """
    # Written out because the tests run with rank_promotion="raise".
    return vector.reshape((1,) * (like.ndim - 1) + (-1,))


def uniform_fan_in(fan_in: int) -> Initializer:
    """Torch's default for linear and convolution layers: U(+-1/sqrt(fan_in))."""

    def init(key, shape, dtype=jnp.float32, out_sharding=None):
        del out_sharding
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


# `Execution.remat`: what of a block's forward pass is kept for its backward pass.
_KEPT = {
    "products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "blocks": jax.checkpoint_policies.nothing_saveable,
}


def rematerialised(module: nn.Module, remat: str) -> Callable[..., jax.Array]:
    """Returns a module's call, whose backward pass computes again what it lacks.

    Arrays go in by position, all that is static by name.

    Args:
        module: a block.
        remat: "none" keeps all of the forward pass, "products" those with weights,
            "blocks" the block's input alone.
    """

    def call(*arrays: jax.Array | None, **static: Any) -> jax.Array:
        if remat == "none":
            return module(*arrays, **static)
        function = nn.remat(
            lambda module, *arrays: module(*arrays, **static), policy=_KEPT[remat]
        )
        return function(module, *arrays)

    return call


class MLP(nn.Module):
    """c_proj(dropout(activation(c_fc(x)))), d -> hidden -> d.

    `zero_out` starts `c_proj` at zero; `bias_init` is of `c_fc`.
    """

    hidden: int
    activation: Callable[[jax.Array], jax.Array] = quick_gelu
    dropout: float = 0.0
    zero_out: bool = False
    dtype: Dtype = jnp.float32
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    out_init: Initializer = nn.initializers.xavier_uniform()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"], *, train: bool) -> jax.Array:
        width = x.shape[-1]
        x = nn.Dense(
            self.hidden,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            name="c_fc",
        )(x)
        x = self.activation(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        init = nn.initializers.zeros if self.zero_out else self.out_init
        return nn.Dense(width, kernel_init=init, dtype=self.dtype, name="c_proj")(x)


class DropPath(nn.Module):
    """Drops a residual branch of whole clips; what stays is scaled by 1/(1 - rate).

    Called with the branch and the draws of its block, of which it takes the one of its
    `place`; None: nothing is dropped.
    """

    rate: float
    place: int = 0

    def __call__(
        self, x: Float[Array, "b ..."], draws: Float[Array, "p b"] | None
    ) -> Float[Array, "b ..."]:
        # UniFormerV2's released code has tokens in front and so drops single tokens;
        # one draw for each clip is what drop path means.
        if draws is None or not self.rate:
            return x
        kept = (draws[self.place] >= self.rate).reshape((-1,) + (1,) * (x.ndim - 1))
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0.0
        return jnp.where(kept, x * scale, jnp.zeros_like(x))


def path_draws(
    module: nn.Module,
    blocks: Sequence[int],
    clips: int,
    *,
    train: bool,
    rate: float,
) -> Sequence[Float[Array, "p b"] | None]:
    """Returns what the drop paths of a tower draw, block by block: uniform in [0, 1).

    Args:
        module: whose "dropout" key is used.
        blocks: the paths of each.
        clips: in the batch, b.
        train: False: nothing is dropped, and None is returned for each block.
        rate: the highest of the tower; 0 draws nothing either.
    """
    if not train or not rate:
        return [None] * len(blocks)
    # All at once: a draw for each path makes a thousand instructions on a TPU.
    draws = jax.random.uniform(module.make_rng("dropout"), (sum(blocks), clips))
    return jnp.split(draws, np.cumsum(blocks)[:-1].tolist())
