"""A stack: the data of many members that are trained by one program."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.data.batches import Batches, member_batches
from merclip_jax.data.classes import dataset_of
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import Fold, Member, ProtocolOptions
from merclip_jax.data.store import ClipStore, put
from merclip_jax.systems.system import Batch, Context, Outputs, System
from merclip_jax.training import sharding
from merclip_jax.training.flops import training_flops
from merclip_jax.training.optim import Optimiser
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.programs import Programs, Spec
from merclip_jax.training.step import StepMember, TrainState
from merclip_jax.typing import Array, Leaf
from merclip_jax.weights.provenance import Seen


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that training needs beside its members.

    columns: the system's, [n, ...]; context: the run's constants; balanced: whether
    batches draw every class equally often; selection: "last", "inner" or "oracle";
    start: Flax paths to arrays that every member starts from, lineage says whence they
    come, and seen whom they were trained on; variants: which of the system's `Variants`
    the members of a fold are, by the fold's name.
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
    seen: Sequence[Seen] = ()
    variants: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def seen_by(self, member: Member) -> list[Seen]:
        """Whom a member's weights were trained on, those before it included."""
        clips = self.store.clips
        index = np.concatenate([member.fold.train, member.fold.inner]).astype(int)
        found: dict[str, set[str]] = {}
        for subject in clips.subject[index].tolist():
            found.setdefault(dataset_of(subject), set()).add(subject)
        own = [Seen(name, tuple(sorted(who))) for name, who in sorted(found.items())]
        return [*self.seen, *own]

    def steps_per_epoch(self, member: Member) -> int:
        """ceil(training clips / batch): a pass over the member's clips."""
        return -(-len(member.fold.train) // self.options.batch_size)

    def steps(self, member: Member) -> int:
        """Steps of the member's whole training."""
        return self.optimiser.length.steps(self.steps_per_epoch(member))

    def epochs(self, member: Member) -> int:
        """Passes over the member's clips, the last of which may be cut short."""
        return -(-self.steps(member) // self.steps_per_epoch(member))

    def dispatch(self, members: Sequence[Member]) -> int:
        """Steps of one dispatch: as the options say, or the longest member's epoch.

        No more than the longest training has: what is done would be computed all the
        same.
        """
        asked = self.options.scan_steps or max(map(self.steps_per_epoch, members))
        return min(asked, max(map(self.steps, members)))

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

    def constants(self, index: np.ndarray) -> Mapping[str, Leaf]:
        """A fold's constants, made of some clips; no other is in reach.

        Args:
            index: clips [n].
        """
        columns = self.rows(index, list(self.columns))
        return self.system.fold_context(self.store.clips.take(index), columns)

    def rows(self, index: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Some columns, by name.

        Args:
            index: clips [...].
            names: of the columns.
        """
        return {name: self.columns[name][index] for name in names}


class Stack:
    """`size` members' programs on the devices at hand, and the data they are given.

    steps: of a dispatch; calls: dispatches until the longest member is done.

    Args:
        plan: of the run.
        members: all of the run; the longest decide.
        size: how many train together.
    """

    def __init__(self, plan: Plan, members: Sequence[Member], size: int):
        self.plan, self.size = plan, size
        self._first = members[0]
        self._folds: dict[str, Mapping[str, Leaf]] = {}
        self.mesh = sharding.make_mesh(size, plan.options.batch_size)
        self.steps = plan.dispatch(members)
        self.calls = -(-max(map(plan.steps, members)) // self.steps)
        # About once an epoch, at steps that all members of the run share: what is
        # selected must not depend on who trains beside whom.
        longest = max(map(plan.steps_per_epoch, members))
        self.evaluate_every = max(1, round(longest / self.steps))

    @functools.cached_property
    def programs(self) -> Programs:
        """What is compiled, each at its first use."""
        plan = self.plan
        spec = Spec(
            held=plan.store.held_shape,
            frames=plan.store.sent_shape,
            columns=_shapes({name: c[0] for name, c in plan.columns.items()}),
            run=_shapes(plan.context.run),
            fold=_shapes(self._fold_context(self._first.fold)),
            start=_shapes(dict(plan.start)),
            steps=self.steps,
        )
        return Programs(
            plan.system,
            plan.optimiser,
            plan.options,
            spec,
            size=self.size,
            mesh=self.mesh,
        )

    @functools.cached_property
    def flops(self) -> float:
        """FLOPs of one step of one member."""
        return training_flops(self.programs)

    @functools.cached_property
    def held(self) -> Array:
        """The clips that lie on the devices for good."""
        return self.plan.store.held(sharding.replicated(self.mesh))

    @functools.cached_property
    def run(self) -> Leaf:
        """The run's constants."""
        return put(self.plan.context.run, sharding.replicated(self.mesh))

    def context(self, stacked: Sequence[Member]) -> Context:
        """The run's constants, and those of each member's fold, [m, ...].

        A fold's constants are made from its training clips, and nothing else is in
        reach of the system that makes them.
        """
        return self._context([self._fold_context(m.fold) for m in stacked])

    def answering(self, context: Context, indices: Sequence[np.ndarray]) -> Context:
        """The constants under which each member answers clips.

        Args:
            context: of the members' training.
            indices: the clips [n] of each member.
        """
        if not self.plan.system.transductive:
            return context
        return self._context([self.plan.constants(index) for index in indices])

    def _context(self, folds: Sequence[Mapping[str, Leaf]]) -> Context:
        fold = jax.tree.map(lambda *leaves: jnp.stack(leaves), *folds)
        return Context(run=self.run, fold=put(fold, sharding.by_member(self.mesh)))

    def _fold_context(self, fold: Fold) -> Mapping[str, Leaf]:
        # Seeds of one fold share it, and so do the repeats that fill a group up.
        if fold.name not in self._folds:
            made = self.plan.constants(fold.train)
            if fold.name in self.plan.variants:
                variant = jnp.asarray(self.plan.variants[fold.name])
                made = {**made, "variant": variant}
            self._folds[fold.name] = made
        return self._folds[fold.name]

    def members(self, stacked: Sequence[Member]) -> StepMember:
        """Keys and lengths, [m]."""
        per_epoch = [self.plan.steps_per_epoch(m) for m in stacked]
        keys = jnp.stack([jax.random.key(m.data_seed) for m in stacked])
        member = StepMember(
            key=jax.random.key_data(keys),
            steps_per_epoch=jnp.asarray(per_epoch, jnp.int32),
            steps=jnp.asarray([self.plan.steps(m) for m in stacked], jnp.int32),
        )
        member = put(member, sharding.by_member(self.mesh))
        return member.replace(key=jax.random.wrap_key_data(member.key))

    def init(self, keys: Array) -> TrainState:
        """States at step 0 of keys [m]: random where the plan's start has nothing."""
        start = put(dict(self.plan.start), sharding.replicated(self.mesh))
        return self.programs.init(keys, start)

    def train(
        self, context: Context, state: TrainState, member: StepMember, batches: Batch
    ) -> tuple[TrainState, dict[str, Array]]:
        """Run a dispatch of every member.

        Args:
            context: of the run and the folds.
            state: of the members; its buffers are given away.
            member: keys and lengths.
            batches: of `batches`.

        Returns:
            The next state, and scalars [k, m] by name.
        """
        return self.programs.train(self.held, context, state, member, batches)

    def predict(self, context: Context, state: TrainState, batch: Batch) -> Outputs:
        """Outputs [m, b, ...] by name.

        Args:
            context: of the run and the folds.
            state: of the members.
            batch: of `tests`.
        """
        return self.programs.predict(self.held, context, state, batch)

    def batches(self, index: np.ndarray, sent: Array) -> Batch:
        """Training batches.

        Args:
            index: clips [k, m, b].
            sent: what `ClipStore` has sent of their frames.
        """
        columns = self.plan.rows(index, list(self.plan.columns))
        return {"frames": sent} | put(columns, self.programs.scanned)

    def tests(self, index: np.ndarray) -> Batch:
        """A batch of clips [m, b] to predict: no column but the system's inputs."""
        single = self.programs.single
        sent = self.plan.store.put(index, None, single)
        columns = self.plan.rows(index, self.plan.system.inputs)
        return {"frames": sent} | put(columns, single)


def _shapes(tree: Leaf) -> Leaf:
    """Shapes of arrays, in the dtypes that a device gives them."""
    return jax.eval_shape(lambda x: x, tree)
