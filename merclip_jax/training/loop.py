"""Groups of members from start or checkpoint to finished predictions: the loop."""

import sys
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding
from tqdm import tqdm

from merclip_jax.data.batches import stack_batches
from merclip_jax.data.folds import Member
from merclip_jax.errors import Stopped, UserError
from merclip_jax.systems.system import Context
from merclip_jax.training.checkpoint import GroupCheckpoint
from merclip_jax.training.cost import Meter
from merclip_jax.training.epoch_log import EpochLog
from merclip_jax.training.history import History
from merclip_jax.training.interrupts import Interrupts
from merclip_jax.training.machine import machine, name_of
from merclip_jax.training.members import MemberResult
from merclip_jax.training.profile import Profile
from merclip_jax.training.selection import (
    answered,
    calibrated,
    evaluate,
    predict,
)
from merclip_jax.training.stack import Plan, Stack
from merclip_jax.training.step import TrainState
from merclip_jax.training.waits import Waits
from merclip_jax.training.workdir import Workdir
from merclip_jax.typing import Leaf


def train_members(stack: Stack, members: Sequence[Member], workdir: Workdir) -> None:
    """Train all members; finished ones are kept.

    Args:
        stack: as many as train at a time.
        members: all of the run.
        workdir: where finished members lie, and unfinished groups.

    Raises:
        UserError: a file there is damaged, a loss is not finite, the disk is full.
        Stopped: a signal asked for it; what was trained is saved.
    """
    plan, size = stack.plan, stack.size
    for member in members:  # a damaged file is better known before hours of training
        if workdir.has_member(member):
            workdir.load_member(member, tested(plan, member))
    # Fixed slices: a run that was stopped goes on with the same stacks.
    groups = [members[i : i + size] for i in range(0, len(members), size)]
    steps = stack.calls * stack.steps
    profile = Profile(plan.options.profile, workdir)
    pause = 0.2 if sys.stderr.isatty() else 30.0  # seconds between updates of the bar
    with tqdm(
        total=len(groups) * steps,
        unit="step",
        desc="training",
        smoothing=0.1,
        mininterval=pause,
        disable=not workdir.writes,
    ) as bar:
        for i, group in enumerate(groups):
            name = f"round{i + 1}of{len(groups)}"
            if all(workdir.has_member(member) for member in group):
                bar.update(steps)
            else:
                _train_group(stack, name, group, workdir, bar, profile)
            # Its predictions are on disk by now.
            workdir.forget(name)
    workdir.forget()


def load_results(
    plan: Plan, members: Sequence[Member], workdir: Workdir
) -> list[MemberResult]:
    """The saved results of all members.

    Args:
        plan: of the run.
        members: all of it.
        workdir: where they lie.
    """
    return [workdir.load_member(m, tested(plan, m)) for m in members]


def tested(plan: Plan, member: Member) -> np.ndarray:
    """Names of the clips that a member is tested on."""
    return plan.store.clips.clip[member.fold.test]


def _train_group(
    stack: Stack,
    name: str,
    group: Sequence[Member],
    workdir: Workdir,
    bar: tqdm,
    profile: Profile,
) -> None:
    """Train one group; its members' files are the last thing that is written."""
    plan, steps = stack.plan, stack.steps
    # The last group is filled up with its last member: one program serves all.
    stacked = [group[min(i, len(group) - 1)] for i in range(stack.size)]
    member = stack.members(stacked)
    context = stack.context(stacked)
    state = stack.init(member.key)
    history = History(plan, stacked, answered(stack))
    checkpoint, machines = _open_checkpoint(name, stacked, workdir)
    restored = checkpoint.restore({"state": state, "history": history.arrays})
    call = 0
    if restored:
        call, tree = restored
        state, history.arrays = tree["state"], tree["history"]
        workdir.say(f"{name}: going on from step {call * steps}")
    facts = _facts(stacked, workdir) | {"machines": machines}
    bar.update(call * steps)

    batches = _batches(stack, stacked, start=call * steps)
    waits = Waits(plan.store.ahead(batches, stack.programs.scanned))
    log, meter = EpochLog(stack, name, history, workdir, waits), Meter()
    try:
        with Interrupts() as interrupts:
            for index, sent in waits:
                first = call * steps
                profile.start(first, first + steps - 1)
                state, scalars = stack.train(
                    context, state, member, stack.batches(index, sent)
                )
                profile.stop(first + steps - 1, scalars)
                history.add(first, scalars, index)
                call += 1
                bar.update(steps)
                last = call == stack.calls
                if plan.selection != "last" and (
                    last or call % stack.evaluate_every == 0
                ):
                    evaluate(stack, context, state, stacked, history)
                saving = last or call % plan.options.checkpoint_every == 0
                stop = interrupts.asked()
                if saving or stop:
                    history.settle()
                # Before the checkpoint: an epoch it counts as done is not logged again.
                log.write_new()
                if saving or stop:
                    tree = {"state": state, "history": history.arrays}
                    checkpoint.save(call, tree, facts)
                if stop:
                    step = call * steps
                    raise Stopped(
                        stop,
                        f"{name} stopped at step {step} of "
                        f"{stack.calls * steps} and is saved; the same "
                        "command goes on from there",
                    )
            _finish(stack, context, state, group, history, workdir, machines)
            if stop := interrupts.asked(now=True):
                raise Stopped(stop, f"{name} is finished; the same command goes on")
    finally:
        profile.close()
        log.close()
        checkpoint.close()
        workdir.add_cost(meter.read(log.learned()))


def _facts(stacked: Sequence[Member], workdir: Workdir) -> dict[str, object]:
    """Whose checkpoint it is."""
    return {"run": workdir.run, "members": [m.name for m in stacked]}


def _open_checkpoint(
    name: str, stacked: Sequence[Member], workdir: Workdir
) -> tuple[GroupCheckpoint, list[str]]:
    """A group's checkpoints, and the machines that trained it, this one last."""
    checkpoint, here = workdir.checkpoint(name), name_of(machine())
    found = checkpoint.facts()
    if found is None:
        return checkpoint, [here]
    machines = found.pop("machines")
    if found["run"] != workdir.run:
        raise UserError(
            f"{checkpoint.folder}: the checkpoint of another run; delete the folder to "
            "train this group from its beginning"
        )
    # Another machine may train more members at once: then groups are other ones.
    if found != _facts(stacked, workdir):
        checkpoint.close()
        workdir.forget(name)
        return workdir.checkpoint(name), [here]
    return checkpoint, [*machines, *([here] if machines[-1] != here else [])]


def _batches(stack: Stack, stacked: Sequence[Member], *, start: int):
    """What the group's steps from `start` on read, by random access."""
    return stack_batches(
        [stack.plan.batches(member) for member in stacked],
        start=start,
        stop=stack.calls * stack.steps,
        scan_steps=stack.steps,
    )


def _finish(
    stack: Stack,
    context: Context,
    state: TrainState,
    group: Sequence[Member],
    history: History,
    workdir: Workdir,
    machines: Sequence[str],
) -> None:
    """Predict the test clips and write each member of the group."""
    plan, everywhere = stack.plan, stack.programs.everywhere
    stacked = history.stacked
    said = predict(stack, context, state, [m.fold.test for m in stacked])
    outputs = calibrated(stack, context, state, stacked, said)
    for m, member in enumerate(group):
        last = {name: outputs[m][name] for name in plan.system.task.reads}
        result = MemberResult(
            clip=tested(plan, member),
            outputs=outputs[m],
            best=last if plan.selection == "last" else history.best(m),
            history=history.means(m),
            machines=tuple(machines),
        )
        # Weights before predictions: a member that has its file is complete.
        if plan.options.keep_weights:
            workdir.save_weights(
                member,
                plan.system,
                _of_member(state.variables, m, everywhere).unpack(),
                Context(context.run, _of_member(context.fold, m, everywhere)),
                lineage=plan.lineage,
                seen=plan.seen_by(member),
            )
        # Of a group that was stopped between two members: what is there is as good,
        # and never replaced.
        if workdir.has_member(member):
            workdir.load_member(member, result.clip)
        else:
            workdir.save_member(member, result)


def _of_member(stacked: Leaf, m: int, everywhere: NamedSharding) -> Leaf:
    """A member's arrays of a stack's, as NumPy's, wherever they lie."""
    whole = jax.jit(lambda x, m: x[m], out_shardings=everywhere)
    return jax.tree.map(lambda leaf: np.asarray(whole(leaf, m)), stacked)
