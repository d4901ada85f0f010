"""What a run will need, before anything is spent: memory, arithmetic, hours."""

import time
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from merclip_jax import build, processes
from merclip_jax.data.batches import stack_batches
from merclip_jax.data.folds import Member
from merclip_jax.experiment import columns_of, describe, members_of, plan_of
from merclip_jax.training.memory import GB, Stacks, device_memory
from merclip_jax.training.parameters import parameter_table
from merclip_jax.training.rates import data_sheet, matmul_rate
from merclip_jax.training.stack import Stack

TRIAL = 20  # steps that are timed, and those of a dispatch before them
ENOUGH = 30  # seconds of them: at full size a CPU takes minutes for a step


def dry_run(config: ConfigDict) -> str:
    """Compiles a run's programs, trains a few steps, and says what all of it takes.

    Args:
        config: of the run.

    Returns:
        Lines to print; nothing is written.

    Raises:
        UserError: for what the user can mend; not even one member fits, say.
    """
    job = build.job(config, build.clips(config))
    members, columns = members_of(job), columns_of(job)
    parameters = parameter_table(job.system, job.optimiser, columns)
    plan = plan_of(job, columns)
    started = time.perf_counter()
    stacks = Stacks(plan, members)
    stack = stacks.of(min(processes.gathered(stacks.size())))
    memory = stack.programs.memory()
    compiled = time.perf_counter() - started
    groups = -(-len(members) // stack.size)
    dispatch, predict, tried = trial(stack, members)
    flops = stack.flops
    total = flops * sum(map(plan.steps, members))
    seconds = groups * (stack.calls * dispatch + _predictions(stack, members) * predict)
    clips = stack.size * stack.steps * plan.options.batch_size / dispatch
    used = stack.mesh.size
    rate = clips / plan.options.batch_size * flops / used / 1e12
    kind = jax.devices()[0].device_kind
    sheet = data_sheet(kind)
    idle = jax.device_count() - used
    mesh = f"{stack.mesh.shape['member']} for members x {stack.mesh.shape['data']}"
    lines = [
        describe(job, plan, members, parameters),
        f"devices: {used} x {kind}, {mesh} for a batch"
        + (f"; {idle} stay idle" if idle else ""),
        f"members: {stack.size} at a time, {groups} groups of {stack.calls} dispatches "
        f"of {stack.steps} steps",
        f"memory: {memory.total / GB:.2f} GB a device (states, clips and constants "
        f"{memory.arguments / GB:.2f}, activations and gradients "
        f"{memory.temporaries / GB:.2f}) of {device_memory() / GB:.1f} GB that may be "
        "filled",
        f"arithmetic: {flops / 1e9:.1f} GFLOP a step and member, {arithmetic(total)} "
        "in all",
        f"compiled in {compiled:.0f} s",
        f"{tried} steps tried: {clips:.3g} clips/s, {rate:.3g} TFLOP/s a device, "
        f"{rate / matmul_rate():.0%} of a matmul measured here"
        + (f", {rate / sheet:.0%} of the data sheet" if sheet else ""),
        f"expected: {duration(seconds)} for the whole run",
    ]
    return "\n".join(lines)


def trial(stack: Stack, members: Sequence[Member]) -> tuple[float, float, int]:
    """Seconds of a training dispatch and of predicting a batch, and the steps tried.

    Those are `TRIAL`, or as many dispatches as end within `ENOUGH` seconds.

    Args:
        stack: compiled or not.
        members: of the run.
    """
    plan = stack.plan
    stacked = [members[min(i, len(members) - 1)] for i in range(stack.size)]
    member, context = stack.members(stacked), stack.context(stacked)
    state = stack.init(member.key)
    calls = 1 + -(-TRIAL // stack.steps)
    batches = stack_batches(
        [plan.batches(m) for m in stacked],
        start=0,
        stop=calls * stack.steps,
        scan_steps=stack.steps,
    )
    started, tried = 0.0, 0
    sent = plan.store.ahead(batches, stack.programs.scanned)
    for call, (index, frames) in enumerate(sent):
        state, scalars = stack.train(
            context, state, member, stack.batches(index, frames)
        )
        jax.block_until_ready(scalars)
        if call == 0:  # it also compiles and warms up
            started = time.perf_counter()
        else:
            tried, took = call, time.perf_counter() - started
            # Several processes must agree, and are no CPU that is short of time.
            if took > ENOUGH and jax.process_count() == 1:
                break
    sent.close()
    dispatch = took / tried
    index = np.zeros((stack.size, plan.options.batch_size), int)
    jax.block_until_ready(stack.predict(context, state, stack.tests(index)))
    started = time.perf_counter()
    jax.block_until_ready(stack.predict(context, state, stack.tests(index)))
    return dispatch, time.perf_counter() - started, tried * stack.steps


def _predictions(stack: Stack, members: Sequence[Member]) -> int:
    """Batches that one group predicts, chosen epochs included."""
    plan = stack.plan
    longest = max(len(m.fold.test) for m in members)
    batches = -(-longest // plan.options.batch_size)
    often = 1 if plan.selection == "last" else 1 + stack.calls // stack.evaluate_every
    return batches * often


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def arithmetic(flops: float) -> str:
    """FLOPs with the prefix that fits."""
    for prefix, unit in (("E", 1e18), ("P", 1e15), ("T", 1e12)):
        if flops >= unit:
            return f"{flops / unit:.3g} {prefix}FLOP"
    return f"{flops / 1e9:.3g} GFLOP"
