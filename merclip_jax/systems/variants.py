"""Variants of one system side by side: each member of a stack is one of them.

The rows of an ablation table differ in little. Where that is only what their clips are
told (sentences, targets) or a number of the loss, one program serves all of them: what
differs is then an array, and a member says which of its rows is its own.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.data.clips import Clips
from merclip_jax.systems.system import (
    Batch,
    Context,
    Execution,
    Outputs,
    System,
    Variables,
)
from merclip_jax.typing import Array, Leaf

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Variants:
    """Systems that are alike but in fields that one program can serve.

    systems: these; differing: columns in which they do, [n, v, ...] here. The numbers
    in which they differ lie in the run's constants, [v] by their paths. What else a
    `System` says is what the first of them says.
    """

    systems: tuple[System, ...]
    differing: tuple[str, ...]
    execution: Execution = Execution()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of Python, which asks before there are fields
            raise AttributeError(name)
        return getattr(self.systems[0], name)

    def fold_context(
        self, train_clips: Clips, columns: Mapping[str, np.ndarray]
    ) -> dict[str, Any]:
        """What each makes of a fold's training clips, [v, ...]."""
        made = [
            system.fold_context(train_clips, self._columns(columns, v))
            for v, system in enumerate(self.systems)
        ]
        return {"made": _stacked(made)}

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """A member's variables at step 0, the same for all."""
        return self.systems[0].init(key, self._columns(batch, 0))

    def loss(
        self,
        variables: Variables,
        context: Context,
        batch: Batch,
        *,
        key: jax.Array,
        epoch: Array,
    ) -> tuple[Array, tuple[Variables, dict[str, Array]]]:
        """The loss of the variant that the member is."""
        variant = context.fold["variant"]
        numbers = {k: v[variant] for k, v in context.run["numbers"].items()}
        system = with_fields(self.systems[0], numbers)
        system = dataclasses.replace(system, execution=self.execution)
        own = self._own(context), self._columns(batch, variant)
        return system.loss(variables, *own, key=key, epoch=epoch)

    def predict(self, variables: Variables, context: Context, batch: Batch) -> Outputs:
        """What the variant says that the member is."""
        own = self._own(context), self._columns(batch, context.fold["variant"])
        return self.systems[0].predict(variables, *own)

    def _own(self, context: Context) -> Context:
        variant = context.fold["variant"]
        run, fold = jax.tree.map(
            lambda x: x[variant], (context.run["made"], context.fold["made"])
        )
        return Context(run=run, fold=fold)

    def _columns(self, columns: Mapping[str, Leaf], variant: int | Array) -> dict:
        return {
            name: values[:, variant] if name in self.differing else values
            for name, values in columns.items()
        }


def alike(one: System, other: System) -> bool:
    """Whether one program can serve both, given what differs as arrays."""
    if type(one) is not type(other) or one.transductive:
        return False
    fields = (*one.data_fields, *one.array_fields)
    return with_fields(other, {path: field(one, path) for path in fields}) == one


def side_by_side(
    systems: Sequence[System],
    columns: Sequence[Mapping[str, np.ndarray]],
    contexts: Sequence[Mapping[str, Leaf]],
) -> tuple[Variants, dict[str, np.ndarray], dict[str, Any]]:
    """Systems that are `alike` as one.

    Args:
        systems: these.
        columns: of each, the same clips'.
        contexts: each one's constants of the run; shorter arrays are filled up with
            zeros, which no clip of theirs points at.

    Returns:
        The system, its columns, its constants of the run.
    """
    first = systems[0]
    numbers = {
        path: jnp.asarray([field(system, path) for system in systems])
        for path in first.array_fields
        if len({field(system, path) for system in systems}) > 1
    }
    joined, differing = {}, []
    for name, values in columns[0].items():
        of_each = [other[name] for other in columns]
        if any(not np.array_equal(values, other) for other in of_each):
            differing.append(name)
            values = np.stack(of_each, 1)
        joined[name] = values
    made = Variants(tuple(systems), tuple(differing), execution=first.execution)
    return made, joined, {"numbers": numbers, "made": _stacked(contexts)}


def field(options: object, path: str) -> Any:
    """The value of a dataclass's field, by its path."""
    value = options
    for name in path.split("."):
        value = getattr(value, name)
    return value


def with_fields(options: T, values: Mapping[str, Any]) -> T:
    """A dataclass with other values of some fields; unchecked, as they may be arrays.

    Args:
        options: which stays as it is.
        values: by paths such as "loss_options.contrastive_start".
    """
    made = copy.copy(options)
    inner: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            object.__setattr__(made, name, value)  # frozen, and ours alone
    for name, fields in inner.items():
        object.__setattr__(made, name, with_fields(getattr(made, name), fields))
    return made


def _stacked(trees: Sequence[Leaf]) -> Leaf:
    """Trees of arrays [...] as one of [v, ...], each filled up to the largest."""

    def stack(*leaves: Array) -> Array:
        size = np.max([x.shape for x in leaves], axis=0).astype(int)
        filled = [
            jnp.pad(x, [(0, n - k) for n, k in zip(size, x.shape, strict=True)])
            for x in leaves
        ]
        return jnp.stack(filled)

    return jax.tree.map(stack, *trees)
