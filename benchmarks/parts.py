"""Parts of a step on the device at hand, each way there is: milliseconds.

  python -m benchmarks.parts               # sizes of B/16 at batch 16, bfloat16
  python -m benchmarks.parts --batch=1     # on a CPU

Forward and backward alone, compiled as a run compiles them. Convolutions also print how
far they are from float32, and whether a second run gives the same bits. Needs jax,
flax, optax and numpy alone.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import app, flags
from flax import linen as nn

from benchmarks import shapes
from merclip_jax import command
from merclip_jax.augment.clips import augment
from merclip_jax.models.attention import PackedAttention, attend
from merclip_jax.models.depthwise import _grouped_conv, _shifted_products
from merclip_jax.models.depthwise_kernel import depthwise_kernel
from merclip_jax.models.layers import MLP
from merclip_jax.models.norms import BatchNorm, LayerNorm
from merclip_jax.models.uniformer_v2 import GlobalBlock, LocalBlock, LocalMHRA
from merclip_jax.systems.mer_clip import JITTER_ORDER
from merclip_jax.training.compiler import OPTIONS
from merclip_jax.training.rates import matmul_rate

BATCH = flags.DEFINE_integer("batch", 16, "Clips.")
TIMES = flags.DEFINE_integer("times", 20, "Runs in a row that are timed.")
GRID, FRAMES, WIDTH, HEADS, EMBED = (14, 14), 8, 768, 12, 512
TOKENS = 1 + GRID[0] * GRID[1]


def draw(*shape: int) -> jax.Array:
    """Normal numbers in bfloat16, others for every shape."""
    return jax.random.normal(jax.random.key(sum(shape)), shape, jnp.bfloat16)


def timed(name: str, function: Callable, *given: object) -> object:
    """Compile, run and print a line; returns what it gives."""
    started = time.perf_counter()
    lowered = jax.jit(function).lower(*given)
    program = lowered.compile(compiler_options=OPTIONS.get(jax.default_backend()))
    took = time.perf_counter() - started
    made = jax.block_until_ready(program(*given))
    started = time.perf_counter()
    for _ in range(TIMES.value):
        made = program(*given)
    jax.block_until_ready(made)
    each = (time.perf_counter() - started) / TIMES.value
    print(f"{name:<40}{each * 1e3:>9.3f} ms   compiled in {took:.1f} s", flush=True)
    return made


def pulled(function: Callable, *given: jax.Array) -> tuple:
    """(forward and backward, what it is given): gradients of all that is given."""
    out = jax.eval_shape(function, *given)

    def both(gradient, *given):
        made, pull = jax.vjp(function, *given)
        return made, pull(gradient)

    return both, draw(*out.shape), *given


def of_module(module: nn.Module, *given: jax.Array, **static: object) -> tuple:
    """The same of a module, whose parameters are among what is given."""
    variables = module.init(jax.random.key(0), *given, **static)
    held = {name: v for name, v in variables.items() if name != "params"}

    def call(params, *given):
        return module.apply(
            {"params": params, **held},
            *given,
            **static,
            mutable=list(held),
            rngs={"dropout": jax.random.key(1)},
        )[0]

    return pulled(call, variables["params"], *given)


def attentions(batch: int) -> None:
    """Of a block and of the head's first one."""
    ways = {"cpu": ("xla",), "gpu": ("xla", "cudnn"), "tpu": ("xla", "fused")}
    for way in ways[jax.default_backend()]:
        for sequences, n, d, heads in (
            (batch * FRAMES, TOKENS, WIDTH, HEADS),
            (batch, 1 + FRAMES * (TOKENS - 1), EMBED, EMBED // 64),
        ):
            q = draw(sequences, n, d)
            timed(
                f"attention {sequences} x {n}, {way}",
                *pulled(
                    lambda q, k, v, heads=heads, way=way: attend(
                        q, k, v, heads=heads, implementation=way
                    ),
                    *(q * scale for scale in (1.0, 1.1, 0.9)),
                ),
            )


def convolutions(batch: int) -> None:
    """The positional convolution of a global block."""
    ways = {"shifted products": _shifted_products, "grouped": _grouped_conv}
    if jax.default_backend() == "gpu":
        ways["our kernel"] = depthwise_kernel
    x, taps = draw(batch, FRAMES, *GRID, WIDTH), draw(3, 3, 3, WIDTH) * 0.2
    both, gradient, *_ = pulled(_shifted_products, x, taps)
    wide = [a.astype(jnp.float32) for a in (gradient, x, taps)]
    exact = jax.tree.leaves(jax.jit(both)(*wide))
    for name, way in ways.items():
        timed(f"depthwise 3x3x3, {name}, forward", way, x, taps)
        given = pulled(way, x, taps)
        made = jax.tree.leaves(timed(f"depthwise 3x3x3, {name}", *given))
        again = jax.tree.leaves(jax.jit(given[0])(*given[1:]))
        errors = [
            float(jnp.linalg.norm((a - b).ravel()) / jnp.linalg.norm(b.ravel()))
            for a, b in zip(made, exact, strict=True)
        ]
        same = all(bool((a == b).all()) for a, b in zip(made, again, strict=True))
        told = ", ".join(f"{error:.4f}" for error in errors)
        print(f"  from float32 by {told}; the same bits again: {same}")


def blocks(batch: int) -> None:
    """Modules of the encoder."""
    kept = {"dtype": jnp.bfloat16}
    x = draw(batch, FRAMES, TOKENS, WIDTH)
    timed("LayerNorm", *of_module(LayerNorm(**kept), x))
    timed("BatchNorm", *of_module(BatchNorm(skip=1, **kept), x, train=True))
    timed("MLP", *of_module(MLP(4 * WIDTH, **kept), x, train=True))
    timed("attention with projections", *of_module(PackedAttention(HEADS, **kept), x))
    timed("local MHRA", *of_module(LocalMHRA(WIDTH * 2 // 3, **kept), x, train=True))
    local = LocalBlock(HEADS, 2, WIDTH * 2 // 3, 0.1, **kept)
    timed("local block", *of_module(local, x, jnp.ones((4, batch)), train=True))
    whole = GlobalBlock(HEADS, 4 * WIDTH, 0.5, 0.1, **kept)
    given = draw(batch, 1, WIDTH), x, jnp.ones((2, batch))
    timed("global block", *of_module(whole, *given, grid=GRID, train=True))


def augmentation(batch: int) -> None:
    """The paper's, with draws of its own each time."""
    clips = jax.random.randint(jax.random.key(0), (batch, 16, 224, 224, 3), 0, 256)

    def act(keys, clips):
        def one(_, key):
            order = jnp.asarray(JITTER_ORDER)
            frames, _ = augment(key, clips, shapes.PAPER, order)
            return None, frames.mean()

        return jax.lax.scan(one, None, keys)

    keys = jax.random.split(jax.random.key(1), 8)
    timed("augmentation, 8 batches", act, keys, clips.astype(jnp.uint8))


def main(_: list[str]) -> None:
    """Print every part."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    device = jax.devices()[0].device_kind
    print(f"{device}, jax {jax.__version__}, matmul {matmul_rate():.3g} TFLOP/s")
    gigabytes = 4 if jax.default_backend() != "cpu" else 1
    a = jnp.ones((gigabytes * 500_000_000,), jnp.bfloat16)
    timed(f"copy of {gigabytes} GB", lambda a: a + 1, a)
    del a
    for part in (attentions, convolutions, blocks, augmentation):
        part(BATCH.value)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
