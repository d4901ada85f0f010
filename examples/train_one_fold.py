"""One model by hand, in plain steps: train on all subjects but one, ask about that one.

    python examples/train_one_fold.py

The pieces that `merclip_jax.main` puts together, without folds, stacks or files: where
to look when you want to see what a step does, or to call it from a notebook.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from configs import synthetic_3class
from data_builders.build import build as build_dataset
from merclip_jax import build, experiment
from merclip_jax.data.batches import stack_batches
from merclip_jax.results.collect import first_batch
from merclip_jax.results.figures import contact_sheet
from merclip_jax.scoring import metrics
from merclip_jax.training.selection import predict
from merclip_jax.training.stack import Stack


def main(argv=None):
    """Train the first member of a leave-one-subject-out, and score its subject."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="of the first augmented batch")
    given = parser.parse_args(argv)

    # A config is a dict of values; every one can be changed before it becomes a job.
    config = synthetic_3class.get_config()
    config.data.dataset, config.data.data_dir = "synthetic/mini", str(given.data_dir)
    config.train.epochs, config.train.batch_size = given.epochs, 8
    build_dataset(config.data.dataset, data_dir=given.data_dir)

    # Clips, and the system with its optimiser; the plan adds what never changes: clips
    # on the device, encoded sentences.
    clips = build.clips(config)
    job = build.job(config, clips)
    plan = experiment.plan_of(job)
    member = experiment.members_of(job)[0]
    print(f"{len(clips)} clips; left out: {member.fold.name}")
    if given.picture:
        given.picture.write_bytes(contact_sheet(first_batch(plan, member).seen))

    # A stack of one model: its programs are those of a run.
    stack = Stack(plan, [member], 1)
    read = stack.members([member])
    state, context = stack.init(read.key), stack.context([member])
    steps = stack.steps * (plan.steps(member) // stack.steps)
    batches = stack_batches(
        [plan.batches(member)], start=0, stop=steps, scan_steps=stack.steps
    )
    for index, sent in plan.store.ahead(batches, stack.programs.scanned):
        state, scalars = stack.train(context, state, read, stack.batches(index, sent))
        loss = np.asarray(scalars["loss"]).mean()
        print(f"step {int(jax.device_get(state.step)[0])}: loss {loss:.3f}")

    # The subject that was left out: its labels are read here for the first time.
    (outputs,) = predict(stack, context, state, [member.fold.test])
    answer = job.system.task.answer(outputs)
    matrix = metrics.confusion_matrix(
        clips.label[member.fold.test], answer, classes=len(clips.classes)
    )
    print(f"UF1 {metrics.scores(matrix).uf1:.3f}, true by predicted:\n{matrix}")


if __name__ == "__main__":
    main()
