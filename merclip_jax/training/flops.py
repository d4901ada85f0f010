"""The arithmetic of a training: its products, counted in what JAX traces."""

import dataclasses
import math

from jax.extend.core import ClosedJaxpr, Jaxpr

from merclip_jax.systems.system import Execution
from merclip_jax.training.programs import Programs


def training_flops(programs: Programs) -> float:
    """FLOPs of one training step of one member: matrix products and convolutions.

    A multiplication with its addition counts 2. What `remat` and `microbatch` compute
    again is not counted, nor what is done to single numbers: model FLOPs utilisation
    (MFU) is measured by this.

    Args:
        programs: of the training.
    """
    plain = programs
    if programs.system.execution != Execution():
        plain = Programs(
            dataclasses.replace(programs.system, execution=Execution()),
            programs.optimiser,
            programs.options,
            programs.spec,
            size=programs.size,
            mesh=programs.mesh,
        )
    total = products(plain.traced.jaxpr.jaxpr)
    return total / (programs.size * programs.spec.steps)


def products(jaxpr: Jaxpr) -> int:
    """FLOPs of the products in a traced function.

    Of branches the costliest counts; where a platform has one of its own, that of all
    others: a kernel may compute again what it did not keep, and cuDNN's shows nothing.
    """
    total = 0
    by_platform = set()
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
        if name == "platform_index":
            by_platform.add(equation.outvars[0])
        elif name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * out * math.prod(left[i] for i in contracted)
        elif name == "conv_general_dilated":
            # Each output is a sum over a kernel's places and its input channels.
            kernel = equation.invars[1].aval.shape
            features = params["dimension_numbers"].rhs_spec[0]
            total += 2 * out * math.prod(kernel) // kernel[features]
        elif name == "cond":
            costs = [products(_open(branch)) for branch in params["branches"]]
            # The default comes last.
            total += costs[-1] if equation.invars[0] in by_platform else max(costs)
        else:
            inner = sum(
                products(_open(value))
                for value in params.values()
                if isinstance(value, Jaxpr | ClosedJaxpr)
            )
            times = params.get("length", 1) if name == "scan" else 1
            if name == "pallas_call":
                times = math.prod(params["grid_mapping"].grid)
            total += inner * times
    return total


def _open(value: Jaxpr | ClosedJaxpr) -> Jaxpr:
    return value.jaxpr if isinstance(value, ClosedJaxpr) else value
