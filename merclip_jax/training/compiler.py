"""How a lowered program is compiled."""

import ctypes
import sys

import jax

# CPU: by default XLA orders a program for concurrency: slices and broadcasts are made
# early and lie about, and Adam's moments are copied before they are replaced. These two
# halve a full-size step's temporaries (benchmarks/RESULTS.md).
# GPU: norms through Triton write float32 tokens between their parts and take ten times
# as long to compile; large products are cuBLAS's own, which need no search.
OPTIONS = {
    "cpu": {
        "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
        "xla_cpu_copy_insertion_use_region_analysis": True,
    },
    "gpu": {
        "xla_disable_hlo_passes": "triton-softmax-rewriter",
        "xla_gpu_enable_triton_gemm": False,
    },
}


def compiled(lowered: jax.stages.Lowered, platform: str) -> jax.stages.Compiled:
    """Returns the program for devices of a platform ("cpu", "gpu", "tpu")."""
    program = lowered.compile(compiler_options=OPTIONS.get(platform))
    if platform == "cpu" and sys.platform == "linux":
        # What the compiler took and freed, a gigabyte at full size, goes back (glibc).
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)
    return program
