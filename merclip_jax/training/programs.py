"""The programs of a stack: what is compiled, once a run, for a mesh of devices.

They are compiled from shapes alone, so that what a run will need is known before it
begins, and for devices that are not there (`benchmarks/aot.py`).
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from merclip_jax.data.gather import gather
from merclip_jax.systems.system import Batch, Context, Outputs, System
from merclip_jax.training import sharding
from merclip_jax.training.compiler import compiled
from merclip_jax.training.optim import Optimiser
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.step import (
    StepMember,
    TrainState,
    init_state,
    predict_step,
    train_step,
)
from merclip_jax.typing import Array, Leaf

Shape = jax.ShapeDtypeStruct


@dataclasses.dataclass(frozen=True)
class Spec:
    """Shapes of all that programs are given.

    held: the frames that lie on the devices, as `data.gather.shelf`, or [0]; frames:
    what is sent of one clip's; columns: the system's, of one clip; run, fold: a
    `Context`'s of one member; start: Flax paths to what members start from; steps: in
    a dispatch.
    """

    held: Shape
    frames: Shape
    columns: Mapping[str, Shape]
    run: Any
    fold: Any
    start: Mapping[str, Shape]
    steps: int


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device while a training call runs.

    arguments: states, held clips, constants and batches; temporaries: activations and
    gradients; code: of the program.
    """

    arguments: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.arguments + self.temporaries + self.code


class Programs:
    """Initialisation, training and prediction of `size` members on a mesh.

    Args:
        system: the method.
        optimiser: what moves its parameters.
        options: of the training.
        spec: shapes of the data.
        size: members trained together, m.
        mesh: of the devices, there or not.
    """

    def __init__(
        self,
        system: System,
        optimiser: Optimiser,
        options: TrainOptions,
        spec: Spec,
        *,
        size: int,
        mesh: Mesh,
    ):
        self.system, self.optimiser, self.options = system, optimiser, options
        self.spec, self.size, self.mesh = spec, size, mesh
        self.by_member = sharding.by_member(mesh)
        self.everywhere = sharding.replicated(mesh)
        self.scanned = sharding.by_batch(mesh, scanned=True)
        self.single = sharding.by_batch(mesh, scanned=False)
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size))
        counts = Shape((size,), jnp.int32)
        self.member = StepMember(keys, counts, counts)
        self.state = jax.eval_shape(self._initial_state, keys, dict(spec.start))
        self.states = sharding.of_state(mesh, self.state, fsdp=options.fsdp)
        self.context = Context(run=spec.run, fold=_leading(spec.fold, (size,)))
        self._contexts = Context(
            run=jax.tree.map(lambda _: self.everywhere, spec.run),
            fold=jax.tree.map(lambda _: self.by_member, spec.fold),
        )

    @functools.cached_property
    def init(self) -> jax.stages.Compiled:
        """(keys [m], start) to states at step 0: random where `start` has nothing."""
        return self._compiled(self.lower_init())

    @functools.cached_property
    def train(self) -> jax.stages.Compiled:
        """(held, context, state, member, batches) to the next state, scalars [k, m]."""
        if self._platform == "cpu":
            return self._compiled(self.lower_train())
        # An accelerator's compilers take a minute over all the random numbers of `init`
        # too: not after this one, but beside it, on another of the host's cores.
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            other = beside.submit(lambda: self.init)
            program = self._compiled(self.lower_train())
            other.result()
        return program

    @functools.cached_property
    def predict(self) -> jax.stages.Compiled:
        """(held, context, state, batch) to outputs [m, b, ...] by name."""
        return self._compiled(self.lower_predict())

    def lower_init(self) -> jax.stages.Lowered:
        """`init`, not compiled yet."""
        function = jax.jit(
            self._initial_state,
            in_shardings=(self.by_member, self.everywhere),
            out_shardings=self.states,
        )
        return self._lower(function, self.member.key, dict(self.spec.start))

    def lower_train(self) -> jax.stages.Lowered:
        """`train`, not compiled yet."""
        return self.traced.lower()

    @functools.cached_property
    def traced(self) -> jax.stages.Traced:
        """`train` as JAX traces it."""
        # The old state's memory is given to the new one: a stack fills the device.
        function = jax.jit(
            self._steps,
            in_shardings=(
                self.everywhere,
                self._contexts,
                self.states,
                self.by_member,
                self.scanned,
            ),
            out_shardings=(self.states, self.everywhere),
            donate_argnums=2,
        )
        batches = self.batches((self.spec.steps, self.size), list(self.spec.columns))
        with self._on_mesh():
            return function.trace(
                self.spec.held, self.context, self.state, self.member, batches
            )

    def lower_predict(self) -> jax.stages.Lowered:
        """`predict`, not compiled yet."""
        function = jax.jit(
            self._answers,
            in_shardings=(self.everywhere, self._contexts, self.states, self.single),
            out_shardings=self.everywhere,
        )
        return self._lower(function, *self._asked())

    def outputs(self) -> dict[str, Shape]:
        """Shapes [m, b, ...] of what `predict` answers."""
        return jax.eval_shape(self._answers, *self._asked())

    def memory(self) -> Memory:
        """What a training call needs on a device."""
        use = self.train.memory_analysis()
        return Memory(
            arguments=use.argument_size_in_bytes
            + use.output_size_in_bytes
            - use.alias_size_in_bytes,
            temporaries=use.temp_size_in_bytes,
            code=use.generated_code_size_in_bytes,
        )

    def batches(self, lead: tuple[int, ...], columns: list[str]) -> dict[str, Shape]:
        """Shapes of batches with leading axes `lead` and the clips of one behind it."""
        one = {"frames": self.spec.frames}
        one |= {name: self.spec.columns[name] for name in columns}
        return _leading(one, (*lead, self.options.batch_size))

    def _compiled(self, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
        return compiled(lowered, self._platform)

    @property
    def _platform(self) -> str:
        return self.mesh.devices.flat[0].platform

    def _lower(self, function: jax.stages.Wrapped, *shapes: Leaf) -> jax.stages.Lowered:
        with self._on_mesh():
            return function.lower(*shapes)

    def _on_mesh(self):
        # What each device does to its own clips alone (`per_device`) asks for the mesh.
        return jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh)

    def _asked(self) -> tuple:
        batch = self.batches((self.size,), list(self.system.inputs))
        return self.spec.held, self.context, self.state, batch

    def _initial_state(self, keys: Array, start: Mapping[str, Array]) -> TrainState:
        # One clip of zeros: an initialisation reads shapes alone.
        one = {"frames": jnp.zeros((1, *self.system.view.shape), jnp.float32)}
        columns = self.spec.columns.items()
        one |= {name: jnp.zeros((1, *x.shape), x.dtype) for name, x in columns}

        def init(key):
            # The start inside of what is compiled: no host holds a stack of copies.
            return init_state(self.system, self.optimiser, key, one, start)

        return jax.vmap(init)(keys)

    def _steps(
        self,
        held: Array,
        context: Context,
        state: TrainState,
        member: StepMember,
        batches: Batch,
    ) -> tuple[TrainState, dict[str, Array]]:
        step = self._each_member(
            lambda context, state, member, batch: train_step(
                self.system, self.optimiser, context, state, member, batch
            )
        )

        def body(state, batch):
            # One step's pixels at a time: those of all steps may not fit.
            frames = self._gather(held, batch["frames"])
            return step(context, state, member, batch | {"frames": frames})

        return jax.lax.scan(body, state, batches)

    def _answers(
        self, held: Array, context: Context, state: TrainState, batch: Batch
    ) -> Outputs:
        predict = self._each_member(
            lambda context, state, batch: predict_step(
                self.system, context, state, batch
            )
        )
        frames = self._gather(held, batch["frames"])
        return predict(context, state, batch | {"frames": frames})

    def _each_member(self, function: Callable[..., Leaf]) -> Callable[..., Leaf]:
        """A function of a member's context and arrays, for all of the stack."""
        shared, places = self.mesh.shape["data"] > 1, self.mesh.shape["member"]
        if shared and self.size > 1:
            return _side_by_side(function, spmd_axis_name="member")
        # A batch of one makes XLA lay out products otherwise: a step of one member on
        # a TPU moves a quarter more, and on a GPU writes biases as large as products.
        one_each = self.size == places
        own = _alone(function) if one_each else _side_by_side(function)
        if self.mesh.size == 1 or shared:
            return own

        def on_its_device(context: Context, *arrays: Leaf) -> Leaf:
            return jax.shard_map(
                own,
                mesh=self.mesh,
                in_specs=(
                    Context(run=P(), fold=P("member")),
                    *(P("member"),) * len(arrays),
                ),
                out_specs=P("member"),
                check_vma=False,  # kernels do not tell what their results vary over
            )(context, *arrays)

        return on_its_device

    def _gather(self, held: Array, sent: Array) -> Array:
        return gather(held, sent, self.system.view.shape[1:])


def _leading(tree: Leaf, lead: tuple[int, ...]) -> Leaf:
    """Shapes with more axes in front."""
    return jax.tree.map(lambda x: Shape((*lead, *x.shape), x.dtype), tree)


def _side_by_side(function: Callable[..., Leaf], **options: str) -> Callable[..., Leaf]:
    """Members as a batch."""

    def call(context: Context, *arrays: Leaf) -> Leaf:
        axes = Context(run=None, fold=0), *(0 for _ in arrays)
        return jax.vmap(function, in_axes=axes, **options)(context, *arrays)

    return call


def _alone(function: Callable[..., Leaf]) -> Callable[..., Leaf]:
    """A stack of one, without its leading axis."""

    def call(context: Context, *arrays: Leaf) -> Leaf:
        fold, *arrays = jax.tree.map(lambda x: x[0], (context.fold, *arrays))
        made = function(context.replace(fold=fold), *arrays)
        return jax.tree.map(lambda x: x[None], made)

    return call
