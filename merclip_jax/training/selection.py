"""Predicting clips with a stack, and the score by which an epoch may be chosen."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from merclip_jax.data.batches import padded
from merclip_jax.data.folds import Member
from merclip_jax.systems.system import Context
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
    whole = {name: np.concatenate([p[name] for p in parts], 1) for name in parts[0]}
    return [
        {name: values[m, : len(index)] for name, values in whole.items()}
        for m, index in enumerate(indices)
    ]


def evaluate(
    stack: Stack, context: Context, state: TrainState, stacked: Sequence[Member]
) -> tuple[np.ndarray, list[Mapping[str, np.ndarray]]]:
    """Score an epoch on the clips that select.

    Args:
        stack: of m members.
        context: of the run and of their folds.
        state: of the members.
        stacked: the members.

    Returns:
        Scores [m] by the task's own measure, and each member's test outputs.
    """
    plan = stack.plan
    task = plan.system.task
    tests = [m.fold.test for m in stacked]
    answers = predict(stack, context, state, tests)
    # "oracle" chooses on the test clips, "inner" on subjects held out of training.
    chosen, outputs = tests, answers
    if plan.selection == "inner":
        chosen = [m.fold.inner for m in stacked]
        outputs = predict(stack, context, state, chosen)
    scores = [
        task.select(task.answer(said), plan.columns[task.target][index])
        for said, index in zip(outputs, chosen, strict=True)
    ]
    return np.asarray(scores), answers
