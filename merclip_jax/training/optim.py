"""How a member's parameters move: directions, rate, length of its training."""

import dataclasses
import functools
import re
from collections.abc import Callable, Hashable, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from merclip_jax.declared import Range, Regex, check
from merclip_jax.typing import Array, Float, Int, Leaf

# What the released code decays without meaning to.
_EMBEDDINGS = re.compile(
    r".*(_embedding|temporal_cls_token|balance|logit_scale|logit_bias|log_tau"
    r"|in_proj_bias)"
)


@dataclasses.dataclass(frozen=True)
class Epochs:
    """A training that passes so often over its clips; longer for more clips."""

    count: int

    def __post_init__(self):
        _at_least_one("epochs", self.count)

    def steps(self, steps_per_epoch: int) -> int:
        """Steps of a member whose pass takes `steps_per_epoch` steps."""
        return self.count * steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Steps:
    """A training of so many steps, however many clips there are."""

    count: int

    def __post_init__(self):
        _at_least_one("steps", self.count)

    def steps(self, steps_per_epoch: int) -> int:
        """The same for every member."""
        del steps_per_epoch
        return self.count


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """What a step needs to move parameters.

    tx: gradients to descent directions, without the rate; parts that learn at another
    rate are scaled in it. rate: (step [], steps of an epoch []) to the learning rate.
    length: of a training. frozen: regular expressions of parameter paths that `tx`
    leaves as they are, for the table of parameters. alike: of a parameter's path to
    what `tx` reads of it; small arrays for which this is equal may lie side by side,
    under the path of any (`training/packed.py`). None: `tx` sees each by itself.
    """

    tx: optax.GradientTransformation
    rate: Callable[[jax.Array, jax.Array], jax.Array]
    length: Epochs | Steps
    frozen: tuple[str, ...] = ()
    alike: Callable[[str], Hashable] | None = None


@dataclasses.dataclass(frozen=True)
class AdamWOptions:
    """AdamW with warm-up and cosine, as MER-CLIP trains (section IV-B).

    peak_lr: highest learning rate; warmup_epochs: until it is reached; lr_floor: share
    of it at the start and at the end; clip_norm: largest global norm of the gradients,
    0 for no limit; decay_embeddings: see `decay_mask`; frozen: regular expressions of
    parameter paths.
    """

    peak_lr: Annotated[float, Range(0, 1e9, above=True)] = 5e-5
    warmup_epochs: Annotated[int, Range(0, 10_000)] = 5
    lr_floor: Annotated[float, Range(0, 1)] = 0.1
    weight_decay: Annotated[float, Range(0, 1000)] = 0.05
    clip_norm: Annotated[float, Range(0, 1e9)] = 20.0
    decay_embeddings: bool = False
    frozen: Annotated[tuple[str, ...], Regex()] = ()

    def __post_init__(self):
        check(self)


def adamw(options: AdamWOptions, *, epochs: int) -> Optimiser:
    """AdamW whose rate depends on how long the member's own epochs are.

    Args:
        options: its numbers.
        epochs: of a training.
    """

    return Optimiser(
        tx=adamw_directions(
            weight_decay=options.weight_decay,
            clip_norm=options.clip_norm,
            decay_embeddings=options.decay_embeddings,
            frozen=options.frozen,
        ),
        rate=functools.partial(
            learning_rate,
            peak=options.peak_lr,
            epochs=epochs,
            warmup_epochs=options.warmup_epochs,
            floor=options.lr_floor,
        ),
        length=Epochs(epochs),
        frozen=tuple(options.frozen),
        alike=lambda path: (
            decays(path, embeddings=options.decay_embeddings),
            matches(path, options.frozen),
        ),
    )


@dataclasses.dataclass(frozen=True)
class AdamOptions:
    """Adam at a constant rate, as FDP's released code trains.

    lr: learning rate; l2: weight decay that is added to the gradients and so scaled
    like them, of all parameters; steps: of a training.
    """

    lr: Annotated[float, Range(0, 1e9, above=True)] = 1e-4
    l2: Annotated[float, Range(0, 1000)] = 1e-3
    steps: Annotated[int, Range(1, 10_000_000)] = 501

    def __post_init__(self):
        check(self)


def coupled_adam(options: AdamOptions) -> Optimiser:
    """Adam whose weight decay goes through its moments, for so many steps.

    Args:
        options: its numbers.
    """
    return Optimiser(
        tx=optax.chain(optax.add_decayed_weights(options.l2), adam()),
        rate=lambda step, steps_per_epoch: jnp.asarray(options.lr, jnp.float32),
        length=Steps(options.steps),
        alike=lambda path: None,
    )


def learning_rate(
    step: Int[Array, ""],
    steps_per_epoch: Int[Array, ""],
    *,
    peak: float,
    epochs: int,
    warmup_epochs: int,
    floor: float,
) -> Float[Array, ""]:
    """Warm-up and cosine per iteration.

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
    return jax.tree_util.keystr(key_path, simple=True, separator="/")


def decay_mask(params: dict, *, decay_embeddings: bool) -> dict:
    """True where weight decay applies, for each parameter (`decays`)."""
    return jax.tree_util.tree_map_with_path(
        lambda key_path, _: decays(path_of(key_path), embeddings=decay_embeddings),
        params,
    )


def decays(path: str, *, embeddings: bool) -> bool:
    """Whether weight decay applies to a parameter.

    Norm scales and every parameter named `bias` are never decayed. `released` also
    decays the packed attention bias, the embeddings, `balance` and the logit scale
    (`embeddings` True), as the released code does without meaning to; `paper`
    decays kernels and projections only.
    """
    if path.rsplit("/", 1)[-1] in ("scale", "bias", "dpe_bias"):
        return False
    return embeddings or not _EMBEDDINGS.fullmatch(path)


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
        lambda key_path, _: any(matches(path_of(key_path), patterns)), params
    )


def matches(path: str, patterns: Sequence[str]) -> tuple[bool, ...]:
    """Which of some regular expressions are a parameter's.

    Args:
        path: the parameter's.
        patterns: the expressions.
    """
    return tuple(bool(re.fullmatch(pattern, path)) for pattern in patterns)


def adamw_directions(
    *,
    weight_decay: float,
    clip_norm: float,
    decay_embeddings: bool,
    frozen: Sequence[str] = (),
) -> optax.GradientTransformation:
    """AdamW without its learning rate: gradients to descent directions.

    Global-norm clipping, Adam (0.9, 0.999, 1e-8), decoupled decay; the training step
    multiplies by -`learning_rate`, which depends on the member. Frozen parts get
    zero updates and do not count in the norm.
    """

    def decay(params):
        return decay_mask(params, decay_embeddings=decay_embeddings)

    return optax.chain(
        without(frozen),
        clipped(clip_norm),
        adam(),
        optax.add_decayed_weights(weight_decay, mask=decay),
        without(frozen),
    )


def without(patterns: Sequence[str]) -> optax.GradientTransformation:
    """Zeros in place of what comes for parameters of some paths."""

    def freeze(updates, params):
        zero = frozen_mask(params, patterns)
        return jax.tree.map(lambda z, u: jnp.zeros_like(u) if z else u, zero, updates)

    return optax.stateless(freeze)


def clipped(norm: float) -> optax.GradientTransformation:
    """Gradients of at most a global norm; 0: of any."""

    def clip(updates, params):
        del params
        scale = norm / jnp.maximum(global_norm(updates), norm)
        return jax.tree.map(lambda u: u * scale, updates)

    return optax.stateless(clip) if norm else optax.identity()


def global_norm(tree: dict) -> Float[Array, ""]:
    """Euclidean norm over all arrays of a tree."""

    # One sum over what is put side by side. A sum for each array would be a thousand
    # small kernels in every step: most parameters are a norm's or a bias.
    def squares(leaf: Leaf) -> jax.Array:
        square = jnp.square(leaf)
        large = leaf.ndim > 1 and leaf.size > 2**15
        return (square.sum(-1) if large else square).reshape(-1)

    return jnp.sqrt(jnp.concatenate([squares(x) for x in jax.tree.leaves(tree)]).sum())


def adam(*, b1: float = 0.9, b2: float = 0.999) -> optax.GradientTransformation:
    """Adam's directions. Optax raises a float to an int32 power: not so strictly."""
    adam = optax.scale_by_adam(b1=b1, b2=b2)

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return adam.update(updates, state, params)

    return optax.GradientTransformation(adam.init, update)


def _at_least_one(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"{name}={count}: expected 1 or more")
