"""One 16x224x224 clip through MER-CLIP B/16: time, memory and FLOPs, beside torch.

  python -m benchmarks.full_size        # needs torch: pip install -e ".[test-convert]"

Forward in eval mode, and a whole training step (forward, backward, AdamW) at batch 1 in
float32, without augmentation and with the paper's. Each case runs in a process of its
own; the cases take turns over several rounds and the medians are compared.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np
from absl import app, flags

from merclip_jax import command

CASE = flags.DEFINE_string("case", "", "Internal: the one case to time and print.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Timed runs of a case in each round.")
ROUNDS = flags.DEFINE_integer("rounds", 2, "Rounds over the cases.")
CASES = ("jax forward", "torch forward", "jax step", "torch step", "jax step augmented")
SHAPE = (1, 16, 224, 224, 3)


def jax_case(case: str):
    """(run, FLOPs) of our model."""
    import jax
    import jax.numpy as jnp

    from merclip_jax.augment.clips import Augmentation
    from merclip_jax.systems.mer_clip import MerClip
    from merclip_jax.systems.system import Context
    from merclip_jax.training.compiler import compiled
    from merclip_jax.training.optim import AdamWOptions, adamw
    from merclip_jax.training.step import (
        StepMember,
        init_state,
        predict_step,
        train_step,
    )

    share = 1.0 if "augmented" in case else 0.0
    parts = ("augmix", "flip", "colour_jitter", "static_mix")
    system = MerClip(
        classes=tuple("abcdefg"),
        epochs=55,
        augmentation=Augmentation(**dict.fromkeys(parts, share)),
    )
    optimiser = adamw(AdamWOptions(), epochs=55)
    rng = np.random.default_rng(0)
    clips = jnp.asarray(rng.integers(0, 256, SHAPE, dtype=np.uint8))
    one = jnp.zeros(1, jnp.int32)
    batch = {"frames": clips, "label": one, "au_combination": one}
    state = jax.jit(lambda key: init_state(system, optimiser, key, batch))(
        jax.random.key(0)
    )
    features = jax.random.normal(jax.random.key(1), (7, 1, 512))
    prompts = {"features": features, "mirror": one, "overlap": jnp.ones((1, 1))}
    context = Context(run=prompts)
    if case == "jax forward":
        run = jax.jit(lambda s, b: predict_step(system, context, s, b))
        program = compiled(run.lower(state, batch), "cpu")
        return lambda: jax.block_until_ready(program(state, batch)), flops(program)
    member = StepMember(jax.random.key(0), jnp.int32(100), jnp.int32(5500))
    step = jax.jit(
        lambda s, b: train_step(system, optimiser, context, s, member, b)[0],
        donate_argnums=0,
    )
    program = compiled(step.lower(state, batch), "cpu")
    held = [state]

    def run():
        held[0] = jax.block_until_ready(program(held[0], batch))

    return run, flops(program)


def flops(program) -> float:
    """What XLA counts in a compiled program."""
    return float(program.cost_analysis()["flops"])


def torch_case(case: str):
    """(run, FLOPs) of the plain torch yardstick."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.torch_encoder import MerClip, training_step

    torch.manual_seed(0)
    model = MerClip()
    b, t, h, w, c = SHAPE
    clip = torch.randn(b, c, t, h, w)
    with FlopCounterMode(display=False) as counter:
        model.eval()(clip)
    count = float(counter.get_total_flops())
    if case == "torch forward":

        def run():
            with torch.no_grad():
                model(clip)

        return run, count
    return training_step(model.train(), clip), 3 * count


def time_case(case: str) -> dict:
    """Median seconds, peak memory in GB and GFLOPs of one case, in this process."""
    run, count = (jax_case if case.startswith("jax") else torch_case)(case)
    run()
    taken = []
    for _ in range(REPEATS.value):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": taken, "peak_gb": peak, "gflop": count / 1e9}


def main(_: list[str]) -> None:
    """Print the table, or one case's numbers."""
    if CASE.value:
        print(json.dumps(time_case(CASE.value)))
        return
    found = {case: [] for case in CASES}
    for _ in range(ROUNDS.value):
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.full_size", f"--case={case}"]
            command.append(f"--repeats={REPEATS.value}")
            printed = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            found[case].append(json.loads(printed.splitlines()[-1]))
    seconds = {
        case: float(np.median([s for run in runs for s in run["seconds"]]))
        for case, runs in found.items()
    }
    print(f"{'case':<20}{'seconds':>9}{'peak GB':>9}{'GFLOP':>9}   against torch")
    for case, runs in found.items():
        yardstick = seconds["torch forward" if "forward" in case else "torch step"]
        peak = max(run["peak_gb"] for run in runs)
        print(
            f"{case:<20}{seconds[case]:>9.2f}{peak:>9.2f}{runs[0]['gflop']:>9.0f}"
            f"   x {seconds[case] / yardstick:.2f}"
        )


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
