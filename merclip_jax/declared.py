"""What a value of a config may be, declared once in the type of its field.

A dataclass of options annotates its fields: `float` and `tuple[str, ...]` say a type,
`Annotated[float, Range(0, 1)]` a range, `Annotated[str, OneOf(...)]` a vocabulary.
`problems` reads these declarations; nothing else checks a single value.
"""

import dataclasses
import functools
import math
import re
import typing
from collections.abc import Collection, Mapping, Sequence

T = typing.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `above`, `below`: without the end itself."""

    low: int | float
    high: int | float
    above: bool = False
    below: bool = False

    def problem(self, value: int | float) -> str:
        """Returns what was expected, "" for a value in the range."""
        low = value > self.low or (value == self.low and not self.above)
        high = value < self.high or (value == self.high and not self.below)
        if low and high:
            return ""
        start = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        end = f"below {self.high:g}" if self.below else f"to {self.high:g}"
        return f"expected a number {start} {end}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A vocabulary, or the keys of a table."""

    words: Collection[str | int]

    def problem(self, value: str | int) -> str:
        """Returns what was expected, "" for a word of the vocabulary."""
        known = list(self.words)
        return "" if value in known else f"expected one of {known}"


@dataclasses.dataclass(frozen=True)
class Matches:
    """Text of a form: a regular expression, and the form in words."""

    pattern: str
    form: str

    def problem(self, value: str) -> str:
        """Returns what was expected, "" for a text of the form."""
        return "" if re.fullmatch(self.pattern, value) else f"expected {self.form}"


@dataclasses.dataclass(frozen=True)
class Regex:
    """Regular expressions, of Python's `re`."""

    def problem(self, value: str) -> str:
        """Returns what is wrong with an expression, "" for a sound one."""
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            return f"{value!r} is no regular expression ({error})"
        return ""


def problems(kind: type, values: Mapping[str, object]) -> dict[str, str]:
    """What is wrong with values for a dataclass of options.

    Args:
        kind: the dataclass.
        values: field -> value; fields without one keep their default.

    Returns:
        field -> what is wrong, of those with something wrong.
    """
    hints = _hints(kind)
    found = {}
    for name, value in values.items():
        if problem := _problem(value, hints[name]):
            found[name] = f"{_short(value)}: {problem}"
    return found


def make(kind: type[T], values: Mapping[str, object]) -> T:
    """A dataclass of options from values in which `problems` finds nothing.

    Whole numbers become floats where floats are declared. Raises ValueError for values
    that do not go together.
    """
    hints = _hints(kind)
    floats = {name for name in values if _plain(hints[name]) is float}
    return kind(**values | {name: float(values[name]) for name in floats})


def check(options: object) -> None:
    """Raises ValueError for a dataclass with a value that its fields do not declare."""
    values = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    if found := problems(type(options), values):
        raise ValueError("; ".join(f"{name}={text}" for name, text in found.items()))


@functools.cache
def _hints(kind: type) -> dict[str, object]:
    return typing.get_type_hints(kind, include_extras=True)


def _plain(hint: object) -> object:
    """A type without its limits."""
    annotated = typing.get_origin(hint) is typing.Annotated
    return typing.get_args(hint)[0] if annotated else hint


def _problem(value: object, hint: object) -> str:
    """What is wrong with a value of a declared type, "" for nothing."""
    limits: Sequence[object] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *limits = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return _of_parts(value, typing.get_args(hint), limits)
    if text := _of_type(value, hint):
        return text
    return next(filter(None, (limit.problem(value) for limit in limits)), "")


def _of_parts(value: object, hints: Sequence, limits: Sequence) -> str:
    """A tuple's problem; its limits are those of every part."""
    if not isinstance(value, tuple):
        return "expected several values, in parentheses"
    if hints[-1] is Ellipsis:
        hints = [hints[0]] * len(value)
    if len(value) != len(hints):
        return f"expected {len(hints)} values, found {len(value)}"
    for part, hint in zip(value, hints, strict=True):
        if limits:
            hint = typing.Annotated[hint, *limits]
        if text := _problem(part, hint):
            return text if text.startswith("of ") else f"of {_short(part)}: {text}"
    return ""


def _of_type(value: object, kind: type) -> str:
    """A plain value's problem; a whole number is a float too, a bool no number."""
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) != (kind is bool)):
        return f"expected {_NAMES[kind]}"
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number"
    # Every text ends in a file name, a page or a table.
    if kind is str and not value.isprintable():
        return "expected printable text"
    if kind is str and len(value) > _LONGEST:
        return f"expected at most {_LONGEST} characters"
    return ""


_LONGEST = 4096
_NAMES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text, in quotes",
}


def _short(value: object) -> str:
    """A value as Python writes it, the middle of a long one left out."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no int of more than 4300 digits
        text = f"a number of {value.bit_length()} bits"
    return text if len(text) <= 100 else f"{text[:60]}...{text[-20:]}"
