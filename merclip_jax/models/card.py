"""The NVIDIA GPU at hand, and whether kernels for one platform are wanted."""

import contextlib
import contextvars
import re
from collections.abc import Iterator

import jax

AMPERE = 8.0  # the first whose kernels by Triton and cuDNN's attention run in bfloat16


def compute_capability() -> float:
    """Its compute capability, such as 9.0; 0 where there is none."""
    if jax.default_backend() != "gpu":
        return 0.0
    # An AMD card's is a name.
    found = getattr(jax.local_devices()[0], "compute_capability", "")
    return float(found) if re.fullmatch(r"\d+\.\d+", found) else 0.0


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """What is traced inside is the same on all platforms, and has no kernel of one."""
    token = _kernels.set(False)
    try:
        yield
    finally:
        _kernels.reset(token)


def has_kernels() -> bool:
    """Whether what is traced may differ by platform."""
    return _kernels.get()


_kernels = contextvars.ContextVar("kernels", default=True)
