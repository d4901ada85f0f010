"""Programs that are the same on all platforms, for files that run on any of them."""

import contextlib
import contextvars
from collections.abc import Iterator

_kernels = contextvars.ContextVar("kernels", default=True)


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
