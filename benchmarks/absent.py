"""Devices that are not there: XLA compiles for them all the same, on a CPU.

Needs libtpu for TPUs and jax-cuda13-plugin for GPUs, of jax's version: `make aot`.
Import this module before anything is computed. It tells memory, collectives and bytes,
never the speed of a GPU, whose products are not tuned without the card.
"""

import dataclasses
import os
import re

os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
# Without a card nothing can be timed, so nothing is tuned; Triton's products cannot be
# tiled untuned.
_UNTUNED = "--xla_gpu_enable_triton_gemm=false --xla_gpu_autotune_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_UNTUNED}".strip()

import jax  # noqa: E402
from jax._src.cudnn import fused_attention_stablehlo as cudnn  # noqa: E402
from jax.experimental import topologies  # noqa: E402

jax.config.update("jax_platforms", "cpu")


@dataclasses.dataclass(frozen=True)
class Gpu:
    """What XLA asks of a GPU beside its memory, by NVIDIA's tuning guides.

    major: compute capability; cores: multiprocessors, each with `lanes` float32 units,
    `shared` bytes of its own, of which a block may have `most`; l2: bytes; ghz: clock.
    """

    major: int
    cores: int
    lanes: int
    shared: int
    most: int
    l2: int
    ghz: float


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device, by its maker's data sheet.

    topology: what XLA calls it, "" for a GPU; gb: memory, of a TPU what its compiler
    gives to a program; tflops: of dense bfloat16 products; gb_per_s: of the memory;
    cores: "megacore" where two are one device.
    """

    topology: str
    gb: float
    tflops: float
    gb_per_s: float
    gpu: Gpu | None = None
    cores: str = "default"


_HOPPER = Gpu(9, 132, 128, 233_472, 232_448, 52_428_800, 1.98)
_AMPERE = Gpu(8, 108, 64, 167_936, 166_912, 41_943_040, 1.41)
_GIB = 2**30 / 1e9  # "exceeds available HBM (15.75G)" counts in these
CHIPS = {
    "v4": Chip("v4", 30.75 * _GIB, 275, 1228, cores="megacore"),
    "v5e": Chip("v5e", 15.75 * _GIB, 197, 819),
    "v5p": Chip("v5", 95.74 * _GIB, 459, 2765),
    "v6e": Chip("v6e", 31.25 * _GIB, 918, 1640),
    "a100": Chip("", 40, 312, 1555, _AMPERE),
    "a100-80": Chip("", 80, 312, 2039, _AMPERE),
    "h100": Chip("", 80, 989, 3352, _HOPPER),
    "h200": Chip("", 141, 989, 4800, _HOPPER),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices of one kind, such as "v5e:2x2" or "h100:1x1x8"."""

    name: str
    chip: Chip
    devices: tuple


def target(name: str) -> Target:
    """The devices that a name stands for.

    Args:
        name: of CHIPS, a colon, and how many: a TPU's topology, or hosts by trays by
            GPUs.

    Raises:
        ValueError: for another name, or without the compiler; it says what is needed.
    """
    found = re.fullmatch(r"([\w-]+):(\d+(?:x\d+){1,2})", name)
    if not found or found[1] not in CHIPS:
        raise ValueError(
            f"target={name!r}: expected one of {list(CHIPS)} and a shape, such as "
            "v5e:2x2 or h100:1x1x8"
        )
    chip, shape = CHIPS[found[1]], found[2]
    try:
        if chip.topology:
            topology = topologies.get_topology_desc(
                platform="tpu",
                topology_name=f"{chip.topology}:{shape}",
                chip_config_name=chip.cores,
            )
        else:
            _assume_cudnn(chip)
            topology = topologies.get_topology_desc(
                platform="cuda", target_config=_described(chip), topology=shape
            )
    except RuntimeError as error:  # of every kind: jax and XLA derive theirs from it
        needed = "libtpu" if chip.topology else "jax-cuda13-plugin, jax-cuda13-pjrt"
        raise ValueError(
            f"target={name!r} cannot be compiled for ({error}); it needs {needed} of "
            f"jax {jax.__version__}: make aot"
        ) from error
    return Target(name, chip, tuple(topology.devices))


def _assume_cudnn(chip: Chip) -> None:
    """Lets JAX trace cuDNN's attention, which asks a card and a library."""
    cudnn.check_cudnn_version = lambda: 91000
    cudnn.check_compute_capability = lambda least: chip.gpu.major >= float(least)
    cudnn.is_cuda_compute_capability_equal = lambda own: chip.gpu.major == float(own)


def _described(chip: Chip) -> str:
    """A GPU as XLA's GpuTargetConfigProto."""
    gpu = chip.gpu
    return f"""gpu_device_info {{
  cuda_compute_capability {{ major: {gpu.major} }} core_count: {gpu.cores}
  fpus_per_core: {gpu.lanes} clock_rate_ghz: {gpu.ghz} l2_cache_size: {gpu.l2}
  shared_memory_per_core: {gpu.shared} shared_memory_per_block_optin: {gpu.most}
  shared_memory_per_block: 49152 threads_per_block_limit: 1024 threads_per_warp: 32
  threads_per_core_limit: 2048 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {int(chip.gb_per_s * 1e9)}
  device_memory_size: {int(chip.gb * 1.063e9)} }}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 13 minor: 0 patch: 0 }}
device_description_str: "{chip.gb:.0f} GB"
"""
