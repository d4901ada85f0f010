"""Rules applied to a file's arrays, and the arrays fitted to a module's shapes.

Nothing here raises for an array that does not fit: all problems are collected in the
part, so that a file is judged as a whole.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from merclip_jax.weights.adapt import adapt
from merclip_jax.weights.families.rules import IGNORED, Rule, Why
from merclip_jax.weights.part import Part
from merclip_jax.weights.problems import ConversionError

Shapes = dict[str, tuple[int, ...]]
_LAST = ("params/head/classifier/", "params/classifier/")


def place(
    state: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    *,
    kind: str = "video",
    dropped: Sequence[Why] = (),
    names: Mapping[str, tuple[str, ...]] | None = None,
) -> Part:
    """Official keys and arrays to Flax paths and layouts.

    Args:
        state: arrays by the keys that the rules know.
        rules: of one part of a family.
        kind: which part.
        dropped: keys that are left aside, and why.
        names: key -> the keys as the file has them, where they differ.

    Returns:
        The part. What no rule knows, is not finite or of another rank is a problem.
    """
    compiled = [(re.compile(pattern), path, lay) for pattern, path, lay in rules]
    arrays, used, left, problems, unusable = {}, {}, {}, [], set()
    for key, array in state.items():
        sources = (names or {}).get(key, (key,))
        shown = " + ".join(sources)
        if IGNORED.fullmatch(key):
            left |= dict.fromkeys(sources, "a counter that nothing reads")
            continue
        # Tables are written so that at most one rule fits a whole key.
        hits = [(m, p, lay) for r, p, lay in compiled if (m := r.fullmatch(key))]
        if not hits:
            if why := _reason(key, dropped):
                left |= dict.fromkeys(sources, why)
            else:
                problems.append(f"{shown}: no place for it in this model")
            continue
        match, path, layout = hits[0]
        path = path.format(*match.groups())
        try:
            array = layout.to_flax(np.asarray(array))
        except ValueError as error:
            problems.append(f"{shown}: {error}")
            unusable.add(path)
            continue
        if path in arrays:  # the same tensor under two prefixes, say
            problems.append(f"{shown}: {path} is already filled")
        elif array.dtype.kind in "iubc":  # quantised weights would be cast silently
            problems.append(f"{shown}: {array.dtype}, expected real numbers")
            unusable.add(path)
        elif why := _not_finite(array):
            problems.append(f"{shown}: {why}")
            unusable.add(path)
        else:
            arrays[path], used[path] = array, sources
    return Part(
        kind=kind,
        arrays=arrays,
        used=used,
        dropped=left,
        problems=problems,
        unusable=frozenset(unusable),
    )


def checked(part: Part) -> Part:
    """A part of our own making, arrays that are not finite told as problems.

    Bundles hold what a training left, which may have diverged.
    """
    bad = {p: why for p, array in part.arrays.items() if (why := _not_finite(array))}
    return dataclasses.replace(
        part,
        arrays={p: array for p, array in part.arrays.items() if p not in bad},
        used={p: keys for p, keys in part.used.items() if p not in bad},
        problems=[f"{path}: {why}" for path, why in bad.items()],
        unusable=frozenset(bad),
    )


def fit(
    part: Part,
    shapes: Shapes,
    *,
    fresh: Sequence[Why] = (),
    unused: Sequence[Why] = (),
    switch: str = "--new_head",
) -> Part:
    """A part's arrays as float32 and as a module wants them.

    Adapted are position embeddings of another resolution, patch kernels without time
    and text positions that end early. Anything else that differs is a problem.

    Args:
        part: as it was placed.
        shapes: of the module's variables.
        fresh: paths that the file need not have, and why.
        unused: paths whose arrays are left aside, and why.
        switch: what a user sets to start the last layer anew, for the message.

    Returns:
        The part with every path of `shapes` among its arrays, its `initialised` or
        its problems.
    """
    arrays, used, changed, initialised = {}, {}, {}, {}
    dropped, problems = dict(part.dropped), list(part.problems)
    met = set(part.unusable)  # told once already: not missing too
    for path, array in part.arrays.items():
        keys = part.used[path]
        shown = " + ".join(keys)
        # Before the shapes are looked at: what is unused may have any.
        if why := _reason(path, unused):
            dropped |= dict.fromkeys(keys, why)
            continue
        if path not in shapes:
            problems.append(f"{shown}: this model has no {path}")
            continue
        met.add(path)
        array, note = adapt(path, array, shapes[path])
        if array.shape == shapes[path]:
            arrays[path], used[path] = array, keys
            if notes := [n for n in (part.changed.get(path), note) if n]:
                changed[path] = ", ".join(notes)
        else:
            hint = f" ({switch} starts it anew)" if path.startswith(_LAST) else ""
            problems.append(
                f"{shown}: {array.shape} does not fit {path} {shapes[path]}{hint}"
            )
    for path in sorted(shapes.keys() - met):
        # Only what is known to be absent may start at random; the rest is damage.
        if why := _reason(path, fresh):
            initialised[path] = why
        else:
            problems.append(f"{path}: missing from the file")
    return dataclasses.replace(
        part,
        arrays=arrays,
        used=used,
        changed=changed,
        initialised=initialised,
        dropped=dropped,
        problems=problems,
    )


def to_flax(
    state: Mapping[str, np.ndarray], rules: Sequence[Rule], expected: Mapping
) -> dict:
    """Official keys and arrays to Flax variables that fit exactly.

    Args:
        state: arrays by official key.
        rules: their table.
        expected: the variables' tree of shapes (`jax.eval_shape` of init).

    Returns:
        The leaves of `expected`, as NumPy arrays of the file's dtype.

    Raises:
        ConversionError: lists unknown keys, keys that map twice, missing leaves and
            wrong shapes.
    """
    placed = place(state, rules)
    flat = flatten_dict(dict(expected), sep="/")
    shapes = {path: leaf.shape for path, leaf in flat.items()}
    problems = list(placed.problems)
    for path, array in placed.arrays.items():
        key = placed.used[path][0]
        if path not in shapes:
            problems.append(f"{key}: this model has no {path}")
        elif array.shape != shapes[path]:
            problems.append(f"{key}: {array.shape} does not fit {path} {shapes[path]}")
    missing = shapes.keys() - placed.arrays.keys() - placed.unusable
    problems += [f"{path}: missing from the file" for path in missing]
    if problems:
        raise ConversionError(
            f"{len(problems)} problems in conversion:\n  "
            + "\n  ".join(sorted(problems))
        )
    return unflatten_dict(placed.arrays, sep="/")


def _not_finite(array: np.ndarray) -> str:
    """Why an array cannot be used as float32, "" when it can."""
    # The sum is finite or not as its terms are, short of overflow; it copies nothing.
    with np.errstate(all="ignore"):
        total = array.sum(dtype=np.float32)
        if np.isfinite(total) or np.isfinite(array.astype(np.float32)).all():
            return ""
    finite = np.isfinite(array).all()
    return "holds numbers beyond float32" if finite else "holds NaN or infinity"


def _reason(name: str, reasons: Sequence[Why]) -> str:
    return next((why for pattern, why in reasons if re.fullmatch(pattern, name)), "")
