"""What augmenting a batch costs, part by part, here or on devices that are not there.

  python -m benchmarks.augmentation
  PYTHONPATH=.venv/aot python -m benchmarks.augmentation --target=v5e:2x2

On the CPU: median seconds of a batch. On other targets, which a CPU compiles for
(`make aot`): bytes and roofline as XLA counts them, and what is expected of one batch,
each branch weighted by how often it is drawn: bytes off chip, and for TPUs the cycles
that their compiler estimates.
"""

import re
import time

import numpy as np
from absl import app, flags

from benchmarks import absent  # before jax
from benchmarks.hlo import Instruction, Program, array_bytes
from merclip_jax import command

TARGET = flags.DEFINE_string("target", "cpu", "cpu, v5e:2x2, v6e:2x2, h100:1x1x1, ...")
CLIPS = flags.DEFINE_integer("clips", 16, "Clips of a member's batch.")
FRAMES = flags.DEFINE_integer("frames", 16, "Frames of a clip.")
SIZE = flags.DEFINE_integer("size", 224, "Rows and columns of a frame.")
MEMBERS = flags.DEFINE_integer("members", 1, "Members of the stack.")
SHARE = flags.DEFINE_float("share", 0.5, "How often each part acts on a clip.")
ROUNDS = flags.DEFINE_integer("rounds", 9, "Timed batches of each part on the CPU.")
PARTS = {
    "normalise": (),
    "AugMix": ("augmix",),
    "flip": ("flip",),
    "colour jitter": ("colour_jitter",),
    "LocalStaticFaceMix": ("static_mix",),
    "all": ("augmix", "flip", "colour_jitter", "static_mix"),
}
DEPTH = 2  # operations of a chain, in the mean: a loop of a drawn length


def augmenter(parts: tuple[str, ...]):
    """(keys, clips) -> (normalised clips, mirrored), of all members."""
    import jax
    import jax.numpy as jnp

    from merclip_jax.augment.clips import Augmentation, augment
    from merclip_jax.systems.mer_clip import JITTER_ORDER

    every = ("augmix", "flip", "colour_jitter", "static_mix")
    shares = {name: SHARE.value if name in parts else 0.0 for name in every}
    options = Augmentation(**shares)
    return jax.vmap(
        lambda key, clips: augment(key, clips, options, jnp.asarray(JITTER_ORDER)),
        spmd_axis_name="member",
    )


def seconds(parts: tuple[str, ...]) -> float:
    """Median of batches with draws of their own."""
    import jax

    shape = (MEMBERS.value, CLIPS.value, FRAMES.value, SIZE.value, SIZE.value, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    run, clips = jax.jit(augmenter(parts)), jax.device_put(clips)
    took = []
    for i in range(ROUNDS.value + 1):
        keys = jax.random.split(jax.random.key(i), MEMBERS.value)
        started = time.perf_counter()
        jax.block_until_ready(run(keys, clips))
        took.append(time.perf_counter() - started)
    return float(np.median(took[1:]))  # the first one compiles


def compiled(target: absent.Target, parts: tuple[str, ...]):
    """The program for the first device of a target."""
    import jax
    import jax.numpy as jnp

    from merclip_jax.training import sharding

    mesh = sharding.make_mesh(MEMBERS.value, CLIPS.value, devices=target.devices[:1])
    shape = (MEMBERS.value, CLIPS.value, FRAMES.value, SIZE.value, SIZE.value, 3)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), MEMBERS.value))
    members = sharding.by_member(mesh)
    batch = sharding.by_batch(mesh, scanned=False)
    with jax.set_mesh(mesh):
        return (
            jax.jit(
                augmenter(parts),
                in_shardings=(members, batch),
                out_shardings=(batch, members),
            )
            .lower(keys, jax.ShapeDtypeStruct(shape, jnp.uint8))
            .compile()
        )


class Expected:
    """Bytes off chip and cycles of one call, in the mean over what is drawn."""

    def __init__(self, program: Program):
        self.program = program
        self.found: dict[str, np.ndarray] = {}

    def of(self, name: str) -> np.ndarray:
        """(bytes, cycles) of a computation and of all that it calls."""
        if name not in self.found:
            body = self.program.computations[name]
            made = {i.name: array_bytes(i.made) for i in body}
            self.found[name] = sum((self._one(i, made) for i in body), np.zeros(2))
        return self.found[name]

    def _one(self, i: Instruction, made: dict[str, int]) -> np.ndarray:
        if i.kind == "while":
            body = re.search(r"body=%?([\w.\-]+)", i.rest)[1]
            return self._trips(i, made) * self.of(body)
        if i.kind == "conditional":
            listed = re.search(r"branch_computations=\{([^}]*)\}", i.rest)
            either = r"(?:true|false)_computation=%?([\w.\-]+)"
            names = re.findall(r"[\w.\-]+", listed[1]) if listed else []
            costs = [self.of(n) for n in names or re.findall(either, i.rest)]
            return np.mean(costs, axis=0)  # operations are drawn alike
        if i.kind in ("call", "async-start"):
            called = re.search(r"(?:to_apply|calls)=%?([\w.\-]+)", i.rest)
            return self.of(called[1]) if called else np.zeros(2)
        cycles = re.search(r'"estimated_cycles":"(\d+)"', i.rest)
        free = "parameter constant get-tuple-element tuple bitcast iota after-all"
        moved = 0
        if i.kind not in free.split() and not i.kind.endswith("-done"):
            used = re.findall(r"%([\w.\-]+)", i.rest.split("), ")[0])
            moved = made[i.name] + sum(made.get(x, 0) for x in used)
        return np.array([moved, int(cycles[1]) if cycles else 0], float)

    def _trips(self, i: Instruction, around: dict[str, int]) -> float:
        if told := re.search(r'"known_trip_count":\{"n":"(\d+)"', i.rest):
            return int(told[1])
        condition = re.search(r"condition=%?([\w.\-]+)", i.rest)[1]
        lines = list(self.program.computations[condition])
        for line in lines[:]:
            if called := re.search(r"calls=%?([\w.\-]+)", line.rest):
                lines += self.program.computations[called[1]]
        counts = [
            int(n[1])
            for line in lines
            if line.kind == "constant" and (n := re.match(r"(\d+)\)", line.rest))
        ]
        # Of a length that is drawn: the chosen clips, and the operations of a chain.
        entry = {x.name for x in self.program.computations[self.program.entry]}
        chosen = SHARE.value * CLIPS.value * MEMBERS.value
        return max(counts, default=chosen if entry == set(around) else DEPTH)


def main(_: list[str]) -> None:
    """Print a line for each part."""
    shape = f"{MEMBERS.value} x {CLIPS.value} x {FRAMES.value} x {SIZE.value}^2 x 3"
    print(f"{TARGET.value}: {shape}, each part on {SHARE.value:.0%} of the clips")
    if TARGET.value == "cpu":
        for name, parts in PARTS.items():
            print(f"{name:20s} {1e3 * seconds(parts):9.1f} ms", flush=True)
        return
    target = absent.target(TARGET.value)
    for name, parts in PARTS.items():
        started = time.perf_counter()
        program = compiled(target, parts)
        took = time.perf_counter() - started
        cost, memory = program.cost_analysis() or {}, program.memory_analysis()
        read = Program(program.as_text())
        moved, cycles = Expected(read).of(read.entry)
        by_memory = 1e3 * moved / (target.chip.gb_per_s * 1e9)
        told = [
            f"XLA {cost.get('bytes accessed', 0) / 1e9:.2f} GB",
            f"roofline {1e3 * cost.get('optimal_seconds', 0):.2f} ms; expected",
            f"{moved / 1e9:.2f} GB off chip ({by_memory:.2f} ms)",
            f"{cycles / 1e6:.2f} M cycles; temporaries",
            f"{memory.temp_size_in_bytes / 1e6:.0f} MB",
            f"code {memory.generated_code_size_in_bytes / 1e6:.1f} MB",
            f"compiled in {took:.0f} s",
        ]
        print(f"{name:20s}", ", ".join(told), flush=True)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
