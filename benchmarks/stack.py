"""What training members as one stack is worth: clips per second against one by one.

  python -m benchmarks.stack --config=configs/synthetic_3class.py

Random clips of the config's shape; every size is compiled, warmed up and then timed
over the same number of dispatches, in turns, and the median is taken.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from merclip_jax import build
from merclip_jax.training import optim, step

CONFIG = config_flags.DEFINE_config_file("config", None, "Whose model and batch.")
STACKS = flags.DEFINE_list("stacks", ["1", "4", "10"], "Stack sizes to compare.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed dispatches of each size.")
SETS = 64  # AU sets in the prompt table, which costs nothing


def program(config, stack: int):
    """A compiled dispatch of `scan_steps` steps: () -> seconds it took."""
    data, training = config.data, config.train
    shape = (data.frames, data.image_size, data.image_size, 3)
    model, tx = build.model_of(config, classes=3), optim.adamw()
    hyper = build.hyper_of(config)._replace(epochs=1000)
    keys = jnp.stack([jax.random.key(i) for i in range(stack)])
    state = jax.jit(step.stack_init(model, tx, shape))(keys)
    per_epoch = jnp.full((stack,), 100, jnp.int32)
    member = step.Member(keys, per_epoch, per_epoch * hyper.epochs)
    prompts = step.Prompts(
        jax.random.normal(jax.random.key(0), (1, SETS, model.embed)),
        jnp.arange(SETS, dtype=jnp.int32),
        jnp.eye(SETS),
    )
    rng = np.random.default_rng(0)
    lead = (training.scan_steps, stack, training.batch_size)
    batches = step.Batch(
        jnp.asarray(rng.integers(0, 256, (*lead, *shape), dtype=np.uint8)),
        jnp.asarray(rng.integers(0, 3, lead), jnp.int32),
        jnp.asarray(rng.integers(0, SETS, lead), jnp.int32),
    )
    step = step.stack_train(model, tx, hyper)
    run = jax.jit(
        lambda s, b: jax.lax.scan(lambda s, x: step(prompts, s, member, x), s, b)[0],
        donate_argnums=0,
    )
    held = [jax.block_until_ready(run(state, batches))]

    def dispatch() -> float:
        started = time.perf_counter()
        held[0] = jax.block_until_ready(run(held[0], batches))
        return time.perf_counter() - started

    return dispatch, int(np.prod(lead))


def main(_: list[str]) -> None:
    """Print clips per second of every stack size and the ratio to the first."""
    sizes = [int(s) for s in STACKS.value]
    programs = [program(CONFIG.value, size) for size in sizes]
    times = [[dispatch() for dispatch, _ in programs] for _ in range(ROUNDS.value)]
    rates = [n / t for (_, n), t in zip(programs, np.median(times, 0), strict=True)]
    for size, rate in zip(sizes, rates, strict=True):
        print(f"stack {size:>3}  {rate:8.1f} clips/s  x {rate / rates[0]:.2f}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
