"""The programs compile for TPUs and GPUs that are not there, and exchange little.

`make test-compile` installs the compilers.
"""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from benchmarks import (
    absent,  # before jax
    shapes,
)
from benchmarks.hlo import Program
from merclip_jax.models.attention import attend
from merclip_jax.models.depthwise import depthwise_conv
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.training import packed, sharding
from merclip_jax.training.options import TrainOptions

# All of a target on one worker: what one test compiled another need not.
TARGETS = [
    pytest.param(target, marks=pytest.mark.xdist_group(target))
    for target in ("v5e:2x2", "h100:1x1x4")
]
BATCH, STEPS, FRAMES, PIXELS = 8, 3, 4, 32
FIRST = BATCH * PIXELS * PIXELS * 3 * 4  # bytes of the clips' first frames, float32


@pytest.fixture(autouse=True)
def promotion():
    """As a run has it: jax.nn's own attention mixes bfloat16 with float32."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@functools.cache
def programs(target, members, **changes):
    options = TrainOptions(batch_size=BATCH, scan_steps=STEPS, **changes)
    # As "auto" is where the card is.
    attention = "cudnn" if target.startswith("h100") else "auto"
    mesh = sharding.make_mesh(members, BATCH, devices=absent.target(target).devices)
    return shapes.mer_clip(
        MerClipOptions(size="tiny", dtype="bfloat16", attention=attention),
        options,
        members=members,
        mesh=mesh,
        clips=12,
        frames=FRAMES,
        image_size=PIXELS,
    )


def exchanged(target, members, **changes):
    made = programs(target, members, **changes)
    text = made.train.as_text()
    return Program(text).collectives(dict(made.mesh.shape))


@pytest.mark.parametrize("target", TARGETS)
def test_members_do_not_talk_while_they_train(target):
    """Two members by two halves of a batch: reports alone go over `member`, at last."""
    found = exchanged(target, 2)
    assert dict(programs(target, 2).mesh.shape) == {"member": 2, "data": 2}
    assert any(c.in_loop for c in found)
    for c in found:
        assert c.axes, c
        assert c.in_loop == ("member" not in c.axes), c
        if not c.in_loop:
            assert c.kind == "all-gather" and c.bytes < 4096, c


@pytest.mark.parametrize("target", TARGETS)
def test_a_shared_batch_exchanges_no_pixels(target):
    """Four devices a member: gradients, features, BatchNorm's sums; never the clips.

    But their first frames, from which LocalStaticFaceMix takes partners' faces.
    """
    found = exchanged(target, 1)
    state = programs(target, 1).state.variables.arrays["params"]
    gradients = sum(x.size * 4 for x in jax.tree.leaves(state))
    for c in found:
        # What is begun early counts with the part that each device gives.
        most = 1.1 * gradients if c.kind == "all-reduce" else 1.5 * FIRST
        assert c.bytes <= most, c
    reduced = sum(c.bytes for c in found if c.in_loop and c.kind == "all-reduce")
    assert gradients / 2 <= reduced <= 1.5 * gradients  # once a step, bf16 or float32


@pytest.mark.parametrize("target", TARGETS)
def test_parts_of_a_state_take_less_room(target):
    """fsdp: the large arrays lie on four devices once."""
    whole, parts = programs(target, 1), programs(target, 1, fsdp=True)
    large = [
        x.size * 4
        for x in jax.tree.leaves(whole.state.variables.arrays["params"])
        if x.ndim > 2 and x.size >= packed.SMALL
    ]
    # Parameters and two moments, three quarters of each gone; a TPU has filled the last
    # axes of 64 up to 128.
    spared = whole.memory().arguments - parts.memory().arguments
    least = 3 * 0.75 * sum(large)
    assert 0.95 * least <= spared <= 2.05 * least


@pytest.mark.parametrize(
    ("target", "remat"),
    # Each compiler and each way once.
    [
        pytest.param(target.values[0], remat, marks=target.marks)
        for target, remat in zip(TARGETS, ("blocks", "products"), strict=True)
    ],
)
def test_less_kept_is_less_room(target, remat):
    made = programs(target, 1, remat=remat)
    kept = programs(target, 1).memory().temporaries
    # So small a model has little to keep; at full size see benchmarks/RESULTS.md.
    assert made.memory().temporaries < 1.2 * kept


@pytest.mark.parametrize("target", TARGETS)
def test_prediction_and_initialisation_compile(target):
    made = programs(target, 2)
    assert made.predict.memory_analysis() and made.init.memory_analysis()


def attention(target, implementation, n, dtype):
    device = SingleDeviceSharding(absent.target(target).devices[0])
    x = jax.ShapeDtypeStruct((16, n, 768), dtype, sharding=device)

    def step(q, k, v, gradient):
        out, pull = jax.vjp(
            lambda *a: attend(*a, heads=12, implementation=implementation), q, k, v
        )
        return out, pull(gradient)

    return jax.jit(step).lower(x, x, x, x).compile().as_text()


def test_each_gpu_convolves_its_own_clips():
    """Depthwise taps are kernels; of what is exchanged their gradient is all."""
    devices = absent.target("h100:1x1x4").devices
    mesh = sharding.make_mesh(1, BATCH, devices=devices)

    def step(x, kernel, gradient):
        out, pull = jax.vjp(depthwise_conv, x, kernel)
        return out, pull(gradient)

    def array(shape, spec):
        kept = NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=kept)

    x = array((BATCH, 4, 6, 6, 128), P("data"))
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        lowered = jax.jit(step).lower(x, array((3, 3, 3, 128), P()), x)
    program = Program(lowered.compile().as_text())
    found = [i.rest for body in program.computations.values() for i in body]
    assert sum("xla.gpu.triton" in rest for rest in found) == 3
    (reduced,) = program.collectives(dict(mesh.shape))
    assert reduced.kind == "all-reduce" and reduced.axes == ("data",)
    assert reduced.bytes <= 27 * 128 * 4


@pytest.mark.parametrize("n", [197, 1569, 2049])
def test_auto_is_the_kernel_on_a_tpu_and_xla_on_a_gpu(n):
    assert "tpu_custom_call" in attention("v5e:2x2", "auto", n, jnp.bfloat16)
    text = attention("h100:1x1x4", "auto", n, jnp.bfloat16)
    assert "fmha" not in text and "tpu_custom_call" not in text


def test_the_kernel_has_room_for_float32():
    """As the released recipe computes, in the head's first block."""
    assert "tpu_custom_call" in attention("v5e:2x2", "auto", 1569, jnp.float32)


@pytest.mark.parametrize("n", [197, 198, 1569])
def test_cudnn_takes_odd_lengths(n):
    """Padded to even, forward and backward: its fused kernels, and no scores."""
    text = attention("h100:1x1x4", "cudnn", n, jnp.bfloat16)
    assert "fmha" in text.lower()
    assert f"f32[16,12,{n},{n}]" not in text
