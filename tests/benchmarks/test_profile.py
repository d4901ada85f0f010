"""A trace is read as what ran, under the names of the program."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.hlo import Program
from benchmarks.profile import Operation, Trace


# On Python 3.12 jaxlib's binding makes a type that warns, and an error there aborts.
@pytest.mark.filterwarnings("ignore:builtin type event_stats:DeprecationWarning")
def test_a_trace_of_this_machine(tmp_path):
    @jax.jit
    def step(a):
        with jax.named_scope("first"):
            b = a @ a
        with jax.named_scope("second"):
            return jnp.sort(b, axis=0)

    a = jnp.ones((600, 600))
    program = step.lower(a).compile()
    step(a).block_until_ready()
    for _ in range(2):  # the last one counts
        with jax.profiler.trace(tmp_path):
            step(a).block_until_ready()
    trace = Trace.read(tmp_path, Program(program.as_text()))
    seconds = [o.seconds for o in trace.operations]
    assert seconds == sorted(seconds, reverse=True)
    assert 0 < max(seconds) <= trace.seconds
    parts = (("/first/", "product"), ("/second/", "order"))
    lines = trace.table(parts, top=1)
    assert any(line.endswith("  product") for line in lines)
    assert any(line.endswith("  order") for line in lines)
    assert "1 x " in lines[-1]


def test_kernels_of_libraries_have_parts_of_their_own():
    names = ("nvjet_sm90_tst_128x128", "cudnn_sdpa_sm90_flash_bprop", "depthwise_taps")
    found = [Operation(name, 1.0, 1, "") for name in (*names, "MemcpyD2D", "else")]
    lines = Trace(found, 5.0).table((), top=0)
    assert len(lines) == 6 and all("20.0%" in line for line in lines[1:])
    assert Trace([], 0.0).table((), top=0) == [
        "  the trace holds no operation of a device"
    ]
