"""One member's training as pure functions; a stack is their `vmap`.

A member is one fold with one seed. Every function here sees a single member; leaves of
a stack carry a leading axis m that `stack_*` maps over.
"""

import functools
from typing import NamedTuple

import flax
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from merclip_jax import losses, optim
from merclip_jax.data.augment import Augmentation, augment, normalise
from merclip_jax.models.mer_clip import MerClipOutput
from merclip_jax.shapes import Array, Bool, Float, Int, Leaf, Num


class TrainState(flax.struct.PyTreeNode):
    """What a step changes: step count (), parameters, BN statistics, Adam moments."""

    step: Leaf
    params: dict
    batch_stats: Leaf
    opt_state: Leaf


class Member(flax.struct.PyTreeNode):
    """What a step reads of its member: random key and the lengths of its training.

    `steps_per_epoch` is ceil(training clips / batch), `steps` that times the epochs.
    A stack runs as long as its longest member; the others then stand still.
    """

    key: Leaf
    steps_per_epoch: Leaf
    steps: Leaf


class Batch(flax.struct.PyTreeNode):
    """Clips [b, t, h, w, 3] (0..255), labels [b], AU-set indices [b] (-1: no AU)."""

    clips: Leaf
    labels: Leaf
    au_sets: Leaf


class Prompts(flax.struct.PyTreeNode):
    """Encoded sentences of all AU sets, and how the sets relate.

    features: [p, s, e] of p templates x s sets; mirror: [s] each set with left and
    right swapped; overlap: [s, s] Jaccard similarity of what two sets say.
    """

    features: Leaf
    mirror: Leaf
    overlap: Leaf


class Hyper(NamedTuple):
    """The numbers of a recipe that the step needs (MER_CLIP sections 2, 6, 7)."""

    epochs: int = 55
    peak_lr: float = 5e-5
    warmup_epochs: int = 5
    lr_floor: float = 0.1
    contrastive_start: float = 2.0
    contrastive_floor: float = 1.0
    total_weight: float = 2.0
    progression: str = "linear"
    contrastive: str = "hard"
    contrastive_factor: float = 1.0
    focal_gamma: float = 2.0
    augmentation: Augmentation = Augmentation()
    jitter_order: tuple[int, int, int, int] = (0, 1, 2, 3)


SCALARS = (
    "loss",
    "loss/contrastive",
    "loss/classification",
    "weight/contrastive",
    "weight/classification",
    "accuracy",
    "lr",
)


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    key: jax.Array,
    clip_shape: tuple[int, int, int, int],
) -> TrainState:
    """A member's state at step 0, from its key; `clip_shape` is (t, h, w, 3)."""
    clip = jnp.zeros((1, *clip_shape), jnp.float32)
    variables = model.init(jax.random.fold_in(key, 0), clip, train=False)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=tx.init(params),
    )


def loss_fn(
    params: dict,
    model: nn.Module,
    hyper: Hyper,
    prompts: Prompts,
    batch_stats: dict,
    batch: Batch,
    key: jax.Array,
    epoch: jax.Array,
) -> tuple[jax.Array, tuple[dict, dict]]:
    """Weighted loss of one batch (eqs 8-15), new BN statistics, scalars."""
    augment_key, template_key, dropout_key = jax.random.split(key, 3)
    clips, mirrored = augment(
        augment_key, batch.clips, hyper.augmentation, jnp.asarray(hyper.jitter_order)
    )
    out, new_vars = model.apply(
        {"params": params, "batch_stats": batch_stats},
        clips,
        train=True,
        rngs={"dropout": dropout_key},
        mutable=["batch_stats"],
    )
    au_sets = jnp.maximum(batch.au_sets, 0)
    au_sets = jnp.where(mirrored, prompts.mirror[au_sets], au_sets)
    templates = len(prompts.features)
    template = jax.random.randint(template_key, au_sets.shape, 0, templates)
    loss, scalars = objective(
        hyper,
        out,
        text=prompts.features[template, au_sets],
        overlap=prompts.overlap[au_sets][:, au_sets],
        described=batch.au_sets >= 0,
        labels=batch.labels,
        epoch=epoch,
    )
    return loss, (new_vars.get("batch_stats", {}), scalars)


def objective(
    hyper: Hyper,
    out: MerClipOutput,
    *,
    text: Float[Array, "b e"],
    overlap: Float[Array, "b b"],
    described: Bool[Array, "b"],
    labels: Int[Array, "b"],
    epoch: Int[Array, ""],
) -> tuple[jax.Array, dict]:
    """The weighted loss of a model's answers (eqs 9-15), and its parts by name.

    Clips that are not `described` have no text and no part in the contrastive term.
    Raises ValueError for an unknown `hyper.contrastive`.
    """
    logits = out.scale * losses.similarity(out.video, text)
    if hyper.contrastive in ("hard", "soft_au"):
        targets = overlap if hyper.contrastive == "soft_au" else None
        contrastive = (
            sum(losses.contrastive(logits, valid=described, targets=targets)) / 2
        )
    elif hyper.contrastive == "sigmoid":
        logits = logits + out.bias
        contrastive = losses.sigmoid_contrastive(
            logits, valid=described, same=overlap == 1
        )
    else:
        raise ValueError(
            f"contrastive is 'hard', 'soft_au' or 'sigmoid', not {hyper.contrastive!r}"
        )
    classification = losses.focal(out.logits, labels, gamma=hyper.focal_gamma)
    clip_weight, emotion_weight = losses.progressive_weights(
        epoch,
        epochs=hyper.epochs,
        start=hyper.contrastive_start,
        floor=hyper.contrastive_floor,
        total=hyper.total_weight,
        decay=hyper.progression,
    )
    aligned = clip_weight * hyper.contrastive_factor * contrastive
    loss = aligned + emotion_weight * classification
    return loss, {
        "loss": loss,
        "loss/contrastive": contrastive,
        "loss/classification": classification,
        "weight/contrastive": clip_weight,
        "weight/classification": emotion_weight,
        "accuracy": jnp.mean(out.logits.argmax(-1) == labels),
    }


def train_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    hyper: Hyper,
    prompts: Prompts,
    state: TrainState,
    member: Member,
    batch: Batch,
) -> tuple[TrainState, dict]:
    """One optimisation step of one member; returns the new state and `SCALARS`.

    Random draws are a function of the member's key and the step. A member that has
    done all its steps comes back unchanged.
    """
    key = jax.random.fold_in(member.key, state.step + 1)
    epoch = state.step // member.steps_per_epoch
    grads, (batch_stats, scalars) = jax.grad(loss_fn, has_aux=True)(
        state.params, model, hyper, prompts, state.batch_stats, batch, key, epoch
    )
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    lr = optim.learning_rate(
        state.step,
        member.steps_per_epoch,
        peak=hyper.peak_lr,
        epochs=hyper.epochs,
        warmup_epochs=hyper.warmup_epochs,
        floor=hyper.lr_floor,
    )
    params = jax.tree.map(lambda p, u: p - lr * u, state.params, updates)
    new = TrainState(state.step + 1, params, batch_stats, opt_state)
    running = state.step < member.steps
    new = jax.tree.map(lambda a, b: jnp.where(running, a, b), new, state)
    return new, scalars | {"lr": lr}


def predict_step(
    model: nn.Module, state: TrainState, clips: Num[Array, "b t h w c"]
) -> tuple[Float[Array, "b k"], Float[Array, "b e"]]:
    """Emotion logits and video embeddings of a batch: frames in, no text, no AUs."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    out = model.apply(variables, normalise(clips), train=False)
    return out.logits, out.video


def stack_init(model: nn.Module, tx, clip_shape: tuple[int, int, int, int]):
    """Keys [m] -> TrainState with leading axis m."""
    init = functools.partial(init_state, model, tx, clip_shape=clip_shape)
    return jax.vmap(lambda key: init(key))


def stack_train(model: nn.Module, tx, hyper: Hyper):
    """(prompts, state, member, batch), all but prompts with axis m, to the next."""
    step = functools.partial(train_step, model, tx, hyper)
    return jax.vmap(step, in_axes=(None, 0, 0, 0))


def stack_predict(model: nn.Module):
    """(state, clips [m, b, ...]) to logits [m, b, k] and embeddings [m, b, e]."""
    return jax.vmap(functools.partial(predict_step, model))
