"""The three systems side by side: parameters, and FLOPs of a clip in training.

  python -m benchmarks.systems

Counted in what JAX traces, at the sizes that were published; nothing is computed.
"""

import math

import jax
import numpy as np
from absl import app

from benchmarks import shapes
from merclip_jax import command
from merclip_jax.models.fdp import FdpOptions
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.training import sharding
from merclip_jax.training.flops import training_flops
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.parameters import parameter_table
from merclip_jax.training.programs import Programs

PAPER = FdpOptions(
    local="grouped", global_blocks=1, layout="time", statistics="clip", freeze="never"
)


def rows(batch: int = 8) -> dict[str, Programs]:
    """Name -> programs of one member at full size."""
    options = TrainOptions(batch_size=batch, scan_steps=1)
    mesh = sharding.make_mesh(1, 1, devices=jax.local_devices()[:1])
    size = {"members": 1, "mesh": mesh}
    return {
        "MER-CLIP, B/16": shapes.mer_clip(MerClipOptions(), options, **size),
        "MER-CLIP, L/14": shapes.mer_clip(MerClipOptions(size="l14"), options, **size),
        "FDP, released": shapes.fdp(FdpOptions(), options, **size),
        "FDP, paper": shapes.fdp(PAPER, options, **size),
        "detector of AUs, B/16": shapes.micro_au_clip(
            MicroAUOptions(), options, **size
        ),
        "detector of AUs, L/14": shapes.micro_au_clip(
            MicroAUOptions(size="l14"), options, **size
        ),
    }


def main(_: list[str]) -> None:
    """Print the table."""
    print(f"{'':24}{'frames':>16}{'parameters, M':>16}{'trained, M':>12}", end="")
    print(f"{'GFLOP a clip-step':>20}{'kB held a clip':>16}")
    for name, programs in rows().items():
        table = parameter_table(programs.system, programs.optimiser, _columns(programs))
        trained = sum(row["trained"] for row in table)
        total = trained + sum(row["frozen"] for row in table)
        flops = training_flops(programs) / programs.options.batch_size
        shape = programs.system.view.shape
        frames = "x".join(map(str, shape))
        print(
            f"{name:24}{frames:>16}{total / 1e6:16.1f}{trained / 1e6:12.1f}"
            f"{flops / 1e9:20.1f}{math.prod(shape) / 1e3:16.0f}",
            flush=True,
        )


def _columns(programs: Programs) -> dict:
    return {
        name: np.zeros((1, *shape.shape), shape.dtype)
        for name, shape in programs.spec.columns.items()
    }


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
