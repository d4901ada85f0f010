"""What more devices are worth, without having them: each one's share of a step.

  python -m benchmarks.scaling                 # simulated CPU devices, tiny
  PYTHONPATH=.venv/aot python -m benchmarks.scaling --target=v5e:2x4

Eight members on 1, 2, 4 and 8 devices, and one member whose batch is shared by as many.
For each mesh the program is compiled, and its products, bytes and collectives on one
device are counted: over `member` a step costs 1 / devices and exchanges nothing; over
`data` it exchanges gradients.
"""

import os
import sys

DEVICES = (1, 2, 4, 8)
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} "
    f"--xla_force_host_platform_device_count={max(DEVICES)}"
)
if any(argument.startswith("--target") for argument in sys.argv):
    from benchmarks import absent  # before jax

import jax  # noqa: E402
from absl import app, flags  # noqa: E402

from benchmarks import shapes  # noqa: E402
from benchmarks.hlo import Program  # noqa: E402
from merclip_jax import command  # noqa: E402
from merclip_jax.models.mer_clip import SIZES, MerClipOptions  # noqa: E402
from merclip_jax.training import sharding  # noqa: E402
from merclip_jax.training.options import TrainOptions  # noqa: E402

TARGET = flags.DEFINE_string("target", "", "Devices that are absent; empty: the CPU's.")
SIZE = flags.DEFINE_enum("size", "tiny", list(SIZES), "Of the model.")
FRAMES = flags.DEFINE_integer("frames", 4, "Of a clip.")
PIXELS = flags.DEFINE_integer("image_size", 32, "Of a frame.")


def row(members: int, count: int) -> str:
    """What one device of so many does in a step."""
    there = absent.target(TARGET.value).devices if TARGET.value else jax.devices()
    options = TrainOptions(batch_size=16, scan_steps=2)
    programs = shapes.mer_clip(
        MerClipOptions(size=SIZE.value),
        options,
        members=members,
        mesh=sharding.make_mesh(members, 16, devices=there[:count]),
        augmentation=shapes.NONE,
        clips=16,
        frames=FRAMES.value,
        image_size=PIXELS.value,
    )
    program = Program(programs.train.as_text())
    mesh = dict(programs.mesh.shape)
    flops = programs.train.cost_analysis()["flops"]
    found = program.collectives(mesh)
    sent = sum(c.bytes * c.times for c in found if c.in_loop) / options.scan_steps
    return (
        f"{members:>2} members, {count} devices ({mesh['member']} x {mesh['data']}): "
        f"{flops / 1e9:8.3f} GFLOP by XLA, {programs.memory().total / 1e6:7.1f} MB, "
        f"{sent / 1e6:.3f} MB exchanged a step"
    )


def main(_: list[str]) -> None:
    """Print a row for each mesh."""
    for members in (8, 1):
        for count in DEVICES:
            print(row(members, count), flush=True)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
