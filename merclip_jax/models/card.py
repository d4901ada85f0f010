"""The NVIDIA GPU at hand."""

import re

import jax

AMPERE = 8.0  # the first whose kernels by Triton and cuDNN's attention run in bfloat16


def compute_capability() -> float:
    """Its compute capability, such as 9.0; 0 where there is none."""
    if jax.default_backend() != "gpu":
        return 0.0
    # An AMD card's is a name.
    found = getattr(jax.local_devices()[0], "compute_capability", "")
    return float(found) if re.fullmatch(r"\d+\.\d+", found) else 0.0
