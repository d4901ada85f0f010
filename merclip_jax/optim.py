"""Learning-rate schedule, weight-decay mask, frozen parts, AdamW with clipping."""

import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from merclip_jax.shapes import Array, Float, Int


def learning_rate(
    step: Int[Array, ""],
    steps_per_epoch: Int[Array, ""],
    *,
    peak: float,
    epochs: int,
    warmup_epochs: int = 5,
    floor: float = 0.1,
) -> Float[Array, ""]:
    """Warm-up and cosine per iteration (MER_CLIP section 6).

    Rises linearly from `floor` x peak, reaching peak at the last warm-up step; then
    falls as a cosine to `floor` x peak at the end of `epochs`.
    """
    real = jnp.result_type(float)  # float64 under x64
    step, per_epoch = step.astype(real), steps_per_epoch.astype(real)
    warm = warmup_epochs * per_epoch
    rise = floor + (1 - floor) * step / jnp.maximum(warm - 1, 1)
    span = jnp.maximum((epochs - warmup_epochs) * per_epoch, 1)
    done = jnp.clip((step - warm) / span, 0, 1)
    fall = floor + (1 - floor) * 0.5 * (1 + jnp.cos(jnp.pi * done))
    return peak * jnp.where(step < warm, rise, fall)


def path_of(key_path: tuple) -> str:
    """A parameter's path as "encoder/block_0/ln_1/scale"."""
    return "/".join(str(k.key) for k in key_path)


def decay_mask(params: dict, *, decay_embeddings: bool) -> dict:
    """True where weight decay applies.

    Norm scales and every parameter named `bias` are never decayed. `released` also
    decays the packed attention bias, the embeddings, `balance` and the logit scale
    (`decay_embeddings` True), as the released code does without meaning to; `paper`
    decays kernels and projections only.
    """
    vectors = re.compile(
        r".*(class_embedding|positional_embedding|temporal_embedding"
        r"|temporal_cls_token|balance|logit_scale|logit_bias|in_proj_bias)"
    )

    def decayed(key_path, _) -> bool:
        path = path_of(key_path)
        if path.rsplit("/", 1)[-1] in ("scale", "bias", "dpe_bias"):
            return False
        return decay_embeddings or not vectors.fullmatch(path)

    return jax.tree_util.tree_map_with_path(decayed, params)


def frozen_mask(params: dict, patterns: Sequence[str]) -> dict:
    """True where a parameter's path matches one of the regular expressions.

    Raises ValueError for a pattern that matches nothing.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    paths = [path_of(key_path) for key_path, _ in leaves]
    for pattern in patterns:
        if not any(re.fullmatch(pattern, path) for path in paths):
            raise ValueError(f"frozen pattern {pattern!r} matches no parameter")
    return jax.tree_util.tree_map_with_path(
        lambda key_path, _: any(re.fullmatch(p, path_of(key_path)) for p in patterns),
        params,
    )


def adamw(
    *,
    weight_decay: float = 0.05,
    clip_norm: float = 20.0,
    decay_embeddings: bool = False,
    frozen: Sequence[str] = (),
) -> optax.GradientTransformation:
    """AdamW without its learning rate: gradients to descent directions.

    Global-norm clipping, Adam (0.9, 0.999, 1e-8), decoupled decay; the training step
    multiplies by -`learning_rate`, which depends on the member. Frozen parts get
    zero updates and do not count in the norm.
    """

    def freeze(updates, params):
        zero = frozen_mask(params, frozen)
        return jax.tree.map(lambda z, u: jnp.zeros_like(u) if z else u, zero, updates)

    def decay(params):
        return decay_mask(params, decay_embeddings=decay_embeddings)

    return optax.chain(
        optax.stateless(freeze),
        optax.clip_by_global_norm(clip_norm),
        _adam(),
        optax.add_decayed_weights(weight_decay, mask=decay),
        optax.stateless(freeze),
    )


def _adam() -> optax.GradientTransformation:
    """Adam's directions. Optax raises a float to an int32 power: not so strictly."""
    adam = optax.scale_by_adam()

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return adam.update(updates, state, params)

    return optax.GradientTransformation(adam.init, update)
