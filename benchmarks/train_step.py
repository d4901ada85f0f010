"""The training step on the devices at hand: clips/s, share of a matmul, memory.

  python -m benchmarks.train_step                       # B/16, batch 16, bfloat16
  python -m benchmarks.train_step --members=1,2,3 --remat=none,products --noaugment
  python -m benchmarks.train_step --size=tiny --frames=4 --image_size=32   # anywhere

Needs jax, flax, optax and numpy alone. The program is that of `merclip_jax.main`, on
random clips; each row compiles anew (and once more from the cache), trains a dispatch
to warm up, and is timed over the next ones. On a CPU take --batch=1 at full size.
"""

import json
import resource
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from benchmarks import shapes
from benchmarks.hlo import Program
from benchmarks.profile import Trace
from merclip_jax import command
from merclip_jax.models.attention import ATTENTIONS
from merclip_jax.models.mer_clip import SIZES, MerClipOptions
from merclip_jax.systems.system import REMATS
from merclip_jax.training import sharding
from merclip_jax.training.flops import training_flops
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.programs import Programs
from merclip_jax.training.rates import data_sheet, matmul_rate

MEMBERS = flags.DEFINE_list("members", ["1"], "Members a stack, one row each.")
REMAT = flags.DEFINE_list("remat", ["none"], f"Of {REMATS}, one row each.")
ATTENTION = flags.DEFINE_list("attention", ["auto"], f"Of {ATTENTIONS}, a row each.")
BATCH = flags.DEFINE_integer("batch", 16, "Clips of a member's batch.")
SIZE = flags.DEFINE_enum("size", "b16", list(SIZES), "Of the model.")
DTYPE = flags.DEFINE_enum("dtype", "auto", ["auto", "bfloat16", "float32"], "Of it.")
AUGMENT = flags.DEFINE_bool("augment", True, "The paper's augmentation, or none.")
FRAMES = flags.DEFINE_integer("frames", 16, "Of a clip.")
PIXELS = flags.DEFINE_integer("image_size", 224, "Of a frame.")
STEPS = flags.DEFINE_integer("scan_steps", 8, "Steps of a dispatch.")
TURNS = flags.DEFINE_integer("turns", 5, "Dispatches that are timed.")
CLIPS = flags.DEFINE_integer("clips", 64, "That lie on the device.")
PROFILE = flags.DEFINE_string("profile", "", "Folder for a trace of one dispatch.")

TOP = 25  # operations of the profile that are listed


def programs_of(members: int, remat: str, attention: str) -> Programs:
    """What a row compiles."""
    options = TrainOptions(
        batch_size=BATCH.value, scan_steps=STEPS.value, remat=remat, epochs=10_000
    )
    model = MerClipOptions(size=SIZE.value, dtype=DTYPE.value, attention=attention)
    return shapes.mer_clip(
        model,
        options,
        members=members,
        mesh=sharding.make_mesh(members, BATCH.value),
        augmentation=shapes.PAPER if AUGMENT.value else shapes.NONE,
        clips=CLIPS.value,
        frames=FRAMES.value,
        image_size=PIXELS.value,
    )


def measure(members: int, remat: str, attention: str) -> dict[str, object]:
    """One row: compiled, warmed up and timed."""
    programs = programs_of(members, remat, attention)
    started = time.perf_counter()
    # Traced and compiled, with what makes the initial state.
    _ = programs.train, programs.init
    compiled = time.perf_counter() - started
    print(f"compiled in {compiled:.0f} s", flush=True)
    held, context, state, member, batches = shapes.arguments(
        programs, batch=BATCH.value, clips=CLIPS.value, frames=FRAMES.value
    )
    taken = []
    for _ in range(TURNS.value + 1):
        began = time.perf_counter()
        state, scalars = programs.train(held, context, state, member, batches)
        jax.block_until_ready((state, scalars))
        taken.append(time.perf_counter() - began)
    if PROFILE.value:
        with jax.profiler.trace(PROFILE.value):
            state, scalars = programs.train(held, context, state, member, batches)
            jax.block_until_ready((state, scalars))
        (Path(PROFILE.value) / "program.hlo").write_text(programs.train.as_text())
    seconds = float(np.median(taken[1:])) / STEPS.value
    devices = programs.mesh.size
    flops = training_flops(programs) * members / devices
    memory, rate = programs.memory(), flops / seconds / 1e12
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sheet = data_sheet(jax.devices()[0].device_kind)
    return {
        "members": members,
        "remat": remat,
        "attention": attention,
        "devices": devices,
        "step_ms": seconds * 1e3,
        "clips_per_s": members * BATCH.value / seconds,
        "gflop_per_step_and_device": flops / 1e9,
        "tflops_per_s": rate,
        "share_of_matmul": rate / matmul_rate(),
        "share_of_data_sheet": rate / sheet if sheet else None,
        "matmul_tflops_per_s": matmul_rate(),
        "compile_s": compiled,
        "program_gb": memory.total / 1e9,
        "peak_gb": peak / 1e9,
        "loss": float(np.asarray(scalars["loss"])[-1, 0]),
    }


def compile_again(members: int, remat: str, attention: str) -> float:
    """Seconds that the same row takes to trace and to fetch from the cache."""
    jax.clear_caches()
    before = time.perf_counter()
    programs = programs_of(members, remat, attention)
    _ = programs.train, programs.init
    return time.perf_counter() - before


def main(_: list[str]) -> None:
    """Print the table, and each row as JSON."""
    cache = tempfile.mkdtemp()
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    device = jax.devices()[0].device_kind
    print(
        f"{SIZE.value}, batch {BATCH.value}, {FRAMES.value}x{PIXELS.value}x"
        f"{PIXELS.value}, {'augmented' if AUGMENT.value else 'not augmented'}, on "
        f"{jax.device_count()} x {device}, jax {jax.__version__}, matmul "
        f"{matmul_rate():.3g} TFLOP/s"
    )
    for members in map(int, MEMBERS.value):
        for remat in REMAT.value:
            for attention in ATTENTION.value:
                row = measure(members, remat, attention)
                sheet = row["share_of_data_sheet"]
                print(
                    f"members {members:>2}, remat {remat}, attention {attention}: "
                    f"{row['step_ms']:.1f} ms a step, "
                    f"{row['clips_per_s']:.4g} clips/s, "
                    f"{row['tflops_per_s']:.3g} TFLOP/s a device = "
                    f"{row['share_of_matmul']:.0%} of matmul"
                    + (f", {sheet:.0%} of the data sheet" if sheet else "")
                    + f"; program {row['program_gb']:.2f} GB, "
                    f"peak {row['peak_gb']:.2f} GB"
                )
                print(json.dumps(row), flush=True)
                if PROFILE.value:
                    print("\n".join(_profiled()), flush=True)
                cached = compile_again(members, remat, attention)
                print(f"compiled from the cache in {cached:.1f} s", flush=True)


def _profiled() -> list[str]:
    folder = Path(PROFILE.value)
    program = Program((folder / "program.hlo").read_text())
    return Trace.read(folder, program).table(shapes.PARTS, top=TOP)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
