"""A system as plain JSON, and back: what a folder of its weights says of it."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def to_json(system) -> dict:
    """Name and numbers of a system or any frozen dataclass of options.

    Fields that do not count in comparisons (a text tower, say) are left out.
    """
    told = {"name": system.name} if hasattr(system, "name") else {}
    for field in _fields(type(system)):
        value = getattr(system, field.name)
        told[field.name] = to_json(value) if dataclasses.is_dataclass(value) else value
    return told


def from_json(kind: type[T], told: Mapping) -> T:
    """The dataclass that `to_json` described.

    Raises ValueError that lists the fields which are lacking or unknown: a folder of
    another version is never read with today's defaults.
    """
    fields = {field.name for field in _fields(kind)}
    given = set(told) - ({"name"} - fields)
    if fields != given:
        raise ValueError(
            f"{kind.__name__}: lacks {sorted(fields - given)}, "
            f"unknown {sorted(given - fields)}"
        )
    types = typing.get_type_hints(kind)
    values = {}
    for name in fields:
        value = told[name]
        if dataclasses.is_dataclass(types[name]):
            value = from_json(types[name], value)
        values[name] = tuples(value)
    return kind(**values)


def _fields(kind: type) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(kind) if field.compare]


def tuples(value: object) -> object:
    """Lists as tuples at any depth: options are hashable, JSON and configs are not."""
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value
