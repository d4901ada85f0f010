"""Predicting clips with a stack, and the score by which an epoch may be chosen."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from merclip_jax.data.batches import padded
from merclip_jax.data.folds import Member
from merclip_jax.systems.system import Context
from merclip_jax.training.history import History
from merclip_jax.training.stack import Stack
from merclip_jax.training.step import TrainState


def predict(
    stack: Stack, context: Context, state: TrainState, indices: Sequence[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Outputs of each member's clips.

    Args:
        stack: of m members.
        context: of the run and of their folds.
        state: of the members.
        indices: [n] clips of each member; n may differ.

    Returns a dict of [n, ...] for each member. Batches are padded by repetition and
    the padding cut off again: every clip is predicted once.
    """
    context = stack.answering(context, indices)
    size = stack.plan.options.batch_size
    # As many batches as the largest member needs, so that all share one program.
    length = -(-max(map(len, indices)) // size) * size
    filled = np.stack([padded(index, length) for index in indices])
    parts = [
        jax.device_get(
            stack.predict(context, state, stack.tests(filled[:, i : i + size]))
        )
        for i in range(0, length, size)
    ]
    # Files hold what NumPy knows: bfloat16 is not among it, and fits into float32.
    whole = {
        name: _plain(np.concatenate([part[name] for part in parts], 1))
        for name in parts[0]
    }
    return [
        {name: values[m, : len(index)] for name, values in whole.items()}
        for m, index in enumerate(indices)
    ]


def evaluate(
    stack: Stack,
    context: Context,
    state: TrainState,
    stacked: Sequence[Member],
    history: History,
) -> None:
    """Score an epoch on the clips that select, and keep its answers where it is best.

    Args:
        stack: of m members.
        context: of the run and of their folds.
        state: of the members.
        stacked: the members.
        history: of the stack; it keeps them.
    """
    plan = stack.plan
    task = plan.system.task
    tests = [m.fold.test for m in stacked]
    # "oracle" chooses on the test clips, "inner" on subjects held out of training.
    inner = plan.selection == "inner"
    chosen = [m.fold.inner for m in stacked] if inner else tests
    outputs = predict(stack, context, state, chosen)
    targets = [plan.columns[task.target][index] for index in chosen]
    # Thresholds and epoch by the same clips: the test has a part in neither.
    extras = [
        task.calibrate(*both) if inner else {}
        for both in zip(outputs, targets, strict=True)
    ]
    scores = np.asarray(
        [
            task.select(task.answer(said), target)
            for said, target in zip(spread(outputs, extras), targets, strict=True)
        ]
    )
    # Most epochs are no new best: then their test clips need no answer.
    if history.improved(scores).any():
        answers = predict(stack, context, state, tests) if inner else outputs
        history.keep_best(scores, spread(answers, extras))


def calibrated(
    stack: Stack,
    context: Context,
    state: TrainState,
    stacked: Sequence[Member],
    outputs: Sequence[Mapping[str, np.ndarray]],
) -> list[dict[str, np.ndarray]]:
    """Outputs of each member, with what its task chooses on the inner subjects' clips.

    Args:
        stack: of m members.
        context: of the run and of their folds.
        state: of the members.
        stacked: the members.
        outputs: of the model for their test clips.
    """
    plan = stack.plan
    task = plan.system.task
    if not set(task.reads) - set(outputs[0]):
        return list(map(dict, outputs))
    chosen = [m.fold.inner for m in stacked]
    said = predict(stack, context, state, chosen)
    extras = [
        task.calibrate(one, plan.columns[task.target][index])
        for one, index in zip(said, chosen, strict=True)
    ]
    return spread(outputs, extras)


def answered(stack: Stack) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes [m, b, ...] of the outputs that the task reads."""
    shapes, task = stack.programs.outputs(), stack.plan.system.task
    # What is chosen on clips has the shape that it has for any clip.
    one = {k: np.zeros((1, *v.shape[2:]), np.float32) for k, v in shapes.items()}
    extra = task.calibrate(one, stack.plan.columns[task.target][:1])
    batch = next(iter(shapes.values())).shape[:2]
    for name, value in extra.items():
        shapes[name] = jax.ShapeDtypeStruct((*batch, *value.shape), value.dtype)
    return {name: shapes[name] for name in task.reads}


def spread(
    outputs: Sequence[Mapping[str, np.ndarray]],
    extras: Sequence[Mapping[str, np.ndarray]],
) -> list[dict[str, np.ndarray]]:
    """Outputs [n, ...] of each member and values [...] of each, one row a clip.

    Args:
        outputs: of the members, one output or more.
        extras: of the same members, for all of their clips.
    """
    made = []
    for own, extra in zip(outputs, extras, strict=True):
        n = len(next(iter(own.values())))
        made.append(dict(own) | {k: np.repeat(v[None], n, 0) for k, v in extra.items()})
    return made


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype.kind == "V" else values
