"""What training members as one stack is worth: clips per second against one by one.

  python -m benchmarks.stack --config=configs/synthetic_3class.py

Random clips of the config's shape; every size is compiled, warmed up and then timed
over the same number of dispatches, in turns, and the median is taken.
"""

import time
from collections.abc import Callable

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import shapes
from merclip_jax import build, command
from merclip_jax.augment.clips import Augmentation
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.training import sharding
from merclip_jax.training.options import TrainOptions

CONFIG = config_flags.DEFINE_config_file("config", None, "Whose model and batch.")
STACKS = flags.DEFINE_list("stacks", ["1", "4", "10"], "Stack sizes to compare.")
TURNS = flags.DEFINE_integer("turns", 5, "Timed dispatches of each size.")
HELD = 64  # clips on the device


def program(config, size: int) -> tuple[Callable[[], float], int]:
    """A dispatch of `scan_steps` steps: () -> seconds it took; and its clips."""
    options = build.options(TrainOptions, config, "train")
    programs = shapes.mer_clip(
        build.options(MerClipOptions, config, "model"),
        options,
        members=size,
        mesh=sharding.make_mesh(size, options.batch_size),
        augmentation=build.options(Augmentation, config, "augment"),
        clips=HELD,
        frames=config.data.frames,
        image_size=config.data.image_size,
    )
    held, context, state, member, batches = shapes.arguments(
        programs, batch=options.batch_size, clips=HELD, frames=config.data.frames
    )
    kept = [state]

    def dispatch() -> float:
        started = time.perf_counter()
        kept[0], _ = programs.train(held, context, kept[0], member, batches)
        jax.block_until_ready(kept[0])
        return time.perf_counter() - started

    dispatch()  # compiles and warms up
    return dispatch, options.scan_steps * size * options.batch_size


def main(_: list[str]) -> None:
    """Print clips per second of every stack size and the ratio to the first."""
    sizes = [int(s) for s in STACKS.value]
    programs = [program(CONFIG.value, size) for size in sizes]
    times = [[dispatch() for dispatch, _ in programs] for _ in range(TURNS.value)]
    rates = [n / t for (_, n), t in zip(programs, np.median(times, 0), strict=True)]
    for size, rate in zip(sizes, rates, strict=True):
        print(f"stack {size:>3}  {rate:8.1f} clips/s  x {rate / rates[0]:.2f}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=command.parse)
