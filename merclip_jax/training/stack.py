"""The compiled functions of a stack: many members trained by one program."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.data.batches import Batches, member_batches
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import Fold, Member, ProtocolOptions
from merclip_jax.data.store import ClipStore
from merclip_jax.declared import Range, check
from merclip_jax.systems.system import Batch, Context, Outputs, System
from merclip_jax.training import sharding
from merclip_jax.training.optim import Optimiser
from merclip_jax.training.step import (
    StepMember,
    TrainState,
    init_state,
    predict_step,
    train_step,
)
from merclip_jax.typing import Array
from merclip_jax.weights.merge import merge_start


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """How a training is run; only epochs and batch_size change what a member learns.

    epochs, batch_size: of every member; stack: members trained at once, 0 for as many
    as fit; scan_steps: steps a dispatch; checkpoint_every: dispatches between two
    checkpoints; keep_weights: write each member's weights; profile: (first, last) step
    of a profiler trace, () for none.
    """

    # Upper ends are far above sense: they catch a typing error before it takes hours.
    epochs: Annotated[int, Range(1, 10_000)] = 55
    batch_size: Annotated[int, Range(1, 4096)] = 16
    stack: Annotated[int, Range(0, 10_000)] = 0
    scan_steps: Annotated[int, Range(1, 1000)] = 8
    checkpoint_every: Annotated[int, Range(1, 1_000_000)] = 50
    keep_weights: bool = False
    profile: Annotated[tuple[int, ...], Range(0, 10**9)] = ()

    def __post_init__(self):
        check(self)
        ordered = tuple(sorted(self.profile)) == self.profile
        if self.profile and not (len(self.profile) == 2 and ordered):
            raise ValueError(f"profile={self.profile}: expected (first, last) step")


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that training needs beside its members.

    columns: the system's, [n, ...]; context: the run's constants; balanced: whether
    batches draw every class equally often; selection: "last", "inner" or "oracle";
    start: Flax paths to arrays that every member starts from, and lineage says whence
    they come.
    """

    system: System
    optimiser: Optimiser
    options: TrainOptions
    store: ClipStore
    columns: Mapping[str, np.ndarray]
    context: Context
    balanced: bool = DataOptions.balanced
    selection: str = ProtocolOptions.selection
    start: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    lineage: Sequence[str] = ()

    def steps_per_epoch(self, member: Member) -> int:
        """ceil(training clips / batch): a pass over the member's clips."""
        return -(-len(member.fold.train) // self.options.batch_size)

    def steps(self, member: Member) -> int:
        """Steps of the member's whole training."""
        return self.optimiser.length.steps(self.steps_per_epoch(member))

    def epochs(self, member: Member) -> int:
        """Passes over the member's clips, the last of which may be cut short."""
        return -(-self.steps(member) // self.steps_per_epoch(member))

    def batches(self, member: Member) -> Batches:
        """What a member trains on, by random access: (clips [b], frames [b, t])."""
        clips = self.store.clips
        return member_batches(
            member.fold.train,
            clips.label,
            clips.draw,
            seed=member.data_seed,
            batch_size=self.options.batch_size,
            balanced=self.balanced,
        )

    def rows(self, index: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Some columns, by name.

        Args:
            index: clips [...].
            names: of the columns.
        """
        return {name: self.columns[name][index] for name in names}


class Stack:
    """Functions of `size` members on the devices at hand, and the sizes they share."""

    def __init__(self, plan: Plan, members: Sequence[Member], size: int):
        self.plan, self.size = plan, size
        self.mesh = sharding.make_mesh(size, plan.options.batch_size)
        by_member = sharding.by_member(self.mesh)
        everywhere = sharding.replicated(self.mesh)
        self.scanned = sharding.by_batch(self.mesh, scanned=True)
        self.single = sharding.by_batch(self.mesh, scanned=False)
        self.held = plan.store.held(everywhere)
        self.run = jax.device_put(plan.context.run, everywhere)
        self._folds: dict[str, Mapping[str, Array]] = {}
        self._init = jax.jit(self._initial_state, out_shardings=by_member)
        context = Context(run=everywhere, fold=by_member)
        # The old state's memory is given to the new one: a stack fills the device.
        self._train = jax.jit(
            self._steps,
            in_shardings=(everywhere, context, by_member, by_member, self.scanned),
            out_shardings=(by_member, everywhere),
            donate_argnums=2,
        )
        self._predict = jax.jit(
            self._answers,
            in_shardings=(everywhere, context, by_member, self.single),
            out_shardings=everywhere,
        )
        scan_steps = plan.options.scan_steps
        self.calls = -(-max(map(plan.steps, members)) // scan_steps)
        # About once an epoch, at steps that all members of the run share: what is
        # selected must not depend on who trains beside whom.
        longest = max(map(plan.steps_per_epoch, members))
        self.evaluate_every = max(1, round(longest / scan_steps))

    def context(self, stacked: Sequence[Member]) -> Context:
        """The run's constants, and those of each member's fold, [m, ...].

        A fold's constants are made from its training clips, and nothing else is in
        reach of the system that makes them.
        """
        folds = [self._fold_context(m.fold) for m in stacked]
        fold = jax.tree.map(lambda *leaves: jnp.stack(leaves), *folds)
        fold = jax.device_put(fold, sharding.by_member(self.mesh))
        return Context(run=self.run, fold=fold)

    def _fold_context(self, fold: Fold) -> Mapping[str, Array]:
        # Seeds of one fold share it, and so do the repeats that fill a group up.
        if fold.name not in self._folds:
            clips = self.plan.store.clips.take(fold.train)
            self._folds[fold.name] = self.plan.system.fold_context(clips)
        return self._folds[fold.name]

    def members(self, stacked: Sequence[Member]) -> StepMember:
        """Keys and lengths, [m]."""
        per_epoch = [self.plan.steps_per_epoch(m) for m in stacked]
        member = StepMember(
            key=jnp.stack([jax.random.key(m.data_seed) for m in stacked]),
            steps_per_epoch=jnp.asarray(per_epoch, jnp.int32),
            steps=jnp.asarray([self.plan.steps(m) for m in stacked], jnp.int32),
        )
        return jax.device_put(member, sharding.by_member(self.mesh))

    def init(self, keys: Array) -> TrainState:
        """States at step 0 of keys [m]: random where the plan's start has nothing."""
        return self._init(keys, dict(self.plan.start))

    def train(
        self, context: Context, state: TrainState, member: StepMember, batches: Batch
    ) -> tuple[TrainState, dict[str, Array]]:
        """Run `scan_steps` steps of every member.

        Args:
            context: of the run and the folds.
            state: of the members; its buffers are given away.
            member: keys and lengths.
            batches: of `batches`.

        Returns:
            The next state, and scalars [k, m] by name.
        """
        return self._train(self.held, context, state, member, batches)

    def predict(self, context: Context, state: TrainState, batch: Batch) -> Outputs:
        """Outputs [m, b, ...] by name.

        Args:
            context: of the run and the folds.
            state: of the members.
            batch: of `tests`.
        """
        return self._predict(self.held, context, state, batch)

    def batches(self, index: np.ndarray, sent: Array) -> Batch:
        """Training batches.

        Args:
            index: clips [k, m, b].
            sent: what `ClipStore` has sent of their frames.
        """
        columns = self.plan.rows(index, list(self.plan.columns))
        return {"frames": sent} | jax.device_put(columns, self.scanned)

    def tests(self, index: np.ndarray) -> Batch:
        """A batch of clips [m, b] to predict: no column but the system's inputs."""
        sent = self.plan.store.put(index, None, self.single)
        columns = self.plan.rows(index, self.plan.system.inputs)
        return {"frames": sent} | jax.device_put(columns, self.single)

    def memory(self, members: Sequence[Member]) -> int:
        """Bytes that a training call needs on a device, held clips included."""
        lead = (self.plan.options.scan_steps, self.size, self.plan.options.batch_size)
        batches = {"frames": self.plan.store.spec(lead)} | {
            name: jax.ShapeDtypeStruct((*lead, *column.shape[1:]), column.dtype)
            for name, column in self.plan.columns.items()
        }
        stacked = [members[0]] * self.size
        member = self.members(stacked)
        state = jax.eval_shape(self.init, member.key)
        compiled = self._train.lower(
            self.held, self.context(stacked), state, member, batches
        ).compile()
        use = compiled.memory_analysis()
        return (
            use.temp_size_in_bytes
            + use.argument_size_in_bytes
            + use.output_size_in_bytes
            - use.alias_size_in_bytes
        )

    def _initial_state(self, keys, start):
        plan = self.plan
        shape = plan.system.view.shape
        # One clip of zeros: an initialisation reads shapes alone.
        one = {"frames": jnp.zeros((1, *shape), jnp.float32)}
        one |= {name: jnp.asarray(c[:1]) for name, c in plan.columns.items()}

        def init(key):
            return init_state(plan.system, plan.optimiser, key, one)

        return merge_start(jax.vmap(init)(keys), start)

    def _steps(self, held, context, state, member, batches):
        step = jax.vmap(
            lambda context, state, member, batch: train_step(
                self.plan.system, self.plan.optimiser, context, state, member, batch
            ),
            in_axes=(Context(run=None, fold=0), 0, 0, 0),
        )

        def body(state, batch):
            # One step's pixels at a time: those of all steps may not fit.
            frames = self.plan.store.gather(held, batch["frames"])
            return step(context, state, member, batch | {"frames": frames})

        return jax.lax.scan(body, state, batches)

    def _answers(self, held, context, state, batch):
        frames = self.plan.store.gather(held, batch["frames"])
        predict = jax.vmap(
            lambda context, state, batch: predict_step(
                self.plan.system, context, state, batch
            ),
            in_axes=(Context(run=None, fold=0), 0, 0),
        )
        return predict(context, state, batch | {"frames": frames})
