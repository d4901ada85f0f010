"""What a stack needs to run: its plan, its compiled functions, how many fit."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from merclip_jax import sharding, train
from merclip_jax.data.store import ClipStore
from merclip_jax.models.mer_clip import MerClip
from merclip_jax.protocols import Member
from merclip_jax.weights.merge import merge_start


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything a round needs beside its members; labels, au_sets: [n].

    `start` maps Flax paths to the arrays that every member starts from, `lineage` says
    where they come from.
    """

    model: MerClip
    tx: optax.GradientTransformation
    hyper: train.Hyper
    prompts: train.Prompts
    store: ClipStore
    labels: np.ndarray
    au_sets: np.ndarray
    batch_size: int
    balanced: bool
    scan_steps: int
    checkpoint_every: int
    selection: str
    keep_weights: bool
    workdir: Path
    start: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    lineage: Sequence[str] = ()


class Programs:
    """The compiled functions of a stack, and the sizes that all rounds share."""

    def __init__(self, plan: Plan, members: Sequence[Member], stack: int):
        self.plan, self.stack = plan, stack
        self.mesh = sharding.make_mesh(stack, plan.batch_size)
        member, everywhere = (
            sharding.by_member(self.mesh),
            sharding.replicated(self.mesh),
        )
        self.scanned = sharding.by_batch(self.mesh, scanned=True)
        self.single = sharding.by_batch(self.mesh, scanned=False)
        self.resident = plan.store.resident
        if self.resident is not None:
            self.resident = jax.device_put(self.resident, everywhere)
        self.gather = {
            where: jax.jit(lambda frames, rows: frames[rows], out_shardings=where)
            for where in (self.scanned, self.single)
        }
        shape = plan.store.clips.shape
        fresh = train.stack_init(plan.model, plan.tx, shape)
        self.begin = jax.jit(
            lambda keys, start: merge_start(fresh(keys), start), out_shardings=member
        )
        step = train.stack_train(plan.model, plan.tx, plan.hyper)

        def steps(prompts, state, member, batches):
            return jax.lax.scan(
                lambda s, batch: step(prompts, s, member, batch), state, batches
            )

        self.train = jax.jit(
            steps,
            in_shardings=(everywhere, member, member, self.scanned),
            out_shardings=(member, everywhere),
            donate_argnums=1,
        )
        self.predict = jax.jit(
            train.stack_predict(plan.model),
            in_shardings=(member, self.single),
            out_shardings=everywhere,
        )
        lengths = [steps_per_epoch(m, plan.batch_size) for m in members]
        longest = max(lengths) * plan.hyper.epochs
        self.calls = -(-longest // plan.scan_steps)
        # Selection looks about once an epoch, at steps that all members share.
        self.look_every = max(1, round(max(lengths) / plan.scan_steps))
        self.test_batches = -(
            -max(len(m.fold.test) for m in members) // plan.batch_size
        )
        inner = max(len(m.fold.inner) for m in members)
        self.inner_batches = -(-inner // plan.batch_size)

    def init(self, keys: jax.Array) -> train.TrainState:
        """The stack's state at step 0: random where the plan's start has nothing."""
        return self.begin(keys, dict(self.plan.start))

    def place(self, frames: np.ndarray, where) -> jax.Array:
        """Clips on their devices: gathered there by `ClipStore.frames`, or sent."""
        if self.resident is not None:
            return self.gather[where](self.resident, jnp.asarray(frames))
        return jax.device_put(frames, where)

    def memory(self) -> int:
        """Bytes that a training call needs, resident clips included."""
        m, plan = self.stack, self.plan
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), m))
        state = jax.eval_shape(self.init, keys)
        integers = jax.ShapeDtypeStruct((m,), jnp.int32)
        lead = (plan.scan_steps, m, plan.batch_size)
        batch = train.Batch(
            jax.ShapeDtypeStruct((*lead, *plan.store.clips.shape), jnp.uint8),
            *[jax.ShapeDtypeStruct(lead, jnp.int32)] * 2,
        )
        member = train.Member(keys, integers, integers)
        compiled = self.train.lower(plan.prompts, state, member, batch).compile()
        use = compiled.memory_analysis()
        return (
            use.temp_size_in_bytes
            + use.argument_size_in_bytes
            + use.output_size_in_bytes
            - use.alias_size_in_bytes
            + (0 if self.resident is None else self.resident.nbytes)
        )


def members_that_fit(plan: Plan, members: Sequence[Member], most: int) -> int:
    """How many members train at once: by the device's memory, `most` on CPU.

    Compiles the program of one member and of two; their memory gives the cost of one
    more.
    """
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if not limit or len(members) == 1:
        return most * jax.device_count()
    used = [Programs(plan, members, n).memory() for n in (1, 2)]
    each = max(used[1] - used[0], 1)
    fit = 1 + int((0.8 * limit - used[0]) // each)
    return max(1, fit) * jax.device_count()


def steps_per_epoch(member: Member, batch_size: int) -> int:
    """ceil(training clips / batch), the iterations per epoch of MER_CLIP section 6."""
    return -(-len(member.fold.train) // batch_size)
