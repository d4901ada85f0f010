"""Whether a system can learn a few clips by heart: the first thing to ask of it.

  python -m benchmarks.fits --config=configs/fdp/synthetic_3class.py --clips=50

One member trains on so many clips, and is asked for the same ones every few steps. A
method that cannot answer what it was told has a fault that no score on new subjects
will show.
"""

import dataclasses
import time

import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from merclip_jax import build, command, experiment
from merclip_jax.data.batches import stack_batches
from merclip_jax.data.folds import Fold, Member
from merclip_jax.training.selection import predict
from merclip_jax.training.stack import Stack

CONFIG = config_flags.DEFINE_config_file("config", None, "Whose system and clips.")
CLIPS = flags.DEFINE_integer("clips", 50, "Learned by heart.")
STEPS = flags.DEFINE_integer("steps", 0, "Of training; 0: as the config says.")
EVERY = flags.DEFINE_integer("every", 5, "Dispatches between two questions.")


def main(_: list[str]) -> None:
    """Print the share of clips that are answered right, as training goes on."""
    config = CONFIG.value
    clips = build.clips(config)
    # From all subjects, so that neither classes nor faces are one.
    chosen = np.random.default_rng(0).permutation(len(clips))[: CLIPS.value]
    clips = dataclasses.replace(clips.take(np.sort(chosen)), metadata={})
    job = build.job(config, clips)
    plan = experiment.plan_of(job)
    index = np.arange(len(clips))
    member = Member(Fold("all", index, index, index[:0]), seed=0, position=0)
    stack = Stack(plan, [member], 1)
    steps = STEPS.value or plan.steps(member)
    calls = -(-steps // stack.steps)
    # The rate is the config's; only its end may come later or sooner.
    read = stack.members([member])
    read = read.replace(steps=jnp.full_like(read.steps, calls * stack.steps))
    state, context = stack.init(read.key), stack.context([member])
    batches = stack_batches(
        [plan.batches(member)],
        start=0,
        stop=calls * stack.steps,
        scan_steps=stack.steps,
    )
    task = job.system.task
    target = plan.columns[task.target]
    started = time.perf_counter()
    for call, (own, sent) in enumerate(
        plan.store.ahead(batches, stack.programs.scanned), 1
    ):
        state, scalars = stack.train(context, state, read, stack.batches(own, sent))
        if call % EVERY.value and call != calls:
            continue
        (said,) = predict(stack, context, state, [index])
        marks = task.marks(target), task.marks(task.answer(said))
        right = (marks[0] == marks[1]).all(1).mean()
        score = task.select(task.answer(said), target)
        loss = float(np.asarray(scalars["loss"])[-1, 0])
        print(
            f"step {call * stack.steps:5d}  loss {loss:8.4f}  right {right:7.1%}  "
            f"score {score:.3f}  {time.perf_counter() - started:6.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=command.parse)
