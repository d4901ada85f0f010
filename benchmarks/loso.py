"""What a leave-one-subject-out costs as it grows: linear in folds, steps and clips.

  python -m benchmarks.loso --out=loso.png

Trainings of a tiny model on random clips, each in whole groups of one compiled program:
twice the folds, twice the steps, twice the clips of a batch. Prints seconds against
size, the line through them, and how far the points lie from it; draws them with --out.
"""

import time

import jax
import matplotlib
import numpy as np
from absl import app, flags

from benchmarks import shapes
from merclip_jax import command
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.training import sharding
from merclip_jax.training.options import TrainOptions

OUT = flags.DEFINE_string("out", "", "Picture to write.")
STACK, BATCH, STEPS = 4, 8, 8
FACTORS = (1, 2, 3, 4, 6, 8)


def seconds(*, folds: int, calls: int, batch: int) -> float:
    """Time of a whole training, compiled before."""
    options = TrainOptions(batch_size=batch, scan_steps=STEPS, epochs=10_000)
    programs = shapes.mer_clip(
        MerClipOptions(size="tiny"),
        options,
        members=STACK,
        mesh=sharding.make_mesh(STACK, batch),
        clips=16,
        frames=4,
        image_size=32,
    )
    given = shapes.arguments(programs, batch=batch, clips=16, frames=4)
    held, context, state, member, batches = given
    state, _ = programs.train(held, context, state, member, batches)
    jax.block_until_ready(state)
    started = time.perf_counter()
    for _ in range(-(-folds // STACK)):
        state = programs.init(member.key, {})
        for _ in range(calls):
            state, scalars = programs.train(held, context, state, member, batches)
        jax.block_until_ready((state, scalars))
    return time.perf_counter() - started


def main(_: list[str]) -> None:
    """Print each growth, and draw all."""
    growths = {
        "folds": [(STACK * f, {"folds": STACK * f, "calls": 4}) for f in FACTORS],
        "steps": [(STEPS * 4 * f, {"folds": STACK, "calls": 4 * f}) for f in FACTORS],
        "clips of a batch": [
            (BATCH * f, {"folds": STACK, "calls": 4, "batch": BATCH * f})
            for f in FACTORS
        ],
    }
    found = {}
    for name, points in growths.items():
        sizes = np.asarray([size for size, _ in points], float)
        taken = np.asarray([seconds(**({"batch": BATCH} | how)) for _, how in points])
        slope, start = np.polyfit(sizes, taken, 1)
        off = np.abs(taken - (start + slope * sizes)) / taken
        found[name] = sizes, taken, start + slope * sizes
        shown = [f"{n:.0f}: {s:.2f} s" for n, s in zip(sizes, taken, strict=True)]
        print(f"{name}: {', '.join(shown)}")
        print(f"  {start:.2f} s + {slope * 1e3:.2f} ms each; off by {off.max():.0%}")
    if OUT.value:
        draw(found)


def draw(found: dict) -> None:
    """Points and lines of each growth."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(12, 3.5), layout="constrained")
    for axis, (name, (sizes, taken, line)) in zip(axes, found.items(), strict=True):
        axis.plot(sizes, taken, "o", label="measured")
        axis.plot(sizes, line, label="line")
        axis.set(xlabel=name, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        axis.legend()
    figure.savefig(OUT.value, dpi=110)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
