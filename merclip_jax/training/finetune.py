"""AdamW for a model that is partly CLIP: its blocks move slower, the rest of it not."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Annotated

import jax
import optax

from merclip_jax.declared import Range, check
from merclip_jax.training.optim import (
    Epochs,
    Optimiser,
    adam,
    clipped,
    decay_mask,
    decays,
    frozen_mask,
    learning_rate,
    matches,
    path_of,
    without,
)

B1, B2 = 0.9, 0.98  # CLIP's own


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """AdamW with two rates, warm-up and cosine.

    peak_lr: highest rate of what is new; clip_lr: of what CLIP brought; warmup_epochs:
    until they are reached; lr_floor: share of them at the start and at the end;
    clip_norm: largest global norm of the gradients, 0 for no limit. Norms, biases,
    embeddings and temperatures do not decay.
    """

    peak_lr: Annotated[float, Range(0, 1e9, above=True)] = 1e-4
    clip_lr: Annotated[float, Range(0, 1e9, above=True)] = 1e-5
    warmup_epochs: Annotated[int, Range(0, 10_000)] = 2
    lr_floor: Annotated[float, Range(0, 1)] = 0.0
    weight_decay: Annotated[float, Range(0, 1000)] = 0.01
    clip_norm: Annotated[float, Range(0, 1e9)] = 1.0

    def __post_init__(self):
        check(self)


def finetune(
    options: FinetuneOptions,
    *,
    epochs: int,
    slow: str = "encoder/.*",
    frozen: Sequence[str] = (),
) -> Optimiser:
    """AdamW at one rate for what is new and another for what CLIP brought.

    Args:
        options: its numbers.
        epochs: of a training.
        slow: regular expression of the paths that `clip_lr` is for.
        frozen: regular expressions of paths that stay, which also have no moments.
    """
    slower = options.clip_lr / options.peak_lr

    def trained(params):
        return jax.tree.map(lambda still: not still, frozen_mask(params, frozen))

    def decayed(params):
        kinds = decay_mask(params, decay_embeddings=False)
        return jax.tree.map(lambda a, b: a and b, kinds, trained(params))

    def paced(updates, params):
        def scale(key_path, update):
            return update * (slower if re.fullmatch(slow, path_of(key_path)) else 1.0)

        del params
        return jax.tree_util.tree_map_with_path(scale, updates)

    return Optimiser(
        tx=optax.chain(
            without(frozen),
            clipped(options.clip_norm),
            # What is frozen has no moments: two thirds of CLIP's tower, twice.
            optax.masked(adam(b1=B1, b2=B2), trained),
            optax.add_decayed_weights(options.weight_decay, mask=decayed),
            optax.stateless(paced),
        ),
        rate=functools.partial(
            learning_rate,
            peak=options.peak_lr,
            epochs=epochs,
            warmup_epochs=options.warmup_epochs,
            floor=options.lr_floor,
        ),
        length=Epochs(epochs),
        frozen=tuple(frozen),
        alike=lambda path: (
            decays(path, embeddings=False),
            matches(path, [slow, *frozen]),
        ),
    )
