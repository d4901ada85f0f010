"""The training step in plain torch, beside `benchmarks.train_step`: clips/s on a card.

  python -m benchmarks.torch_step --batch=16 --modes=eager,compiled

The model of `benchmarks.torch_encoder` under autocast to bfloat16, parameters and
AdamW (fused) in float32, gradients clipped; no augmentation. Needs torch.
"""

import json
import time

import torch
from absl import app, flags

from benchmarks.torch_encoder import MerClip, training_step
from merclip_jax import command

BATCH = flags.DEFINE_integer("batch", 16, "Clips of a batch.")
MODES = flags.DEFINE_list("modes", ["eager", "compiled"], "A row each.")
STEPS = flags.DEFINE_integer("steps", 20, "Steps that are timed.")


def measure(mode: str, device: str) -> dict[str, object]:
    """One row: warmed up and timed."""
    torch.manual_seed(0)
    model = MerClip().to(device).train()
    clips = torch.randn(BATCH.value, 3, 16, 224, 224, device=device)
    forward = torch.compile(model) if mode == "compiled" else model
    step = training_step(model, clips, autocast=torch.bfloat16, forward=forward)

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    step()
    wait()
    first = time.perf_counter() - started
    for _ in range(3):
        step()
    wait()
    taken = []
    for _ in range(STEPS.value):
        started = time.perf_counter()
        step()
        wait()
        taken.append(time.perf_counter() - started)
    seconds = sorted(taken)[len(taken) // 2]
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None
    return {
        "mode": mode,
        "step_ms": seconds * 1e3,
        "clips_per_s": BATCH.value / seconds,
        "first_step_s": first,
        "peak_gb": peak,
    }


def main(_: list[str]) -> None:
    """Print each row."""
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(f"torch {torch.__version__} on {name}, batch {BATCH.value}, bfloat16")
    for mode in MODES.value:
        row = measure(mode, device)
        print(
            f"{mode}: {row['step_ms']:.1f} ms a step, {row['clips_per_s']:.4g} clips/s"
            f"; first step {row['first_step_s']:.1f} s"
            + (f", peak {row['peak_gb']:.2f} GB" if row["peak_gb"] else "")
        )
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
