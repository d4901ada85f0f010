"""Where on the frames an answer comes from: gradients times what a layer holds.

Grad-CAM asks which places of a layer an answer leans on. Most of what a layer holds of
a face is who it is; an expression is what moves. So a clip is held against itself
standing still at its onset, and the gradient is the mean over the way between the two
(integrated gradients, ICML 2017, at the layer that `System.places` names). The numbers
of all places and moments then add up to the answer less that to the still face; a map
shows those that speak for it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.systems.system import Batch, Context, Evidence, System, Variables
from merclip_jax.typing import Array

STEPS = 8  # between the still face and the clip


@functools.partial(jax.jit, static_argnames=("system", "evidence", "steps"))
def attributions(
    system: System,
    variables: Variables,
    context: Context,
    batch: Batch,
    weights: Array,
    *,
    evidence: Evidence | None = None,
    steps: int = STEPS,
) -> Array:
    """What each place adds to an answer, [b, t, y, x], of either sign.

    Args:
        system: the method.
        variables, context: of a trained member.
        batch: frames and side inputs.
        weights: [b, k] which of the answers count.
        evidence: answers by AU; None: the logits of the task's classes.
        steps: of the way from the still face.

    Raises:
        ValueError: the method has no layer whose places lie on frames.
    """
    _, kept = system.inspect(variables, context, batch)
    _, still = system.inspect(variables, context, system.still(batch))
    kept, still = _plain(kept), _plain(still)
    if system.places(kept) is None:
        raise ValueError(f"{system.title} has no layer whose places lie on frames")
    # All layers go the way together, of which the watched ones alone hear of it; what
    # is behind the first of them is moved by it and not by itself.
    way = jax.tree.map(lambda a, b: b - a, kept, still)

    def score(moved: dict) -> Array:
        own = {**variables, "perturbations": moved}
        outputs, _ = system.inspect(own, context, batch)
        said = evidence.of(outputs) if evidence else outputs[system.task.reads[0]]
        return (said * weights).sum()

    def gradient(share: Array) -> dict:
        moved = _only(system, jax.tree.map(lambda leaf: share * leaf, way))
        return jax.grad(score)(moved)

    shares = jnp.asarray((np.arange(steps) + 0.5) / steps, jnp.float32)
    mean = jax.tree.map(lambda g: g.mean(0), jax.lax.map(gradient, shares))
    owed = (-system.places(way) * system.places(mean)).astype(jnp.float32)
    return owed.sum(-1)


def class_maps(
    system: System,
    variables: Variables,
    context: Context,
    batch: Batch,
    classes: np.ndarray,
) -> np.ndarray:
    """Where the logit of each clip's class comes from, [b, t, y, x], none below 0.

    Args:
        system: the method, whose task answers one class a clip.
        variables, context: of a trained member.
        batch: frames and side inputs.
        classes: [b], one a clip.
    """
    count = len(system.task.names)
    weights = jnp.asarray(np.eye(count, dtype=np.float32)[classes])
    found = attributions(system, variables, context, batch, weights)
    return np.maximum(np.asarray(found), 0)


def au_maps(
    system: System,
    variables: Variables,
    context: Context,
    batch: Batch,
    evidence: Evidence,
    au: int,
) -> np.ndarray:
    """Where what is said for an AU comes from: "where did you see AU12?".

    Args:
        system: the method.
        variables, context: of a trained member.
        batch: frames and side inputs.
        evidence: of the system.
        au: one of its AUs.

    Returns:
        [b, t, y, x], none below 0.

    Raises:
        ValueError: it knows no such AU; lists those that it knows.
    """
    if au not in evidence.aus:
        raise ValueError(f"AU{au}: expected one of {list(evidence.aus)}")
    weights = np.zeros((len(batch["frames"]), len(evidence.aus)), np.float32)
    weights[:, evidence.aus.index(au)] = 1
    given = system, variables, context, batch, jnp.asarray(weights)
    return np.maximum(np.asarray(attributions(*given, evidence=evidence)), 0)


def on_frames(maps: np.ndarray, frames: int, size: int) -> np.ndarray:
    """Maps [b, t, y, x] of a model's moments on all frames, [b, frames, size, size].

    A moment covers several frames where the model halves time; places are widened
    bilinearly.

    Args:
        maps: of `class_maps`, `au_maps` or `System.looks`.
        frames: of a clip.
        size: pixels of a frame's side.
    """
    b, t = maps.shape[:2]
    wide = jax.image.resize(
        jnp.asarray(maps, jnp.float32), (b, t, size, size), "bilinear"
    )
    return np.asarray(wide)[:, np.arange(frames) * t // frames]


def _plain(kept: dict) -> dict:
    """What was kept without flax's tuples around it."""
    return {
        name: _plain(own) if isinstance(own, dict) else jax.tree.leaves(own)[0]
        for name, own in kept.items()
    }


def _only(system: System, moved: dict) -> dict:
    """The perturbations of the layer that `System.places` reads, and of no other."""
    part: dict = moved
    for name in system.place[:-1]:
        part = part[name]
    found: object = part[system.place[-1]]
    for name in reversed(system.place):
        found = {name: found}
    return found
