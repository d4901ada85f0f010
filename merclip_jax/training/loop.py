"""Groups of members from start or checkpoint to finished predictions: the loop."""

import sys
import time
from collections.abc import Sequence

import jax
import numpy as np
from tqdm import tqdm

from merclip_jax.data.batches import stack_batches
from merclip_jax.data.folds import Member
from merclip_jax.systems.system import Context
from merclip_jax.training.history import History
from merclip_jax.training.profile import Profile
from merclip_jax.training.selection import evaluate, predict
from merclip_jax.training.stack import Plan, Stack
from merclip_jax.training.step import SCALARS, TrainState
from merclip_jax.training.workdir import MemberResult, Workdir


def train_members(
    plan: Plan, members: Sequence[Member], size: int, workdir: Workdir
) -> None:
    """Train all members; finished ones are kept.

    Args:
        plan: what to train.
        members: all of the run.
        size: how many train at a time.
        workdir: where finished members lie, and unfinished groups.

    Raises:
        UserError: a file there is damaged, a loss is not finite, the disk is full.
    """
    for member in members:  # a damaged file is better known before hours of training
        if workdir.has_member(member.name):
            workdir.load_member(member.name, tested(plan, member))
    stack = Stack(plan, members, size)
    # Fixed slices: a run that was stopped goes on with the same stacks.
    groups = [members[i : i + size] for i in range(0, len(members), size)]
    steps = stack.calls * plan.options.scan_steps
    pause = 0.2 if sys.stderr.isatty() else 30.0  # seconds between updates of the bar
    with tqdm(
        total=len(groups) * steps,
        unit="step",
        desc="training",
        smoothing=0.1,
        mininterval=pause,
    ) as bar:
        for i, group in enumerate(groups):
            name = f"round{i + 1}of{len(groups)}"
            if all(workdir.has_member(m.name) for m in group):
                workdir.forget(name)
                bar.update(steps)
            else:
                _train_group(stack, name, group, workdir, bar)


def load_results(
    plan: Plan, members: Sequence[Member], workdir: Workdir
) -> list[MemberResult]:
    """The saved results of all members.

    Args:
        plan: of the run.
        members: all of it.
        workdir: where they lie.
    """
    return [workdir.load_member(m.name, tested(plan, m)) for m in members]


def tested(plan: Plan, member: Member) -> np.ndarray:
    """Names of the clips that a member is tested on."""
    return plan.store.clips.clip[member.fold.test]


def _train_group(
    stack: Stack, name: str, group: Sequence[Member], workdir: Workdir, bar: tqdm
) -> None:
    """Train one group; its members' files are the last thing that is written."""
    plan, options = stack.plan, stack.plan.options
    # The last group is filled up with its last member: one program serves all.
    stacked = [group[min(i, len(group) - 1)] for i in range(stack.size)]
    member = stack.members(stacked)
    context = stack.context(stacked)
    state = stack.init(member.key)
    history = History(plan, stacked, _answered(stack, context, state))
    checkpoint = workdir.checkpoint(name)
    restored = checkpoint.restore({"state": state, "history": history.arrays})
    call = 0
    if restored:
        call, tree = restored
        state, history.arrays = tree["state"], tree["history"]
        tqdm.write(f"{name}: going on from step {call * options.scan_steps}")
    bar.update(call * options.scan_steps)

    log = _Log(plan, name, history, workdir)
    profile = Profile(options.profile, workdir)
    batches = _batches(stack, stacked, start=call * options.scan_steps)
    try:
        for index, sent in plan.store.ahead(batches, stack.scanned):
            first = call * options.scan_steps
            profile.start(first, first + options.scan_steps - 1)
            state, scalars = stack.train(
                context, state, member, stack.batches(index, sent)
            )
            profile.stop(first + options.scan_steps - 1, scalars)
            history.add(first, scalars, index)
            call += 1
            bar.update(options.scan_steps)
            last = call == stack.calls
            if plan.selection != "last" and (last or call % stack.evaluate_every == 0):
                history.keep_best(*evaluate(stack, context, state, stacked))
            saving = last or call % options.checkpoint_every == 0
            if saving:
                history.settle()
            # Before the checkpoint: an epoch it counts as done is not logged again.
            log.write_new()
            if saving:
                checkpoint.save(call, {"state": state, "history": history.arrays})
        _finish(stack, context, state, group, stacked, history, workdir)
    finally:
        profile.close()
        log.close()
        checkpoint.close()
    # Its predictions are on disk by now.
    workdir.forget(name)


def _batches(stack: Stack, stacked: Sequence[Member], *, start: int):
    """What the group's steps from `start` on read, by random access."""
    plan, options = stack.plan, stack.plan.options
    return stack_batches(
        [plan.batches(member) for member in stacked],
        start=start,
        stop=stack.calls * options.scan_steps,
        scan_steps=options.scan_steps,
    )


def _answered(stack: Stack, context: Context, state: TrainState) -> dict:
    """Shapes [m, b, ...] of the outputs that the task reads."""
    index = np.zeros((stack.size, stack.plan.options.batch_size), int)
    shapes = jax.eval_shape(stack.predict, context, state, stack.tests(index))
    return {name: shapes[name] for name in stack.plan.system.task.reads}


def _finish(
    stack: Stack,
    context: Context,
    state: TrainState,
    group: Sequence[Member],
    stacked: Sequence[Member],
    history: History,
    workdir: Workdir,
) -> None:
    """Predict the test clips and write each member of the group."""
    plan = stack.plan
    outputs = predict(stack, context, state, [m.fold.test for m in stacked])
    for m, member in enumerate(group):
        last = {name: outputs[m][name] for name in plan.system.task.reads}
        result = MemberResult(
            clip=tested(plan, member),
            outputs=outputs[m],
            best=last if plan.selection == "last" else history.best(m),
            history=history.means(m),
        )
        # Weights before predictions: a member that has its file is complete.
        if plan.options.keep_weights:
            variables = jax.tree.map(lambda x, m=m: np.asarray(x[m]), state.variables)
            workdir.save_weights(
                member.name, plan.system, variables, lineage=plan.lineage
            )
        # Of a group that was stopped between two members: what is there is as good,
        # and never replaced.
        if workdir.has_member(member.name):
            workdir.load_member(member.name, result.clip)
        else:
            workdir.save_member(member.name, result)


class _Log:
    """Finished epochs to the terminal and to the workdir, each once."""

    def __init__(self, plan: Plan, name: str, history: History, workdir: Workdir):
        self.plan, self.name, self.history = plan, name, history
        self.epoch = history.epochs_done()
        self.writer = workdir.scalars(name, resume_at=self.epoch)
        self.started = self.when = time.monotonic()
        self.steps = int(history.arrays["steps"])

    def write_new(self) -> None:
        """Write the epochs that were finished since the last call."""
        done = self.history.epochs_done()
        if self.epoch == done:
            return
        speed = self._speed()
        while self.epoch < done:
            line = self.history.epoch(self.epoch)
            self.writer.write(self.epoch, line | speed)
            tqdm.write(self._line(line, speed))
            self.epoch += 1

    def close(self) -> None:
        """Close the files."""
        self.writer.close()

    def _speed(self) -> dict[str, float]:
        """Steps and clips a second of the whole stack since the last epoch.

        The first ones hold the time of compiling.
        """
        now, steps = time.monotonic(), int(self.history.arrays["steps"])
        rate = (steps - self.steps) / max(now - self.when, 1e-9)
        self.when, self.steps = now, steps
        clips = rate * len(self.history.stacked) * self.plan.options.batch_size
        return {"speed/steps_per_s": rate, "speed/clips_per_s": clips}

    def _line(self, line: dict[str, float], speed: dict[str, float]) -> str:
        shown = [
            f"{s.name} {line[s.name]:{s.format}}"
            for s in (*self.plan.system.scalars, *SCALARS)
            if s.format
        ]
        epochs = self.history.epochs.max()
        head = f"{self.name} epoch {self.epoch + 1:>3}/{epochs}"
        tail = f"{speed['speed/clips_per_s']:.0f} clips/s"
        tail += f"  {time.monotonic() - self.started:.0f} s"
        return "  ".join([head, *shown, tail])
