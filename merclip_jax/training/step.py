"""One member's step as pure functions; a stack is their `vmap`.

A member is one fold with one seed. Every function here sees a single member; leaves of
a stack carry a leading axis m. No model is named here: a method is a `System`.
"""

from collections.abc import Mapping

import flax
import jax
import jax.numpy as jnp

from merclip_jax.systems.system import Batch, Context, Outputs, Scalar, System
from merclip_jax.training.merge import with_start
from merclip_jax.training.optim import Optimiser, global_norm
from merclip_jax.training.packed import Packed, pack
from merclip_jax.typing import Array, Leaf

# What every step reports beside its system's own scalars.
SCALARS = (
    Scalar("lr", "Learning rate", ".1e"),
    Scalar("grad_norm", "Norm of the gradients", ""),
    Scalar("param_norm", "Norm of the parameters", ""),
)


class TrainState(flax.struct.PyTreeNode):
    """What a step changes: step count (), Flax variables, the optimiser's moments."""

    step: Leaf
    variables: Packed
    opt_state: Leaf


class StepMember(flax.struct.PyTreeNode):
    """What a step reads of its member: random key and the lengths of its training.

    `steps_per_epoch` is ceil(training clips / batch), `steps` those of the whole
    training. A stack runs as long as its longest member; the others then stand still.
    """

    key: Leaf
    steps_per_epoch: Leaf
    steps: Leaf


def init_state(
    system: System,
    optimiser: Optimiser,
    key: jax.Array,
    batch: Batch,
    start: Mapping[str, Array] | None = None,
) -> TrainState:
    """A member's state at step 0.

    Args:
        system: the method; static.
        optimiser: static too.
        key: the member's.
        batch: gives shapes alone.
        start: Flax paths to what is there already, in place of random numbers.
    """
    variables = system.init(jax.random.fold_in(key, 0), batch)
    packed = pack(with_start(variables, start or {}), optimiser.alike)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        variables=packed,
        opt_state=optimiser.tx.init(packed.arrays["params"]),
    )


def train_step(
    system: System,
    optimiser: Optimiser,
    context: Context,
    state: TrainState,
    member: StepMember,
    batch: Batch,
) -> tuple[TrainState, dict[str, Array]]:
    """One optimisation step of one member.

    Args:
        system: the method; static.
        optimiser: static too.
        context: constants of the run and of the member's fold.
        state: the member's.
        member: its key and lengths.
        batch: frames [b, t, h, w, c] and the system's columns [b, ...].

    Returns the new state, and the system's scalars with `SCALARS`. Random draws are a
    function of the member's key and the step. A member that has done all its steps
    comes back unchanged.
    """
    # Step 0 drew the initial variables, so the first step draws with 1.
    key = jax.random.fold_in(member.key, state.step + 1)
    epoch = state.step // member.steps_per_epoch
    packed, variables = state.variables, state.variables.unpack()

    def loss(params):
        own = variables | {"params": params}
        return system.loss(own, context, batch, key=key, epoch=epoch)

    grads, (changed, scalars) = jax.grad(loss, has_aux=True)(variables["params"])
    # While it is traced: at run time this costs nothing.
    declared = {scalar.name for scalar in system.scalars}
    if set(scalars) != declared or "loss" not in declared:
        raise ValueError(
            f"{system.name}: reports the scalars {sorted(scalars)}, declares "
            f"{sorted(declared)}; they must be the same, and one of them 'loss'"
        )
    grads, params = packed.placed("params", grads), packed.arrays["params"]
    updates, opt_state = optimiser.tx.update(grads, state.opt_state, params)
    rate = optimiser.rate(state.step, member.steps_per_epoch)
    moved = jax.tree.map(lambda p, u: p - rate * u, params, updates)
    new = TrainState(
        step=state.step + 1,
        variables=packed.replace(
            arrays={
                **packed.arrays,
                **{name: packed.placed(name, tree) for name, tree in changed.items()},
                "params": moved,
            }
        ),
        opt_state=opt_state,
    )
    # Selecting, rather than stopping, lets members of other lengths share a program.
    running = state.step < member.steps
    new = jax.tree.map(lambda a, b: jnp.where(running, a, b), new, state)
    return new, scalars | {
        "lr": rate,
        "grad_norm": global_norm(grads),
        "param_norm": global_norm(params),
    }


def predict_step(
    system: System, context: Context, state: TrainState, batch: Batch
) -> Outputs:
    """What a member says of a batch, which holds no target."""
    return system.predict(state.variables.unpack(), context, batch)
