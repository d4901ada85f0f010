"""How fast devices could be: by their makers' data sheets, and measured here."""

import functools
import time

import jax
import jax.numpy as jnp

# TFLOP/s of dense bfloat16 products, by the makers' data sheets.
# A name is one that `device_kind` begins with; longer names come first.
DATA_SHEETS = {
    "TPU v4": 275.0,
    "TPU v5 lite": 197.0,
    "TPU v5": 459.0,
    "TPU v6 lite": 918.0,
    "TPU7x": 1153.0,
    "NVIDIA H200": 989.0,
    "NVIDIA H100 PCIe": 756.0,
    "NVIDIA H100": 989.0,
    "NVIDIA A100": 312.0,
    "NVIDIA L4": 121.0,
    "Tesla T4": 65.0,
    "Tesla V100": 125.0,
}
_SIDE = {"cpu": 1024}  # of the matrices that are multiplied; else 8192
_TIMES = 4


def data_sheet(kind: str) -> float | None:
    """TFLOP/s of a device, None for one that is not listed.

    Args:
        kind: what JAX calls it.
    """
    return next((v for name, v in DATA_SHEETS.items() if kind.startswith(name)), None)


@functools.cache
def matmul_rate() -> float:
    """TFLOP/s of a square product on one device: bfloat16, on a CPU float32.

    The best of a few runs after one that warms up; a second at most.
    """
    backend = jax.default_backend()
    n = _SIDE.get(backend, 8192)
    dtype = jnp.float32 if backend == "cpu" else jnp.bfloat16
    # Random, as a card multiplies zeros and ones faster; the scale keeps the size of
    # the results.
    a = jax.random.normal(jax.random.key(0), (n, n), dtype) / n**0.5
    a = jax.device_put(a, jax.local_devices()[0])

    # One after another, each of the last one's result: none can be left out.
    @jax.jit
    def products(a):
        return jax.lax.fori_loop(0, _TIMES, lambda _, x: x @ a, a)

    taken = []
    for _ in range(3):
        started = time.perf_counter()
        products(a).block_until_ready()
        taken.append(time.perf_counter() - started)
    return 2 * n**3 * _TIMES / min(taken[1:]) / 1e12
