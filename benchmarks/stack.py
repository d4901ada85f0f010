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

from merclip_jax import build, command
from merclip_jax.augment.clips import Augmentation
from merclip_jax.data.view import View
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Context
from merclip_jax.training.optim import AdamWOptions, adamw
from merclip_jax.training.step import StepMember, init_state, train_step

CONFIG = config_flags.DEFINE_config_file("config", None, "Whose model and batch.")
STACKS = flags.DEFINE_list("stacks", ["1", "4", "10"], "Stack sizes to compare.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed dispatches of each size.")
PROMPTS = 64  # in the table, which costs nothing


def system_of(config) -> MerClip:
    """The config's system with three classes and a training that never ends."""
    return MerClip(
        classes=("a", "b", "c"),
        epochs=1000,
        view=build.options(View, config, "data"),
        model=build.options(MerClipOptions, config, "model"),
        loss_options=build.options(LossOptions, config, "loss"),
        augmentation=build.options(Augmentation, config, "augment"),
    )


def program(config, size: int):
    """A compiled dispatch of `scan_steps` steps: () -> seconds it took, and clips."""
    system, training = system_of(config), config.train
    optimiser = adamw(build.options(AdamWOptions, config, "optim"), epochs=1000)
    shape, embed = system.view.shape, SIZES[system.model.size].embed
    keys = jnp.stack([jax.random.key(i) for i in range(size)])
    one = {"frames": jnp.zeros((1, *shape), jnp.float32)}
    state = jax.jit(jax.vmap(lambda key: init_state(system, optimiser, key, one)))(keys)
    per_epoch = jnp.full((size,), 100, jnp.int32)
    member = StepMember(keys, per_epoch, per_epoch * 1000)
    features = jax.random.normal(jax.random.key(0), (1, PROMPTS, embed))
    mirror = jnp.arange(PROMPTS, dtype=jnp.int32)
    context = Context(
        run={"features": features, "mirror": mirror, "overlap": jnp.eye(PROMPTS)}
    )
    rng = np.random.default_rng(0)
    lead = (training.scan_steps, size, training.batch_size)
    batches = {
        "frames": jnp.asarray(rng.integers(0, 256, (*lead, *shape), dtype=np.uint8)),
        "label": jnp.asarray(rng.integers(0, 3, lead), jnp.int32),
        "au_combination": jnp.asarray(rng.integers(0, PROMPTS, lead), jnp.int32),
    }
    step = jax.vmap(lambda s, m, x: train_step(system, optimiser, context, s, m, x))
    run = jax.jit(
        lambda s, b: jax.lax.scan(lambda s, x: step(s, member, x), s, b)[0],
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
    app.run(main, flags_parser=command.parse)
