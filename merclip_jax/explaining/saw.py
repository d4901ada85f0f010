"""What a run's models saw in its test clips: maps, features, for the report."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax import facs
from merclip_jax.data.folds import Member
from merclip_jax.explaining import heat
from merclip_jax.explaining.finished import Finished
from merclip_jax.results import figures
from merclip_jax.results.findings import Drawing, Finding
from merclip_jax.results.shown import Example
from merclip_jax.scoring.au_task import AUTask
from merclip_jax.systems.system import (
    Batch,
    Context,
    Evidence,
    System,
    Variables,
)

BATCH = 32  # clips that are in the model at a time
FEWEST = 10  # clips, for a scatter
_MOST_AUS = 2  # maps of AUs beside that of the class, where nobody asked


def with_maps(
    run: Finished, examples: Sequence[Example], *, aus: Sequence[int] = ()
) -> list[Example]:
    """The same clips with maps of where their answers come from.

    Args:
        run: whose clips they are.
        examples: of its test clips.
        aus: AUs to ask for; none: the first two that were annotated and that the method
            knows.
    """
    found = []
    # Sentences are the run's: one object for all members, and so one program.
    evidence = _evidence(run)
    for example in examples:
        member, index = run.member_of(example.clip)
        system, variables, context = run.weights(member)
        batch = _batch(run, np.asarray([index]))
        t, size = example.frames.shape[:2]
        heats = []
        if not isinstance(system.task, AUTask):
            said = np.asarray([example.answered.index(True)])
            maps = heat.class_maps(system, variables, context, batch, said)
            name = system.task.names[int(said[0])]
            heats.append((f"What speaks for {name}", _scaled(maps, t, size)))
        for au in _asked(evidence, aus, run, index):
            maps = heat.au_maps(system, variables, context, batch, evidence, au)
            heats.append((f"What speaks for AU{au}", _scaled(maps, t, size)))
        _, kept = _inspected(system, variables, context, batch)
        if (looks := system.looks(kept)) is not None:
            looks = _scaled(np.asarray(looks), t, size)
            heats.append(("Where the model looked (attention)", looks))
        found.append(dataclasses.replace(example, heats=tuple(heats)))
    return found


@functools.partial(jax.jit, static_argnames="system")
def _inspected(
    system: System, variables: Variables, context: Context, batch: Batch
) -> tuple:
    return system.inspect(variables, context, batch)


def scatters(run: Finished, *, seed: int = 0) -> list[Finding]:
    """t-SNE of the features of all clips, by one member.

    Of each layer that the system names. Members have spaces of their own: one that
    tests most clips is taken, and those it tests have a ring.

    Args:
        run: whose clips.
        seed: of t-SNE's start.
    """
    from sklearn.manifold import TSNE

    member = max(run.members, key=lambda m: (len(m.fold.test), -m.position))
    clips = run.plan.store.clips
    if len(clips) < FEWEST:
        return []
    features, labels = _features(run, member), clips.label
    tested = np.isin(np.arange(len(clips)), member.fold.test)
    drawings = []
    for i, (name, values) in enumerate(features.items()):
        centred = values - values.mean(0)
        spread = max(float(centred.std()), 1e-12)
        made = TSNE(
            perplexity=min(30, (len(clips) - 1) / 3),
            init="pca",
            random_state=seed,
        ).fit_transform((centred / spread).astype(np.float32))
        svg = figures.scatter(made, labels, clips.classes, tested, prefix=f"tsne{i}")
        alt = f"{name}: {len(clips)} points in {len(clips.classes)} colours"
        drawings.append(Drawing(svg, alt, name))
    if not drawings:
        return []
    note = (
        f"t-SNE of {len(clips)} clips by member {member.name}; a ring marks the "
        f"{int(tested.sum())} that it never trained on, the others it has seen with "
        "their labels. Distances between groups mean nothing, and a group is no proof: "
        "t-SNE makes groups of noise too."
    )
    return [Finding("Clips as the model holds them", note, tuple(drawings))]


def _features(run: Finished, member: Member) -> dict[str, np.ndarray]:
    system, variables, context = run.weights(member)
    names: list[str] = []

    @jax.jit
    def of(batch: Batch) -> tuple:
        found = system.features(system.inspect(variables, context, batch)[1])
        names[:] = found  # in the system's order, which a dict's way through jit loses
        return tuple(found.values())

    count, parts = len(run.plan.store.clips), []
    for start in range(0, count, BATCH):
        # The last batch is filled up, so that one program serves all.
        index = np.minimum(np.arange(start, start + BATCH), count - 1)
        found = of(_batch(run, index))
        parts.append([np.asarray(values, np.float32) for values in found])
    return {
        name: np.concatenate(own)[:count]
        for name, own in zip(names, zip(*parts, strict=True), strict=True)
    }


def _batch(run: Finished, index: np.ndarray) -> Batch:
    """Frames and side inputs of clips, on the device."""
    clips = run.plan.store.clips
    frames = np.stack([clips.decode(int(i)) for i in index])
    rows = run.plan.rows(index, run.plan.system.inputs)
    return jax.tree.map(jnp.asarray, {"frames": frames} | rows)


def _evidence(run: Finished) -> Evidence | None:
    said = run.plan.system.vocabulary(run.plan.store.clips)
    return run.plan.system.evidence(said, run.plan.context)


def _asked(
    evidence: Evidence | None, aus: Sequence[int], run: Finished, index: int
) -> list[int]:
    if evidence is None:
        return []
    if aus:
        return list(aus)
    shown = facs.parse_cell(str(run.plan.store.clips.au_cell[index])).numbers
    return [au for au in evidence.aus if au in shown][:_MOST_AUS]


def _scaled(maps: np.ndarray, frames: int, size: int) -> np.ndarray:
    """One clip's maps on its frames, [t, h, w], the largest value being 1."""
    wide = heat.on_frames(maps, frames, size)[0]
    return wide / max(float(wide.max()), 1e-30)
