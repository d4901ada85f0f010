"""The arithmetic of a step: its products, counted in what JAX traces."""

import dataclasses
import math

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from merclip_jax.systems.system import Execution
from merclip_jax.training.programs import Programs
from merclip_jax.training.step import predict_step, train_step


def training_flops(programs: Programs) -> int:
    """FLOPs of one training step of one member: its matrix products and convolutions.

    A multiplication with its addition counts 2. What `remat` and `microbatch` compute
    again is not counted, nor what is done to single numbers: this is what model FLOPs
    utilisation (MFU) is measured by.

    Args:
        programs: of the training.
    """
    system = dataclasses.replace(programs.system, execution=Execution())
    one = _member(programs, columns=list(programs.spec.columns))
    traced = jax.make_jaxpr(
        lambda *args: train_step(system, programs.optimiser, *args)
    )(one["context"], one["state"], one["member"], one["batch"])
    return products(traced.jaxpr)


def prediction_flops(programs: Programs) -> int:
    """FLOPs of predicting one batch with one member, counted the same way."""
    one = _member(programs, columns=list(programs.system.inputs))
    traced = jax.make_jaxpr(lambda *args: predict_step(programs.system, *args))(
        one["context"], one["state"], one["batch"]
    )
    return products(traced.jaxpr)


def products(jaxpr: Jaxpr) -> int:
    """FLOPs of the products in a traced function; of branches the costliest."""
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * out * math.prod(left[i] for i in contracted)
        elif name == "conv_general_dilated":
            # Each output is a sum over a kernel's places and its input channels.
            kernel = equation.invars[1].aval.shape
            features = params["dimension_numbers"].rhs_spec[0]
            total += 2 * out * math.prod(kernel) // kernel[features]
        elif name == "cond":
            total += max(products(_open(branch)) for branch in params["branches"])
        else:
            inner = sum(
                products(_open(value))
                for value in params.values()
                if isinstance(value, Jaxpr | ClosedJaxpr)
            )
            total += inner * params.get("length", 1)
    return total


def _member(programs: Programs, *, columns: list[str]) -> dict[str, object]:
    """Shapes of what one member's step is given."""
    batch = programs.batches((), columns)
    b, view = programs.options.batch_size, programs.system.view
    batch["frames"] = jax.ShapeDtypeStruct((b, *view.shape), "uint8")
    first = jax.tree.map(_without_member, (programs.state, programs.member))
    context = dataclasses.replace(
        programs.context, fold=jax.tree.map(_without_member, programs.context.fold)
    )
    return {
        "context": context,
        "state": first[0],
        "member": first[1],
        "batch": batch,
    }


def _without_member(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


def _open(value: Jaxpr | ClosedJaxpr) -> Jaxpr:
    return value.jaxpr if isinstance(value, ClosedJaxpr) else value
