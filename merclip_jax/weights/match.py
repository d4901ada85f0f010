"""Applies rule tables to checkpoints, there and back; all problems are collected."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.weights.families.rules import IGNORED, Layout, Rule

SHOWN = 10  # problems that an error prints
Why = tuple[str, str]  # (regular expression of keys or paths, the reason)


class ConversionError(ValueError):
    """A checkpoint that does not fit: the message lists every problem found."""


def flatten(tree: Mapping) -> dict[str, object]:
    """A nested dict as {"params/block_0/...": leaf}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(k.key for k in path): leaf for path, leaf in leaves}


def unflatten(flat: Mapping[str, object]) -> dict:
    """The inverse of `flatten`."""
    tree: dict = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


@dataclasses.dataclass
class Placement:
    """Where a file's arrays go, or why not; `keys` are the file's, by Flax path.

    `bad` are the paths of arrays that are unusable, each of which is a problem too.
    """

    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    dropped: dict[str, str] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)
    bad: set[str] = dataclasses.field(default_factory=set)


def place(
    state: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    *,
    dropped: Sequence[Why] = (),
    names: Mapping[str, tuple[str, ...]] | None = None,
) -> Placement:
    """Official keys and arrays to Flax paths and layouts.

    `names` are the keys as the file has them, where they differ. What no rule knows, is
    not finite or of another rank is a problem.
    """
    compiled = [(re.compile(pattern), path, lay) for pattern, path, lay in rules]
    reasons = [(re.compile(pattern), why) for pattern, why in dropped]
    done = Placement()
    for key, array in state.items():
        sources = (names or {}).get(key, (key,))
        shown = sources[0] if len(sources) == 1 else " + ".join(sources)
        if IGNORED.fullmatch(key):
            done.dropped |= dict.fromkeys(sources, "a counter that nothing reads")
            continue
        hits = [(m, p, lay) for r, p, lay in compiled if (m := r.fullmatch(key))]
        if not hits:
            why = next((why for r, why in reasons if r.fullmatch(key)), None)
            if why:
                done.dropped |= dict.fromkeys(sources, why)
            else:
                done.problems.append(f"{shown}: no place for it in this model")
            continue
        match, path, layout = hits[0]
        path = path.format(*match.groups())
        try:
            array = layout.to_flax(np.asarray(array))
        except ValueError as error:
            done.problems.append(f"{shown}: {error}")
            done.bad.add(path)
            continue
        if path in done.arrays:
            done.problems.append(f"{shown}: {path} is already filled")
        elif array.dtype.kind in "iub":
            done.problems.append(f"{shown}: {array.dtype}, expected real numbers")
            done.bad.add(path)
        elif why := not_finite(array):
            done.problems.append(f"{shown}: {why}")
            done.bad.add(path)
        else:
            done.arrays[path] = array
            done.keys[path] = sources
    return done


def not_finite(array: np.ndarray) -> str:
    """Why an array cannot be used as float32, "" when it can."""
    # The sum is finite or not as its terms are, short of overflow; it copies nothing.
    with np.errstate(all="ignore"):
        total = array.sum(dtype=np.float32)
        if np.isfinite(total) or np.isfinite(array.astype(np.float32)).all():
            return ""
    finite = np.isfinite(array).all()
    return "holds numbers beyond float32" if finite else "holds NaN or infinity"


def to_flax(
    state: Mapping[str, np.ndarray], rules: list[Rule], expected: Mapping
) -> dict:
    """Official keys and arrays to Flax variables.

    `expected` is the variables' tree of shapes (`jax.eval_shape` of init); the result
    has exactly its leaves, as NumPy arrays of the file's dtype. Raises ConversionError
    that lists unknown keys, keys that map twice, missing leaves and wrong shapes.
    """
    placed = place(state, rules)
    shapes = {path: leaf.shape for path, leaf in flatten(expected).items()}
    problems = list(placed.problems)
    for path, array in placed.arrays.items():
        key = placed.keys[path][0]
        if path not in shapes:
            problems.append(f"{key}: this model has no {path}")
        elif array.shape != shapes[path]:
            problems.append(f"{key}: {array.shape} does not fit {path} {shapes[path]}")
    missing = shapes.keys() - placed.arrays.keys() - placed.bad
    problems += [f"{path}: missing from the file" for path in missing]
    if problems:
        raise ConversionError(
            f"{len(problems)} problems in conversion:\n  "
            + "\n  ".join(sorted(problems))
        )
    return unflatten(placed.arrays)


def to_torch(
    arrays: Mapping[str, np.ndarray], rules: Sequence[Rule]
) -> dict[str, np.ndarray]:
    """Flax paths and arrays to official keys and layouts, the inverse of `place`.

    Raises ConversionError that lists the paths which have no official key.
    """
    inverse = [_inverted(rule) for rule in rules]
    state, lost = {}, []
    for path, array in arrays.items():
        hits = [(m, k, lay) for r, k, lay in inverse if (m := r.fullmatch(path))]
        if not hits:
            lost.append(f"{path}: the official model has nothing like it")
            continue
        match, key, layout = hits[0]
        key = key.format(**match.groupdict())
        try:
            official = layout.to_torch(np.asarray(array))
        except ValueError:
            lost.append(
                f"{path}: expected the official model's shape, not {array.shape}"
            )
            continue
        state[key] = np.require(official, requirements="C")
        if key.endswith(".running_var"):  # torch's BatchNorm counts its batches
            counter = key.removesuffix("running_var") + "num_batches_tracked"
            state[counter] = np.zeros((), np.int64)
    if lost:
        raise ConversionError(listed(f"{len(lost)} problems in conversion", lost))
    return state


def listed(headline: str, problems: Iterable[str]) -> str:
    """A headline and the first ten problems, a line each."""
    problems = sorted(problems)
    lines = [headline + ":", *problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN} more")
    return "\n  ".join(lines)


def fail(name: str, problems: Sequence[str]) -> UserError:
    """The one error about a file that does not fit: its name and the first problems."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return UserError(listed(f"{name}: {count}", problems))


def _inverted(rule: Rule) -> tuple[re.Pattern, str, Layout]:
    pattern, path, layout = rule
    count = iter(range(9))
    key = re.sub(r"\(\\d\+?\)", lambda _: f"{{g{next(count)}}}", pattern)
    back = re.sub(r"\\\{(\d)\\\}", r"(?P<g\1>\\d+)", re.escape(path))
    return re.compile(back), key.replace("\\", ""), layout
