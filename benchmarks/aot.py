"""Compile a run's programs for devices that are not there: memory, bytes, collectives.

  make aot
  PYTHONPATH=.venv/aot python -m benchmarks.aot --target=v5e:2x2 --members=1,4

The programs are those of `merclip_jax.main`: training call, prediction and
initialisation of MER-CLIP on CAS(ME)^3. Full size takes minutes on two cores,
--size=tiny seconds. --hlo keeps the training call's text.
"""

import collections
import math
import time
from pathlib import Path

import jax
from absl import app, flags

from benchmarks import absent, shapes
from benchmarks.hlo import Collective, Program
from configs import casme3_7class
from configs.fdp import casme3_7class as fdp_casme3
from configs.micro_au_clip import casme3 as micro_au_casme3
from merclip_jax import build, command
from merclip_jax.augment.clips import Augmentation
from merclip_jax.losses.mer_clip import LossOptions
from merclip_jax.models.fdp import FdpOptions
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.systems.system import REMATS
from merclip_jax.training import sharding
from merclip_jax.training.compiler import compiled
from merclip_jax.training.flops import training_flops
from merclip_jax.training.memory import SHARE
from merclip_jax.training.optim import AdamWOptions
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.programs import Programs

TARGETS = flags.DEFINE_list("target", ["v5e:2x2"], "Devices: v5e:2x2, h100:1x1x8, ...")
MEMBERS = flags.DEFINE_list("members", ["1"], "Members a stack, one row each.")
DEVICES = flags.DEFINE_integer("devices", 1, "How many of them are used; 0: all.")
BATCH = flags.DEFINE_integer("batch", 16, "Clips of a member's batch.")
SYSTEM = flags.DEFINE_enum(
    "system", "mer_clip", ["mer_clip", "fdp", "micro_au_clip"], "Which one trains."
)
SIZE = flags.DEFINE_enum("size", "b16", list(SIZES), "Of the model.")
RECIPE = flags.DEFINE_enum(
    "recipe", "paper", ["paper", "released"], "Whose; the detector has one of its own."
)
DTYPE = flags.DEFINE_enum(
    "dtype", "", ["", "bfloat16", "float32"], "Computation; by default the recipe's."
)
REMAT = flags.DEFINE_list("remat", ["none"], f"Of {REMATS}, one row each.")
MICRO = flags.DEFINE_integer("microbatch", 0, "Clips in the model at a time.")
GROUP = flags.DEFINE_integer(
    "bn_group", 0, "Clips that share BatchNorm's statistics; 0: as the recipe says."
)
ATTENTION = flags.DEFINE_string("attention", "auto", "As config.model.attention.")
FSDP = flags.DEFINE_bool("fsdp", False, "Parameters in parts over the data axis.")
AUGMENT = flags.DEFINE_bool("augment", True, "The recipe's augmentation, or none.")
SCAN = flags.DEFINE_integer("scan_steps", 8, "Steps of a call.")
OTHERS = flags.DEFINE_bool("others", False, "Prediction and initialisation too.")
HLO = flags.DEFINE_string("hlo", "", "Folder for the training call's text.")

CONFIGS = {
    "mer_clip": casme3_7class,
    "fdp": fdp_casme3,
    "micro_au_clip": micro_au_casme3,
}


def programs_of(target: absent.Target, members: int, remat: str) -> Programs:
    """What a row of the table compiles."""
    devices = target.devices[: DEVICES.value or len(target.devices)]
    options = TrainOptions(
        batch_size=BATCH.value,
        scan_steps=SCAN.value,
        remat=remat,
        microbatch=MICRO.value,
        fsdp=FSDP.value,
    )
    mesh = sharding.make_mesh(members, BATCH.value, devices=devices)
    config = CONFIGS[SYSTEM.value].get_config(_recipe() and f"recipe={_recipe()}")
    # "auto" as it is where the device is, not as on this CPU.
    dtype = DTYPE.value or config.model.dtype
    dtype = "bfloat16" if dtype == "auto" else dtype
    attention = ATTENTION.value
    if attention == "auto" and target.chip.gpu and dtype == "bfloat16":
        attention = "cudnn"
    config.model.dtype = dtype
    if SYSTEM.value != "fdp":
        config.model.size = SIZE.value
        config.model.attention = attention
    if GROUP.value:
        config.model.bn_group_size = GROUP.value
    if SYSTEM.value == "fdp":
        fdp = build.options(FdpOptions, config, "model")
        return shapes.fdp(fdp, options, members=members, mesh=mesh)
    if SYSTEM.value == "micro_au_clip":
        detector = build.options(MicroAUOptions, config, "model")
        return shapes.micro_au_clip(detector, options, members=members, mesh=mesh)
    augmentation = build.options(Augmentation, config, "augment")
    return shapes.mer_clip(
        build.options(MerClipOptions, config, "model"),
        options,
        members=members,
        mesh=mesh,
        augmentation=augmentation if AUGMENT.value else shapes.NONE,
        loss=build.options(LossOptions, config, "loss"),
        optim=build.options(AdamWOptions, config, "optim"),
    )


def _recipe() -> str:
    return "" if SYSTEM.value == "micro_au_clip" else RECIPE.value


def describe(target: absent.Target, programs: Programs, name: str) -> list[str]:
    """Lines on one compiled training."""
    mesh = dict(programs.mesh.shape)
    lines = [f"{name}: mesh member {mesh['member']} x data {mesh['data']}"]
    started = time.perf_counter()
    lowered = programs.lower_train()
    traced = time.perf_counter() - started
    started = time.perf_counter()
    try:
        programs.train = compiled(lowered, target.devices[0].platform)
    except Exception as error:  # a TPU's compiler refuses what does not fit
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        # Its own words: they say how much, and of what memory.
        why = " ".join(str(error).split())[:300]
        took = time.perf_counter() - started
        return [*lines, f"  does not fit: {why}", f"  compiled in {took:.0f} s"]
    took = time.perf_counter() - started
    lines += _memory(target, programs)
    text = programs.train.as_text()
    program = Program(text)
    if HLO.value:
        folder = Path(HLO.value)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name.replace(' ', '_').replace(':', '-')}.hlo").write_text(text)
    lines += _arithmetic(target, programs, programs.train, program)
    lines += _exchanged(program.collectives(mesh))
    lines.append(f"  traced in {traced:.0f} s, compiled in {took:.0f} s")
    return lines


def _memory(target: absent.Target, programs: Programs) -> list[str]:
    use = programs.memory()
    per_device = 1 / programs.mesh.shape["member"]
    params = _bytes(programs.state.variables) * per_device
    state = _bytes(programs.state) * per_device
    if programs.options.fsdp:
        params, state = (x / programs.mesh.shape["data"] for x in (params, state))
    clips = _bytes(programs.spec.held)
    limit = target.chip.gb * 1e9
    fits = use.total <= SHARE * limit
    each = (use.total - clips) / (programs.size / programs.mesh.shape["member"])
    most = int((SHARE * limit - clips) // each)
    lying = programs.state.variables
    apart = sum(len(place.members) for place in lying.places)
    gb = 1e9
    return [
        f"  {'fits' if fits else 'does not fit'}: {use.total / gb:.2f} GB of "
        f"{limit / gb:.1f} GB (parameters {params / gb:.2f}, optimiser "
        f"{(state - params) / gb:.2f}, clips {clips / gb:.2f}, activations and "
        f"gradients {use.temporaries / gb:.2f}, code {use.code / gb:.3f}); about "
        f"{most} members a device in {SHARE:.0%} of it; {apart} parameters and "
        f"statistics lie in {len(lying.places)} arrays"
    ]


def _arithmetic(target, programs: Programs, compiled, program: Program) -> list[str]:
    members = programs.size / programs.mesh.shape["member"]
    closed = training_flops(programs) * members / programs.mesh.shape["data"]
    cost = compiled.cost_analysis() or {}
    steps = programs.spec.steps
    moved = program.off_chip(shapes.PARTS)
    total = sum(moved.values()) / steps
    peak = closed / (target.chip.tflops * 1e12)
    memory = total / (target.chip.gb_per_s * 1e9)
    lines = [
        f"  a step on one device: {closed / 1e12:.2f} TFLOP in products"
        + (f" (XLA: {cost['flops'] / 1e12 / steps:.2f})" if "flops" in cost else "")
        + f", {total / 1e9:.1f} GB off chip"
        + (
            f" (XLA: {cost['bytes accessed'] / 1e9 / steps:.0f})"
            if "bytes accessed" in cost
            else ""
        ),
        f"  by the data sheet {peak:.3f} s of arithmetic, {memory:.3f} s of memory"
        + (
            f"; XLA's roofline {cost['optimal_seconds'] / steps:.3f} s, "
            f"{peak * steps / cost['optimal_seconds']:.0%} of it arithmetic"
            if cost.get("optimal_seconds", 0) > 0
            else ""
        ),
        f"  {program.instructions} instructions outside fusions",
    ]
    parts = sorted(moved.items(), key=lambda x: -x[1])
    lines += [f"    {n / 1e9 / steps:7.2f} GB  {part}" for part, n in parts]
    return lines


def _exchanged(found: list[Collective]) -> list[str]:
    """Collectives by kind, axes and place."""
    sums: collections.Counter = collections.Counter()
    counts: collections.Counter = collections.Counter()
    for c in found:
        key = c.kind, " and ".join(c.axes) or "nothing", c.in_loop
        sums[key] += c.bytes * c.times
        counts[key] += c.times
    if not sums:
        return ["  no collective"]
    return [
        f"  {counts[key]:6d} x {key[0]} over {key[1]}, "
        f"{'in' if key[2] else 'outside'} the loop: {sums[key] / 1e6:.3f} MB a call"
        for key in sorted(sums, key=str)
    ]


def _bytes(tree: object) -> int:
    """Of all arrays of a tree; keys are words of 4."""
    return sum(
        math.prod(leaf.shape) * getattr(leaf.dtype, "itemsize", 4)
        for leaf in jax.tree.leaves(tree)
    )


def main(_: list[str]) -> None:
    """Print each row as soon as it is compiled."""
    for name in TARGETS.value:
        target = absent.target(name)
        for remat in REMAT.value:
            for members in map(int, MEMBERS.value):
                size = "" if SYSTEM.value == "fdp" else f" {SIZE.value}"
                row = f"{name} {SYSTEM.value}{size} {_recipe()}".rstrip()
                row += f" m{members} b{BATCH.value} {remat}"
                row += " augmented" if AUGMENT.value else ""
                programs = programs_of(target, members, remat)
                print("\n".join(describe(target, programs, row)), flush=True)
                if OTHERS.value:
                    print(_others(programs), flush=True)


def _others(programs: Programs) -> str:
    lines = []
    for name in ("predict", "init"):
        started = time.perf_counter()
        use = getattr(programs, name).memory_analysis()
        took = time.perf_counter() - started
        used = use.temp_size_in_bytes + use.argument_size_in_bytes
        used += use.output_size_in_bytes - use.alias_size_in_bytes
        lines.append(f"  {name}: {used / 1e9:.2f} GB, compiled in {took:.0f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
