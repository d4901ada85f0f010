"""Members' saved results as what the card and the report are made of."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

import merclip_jax
from merclip_jax.data.clips import Clips
from merclip_jax.data.folds import Member
from merclip_jax.results.shown import Example, FirstBatch
from merclip_jax.scoring import predictions
from merclip_jax.scoring.predictions import Predictions, named
from merclip_jax.systems.system import Scalar
from merclip_jax.training.members import MemberResult
from merclip_jax.training.stack import Plan
from merclip_jax.training.step import SCALARS


def pool(
    plan: Plan,
    members: Sequence[Member],
    results: Sequence[MemberResult],
    *,
    selected: bool,
) -> Predictions:
    """All members' predictions.

    Args:
        plan: of the run.
        members: all of it.
        results: of each member.
        selected: whether to take the answers of the chosen epoch, not of the last.
    """
    clips, task = plan.store.clips, plan.system.task
    parts = []
    for member, result in zip(members, results, strict=True):
        test = member.fold.test
        outputs = result.best if selected else result.outputs
        parts.append(
            Predictions(
                task=task,
                clip=result.clip,
                subject=clips.subject[test],
                fold=np.full(len(test), member.fold.name),
                split=clips.split[test],
                seed=np.full(len(test), member.seed),
                target=plan.columns[task.target][test],
                outputs={name: outputs[name] for name in task.reads},
            )
        )
    return predictions.pool(parts)


def machines(
    members: Sequence[Member], results: Sequence[MemberResult]
) -> dict[str, list[str]]:
    """Names of the members that each machine, or chain of machines, has trained.

    Args:
        members: all of the run.
        results: of each member.
    """
    found: dict[str, list[str]] = {}
    for member, result in zip(members, results, strict=True):
        found.setdefault(", then ".join(result.machines), []).append(member.name)
    return found


def ceiling(clips: Clips, task: str) -> dict | None:
    """The score that no model can pass, where the dataset's builder stored one.

    Args:
        clips: whose metadata hold it.
        task: its name in the class-map table.
    """
    return clips.metadata.get("ceiling", {}).get(task)


def curves(
    plan: Plan, members: Sequence[Member], results: Sequence[MemberResult]
) -> dict[str, Mapping[str, np.ndarray]]:
    """Each member's scalars [epochs] by name.

    Args:
        plan: of the run.
        members: all of it.
        results: of each member.
    """
    return {
        member.name: {s.name: result.history[s.name] for s in scalars(plan)}
        for member, result in zip(members, results, strict=True)
    }


def scalars(plan: Plan) -> tuple[Scalar, ...]:
    """What every step reports: the system's own, then the trainer's."""
    return (*plan.system.scalars, *SCALARS)


def examples(
    plan: Plan,
    members: Sequence[Member],
    results: Sequence[MemberResult],
    *,
    count: int = 6,
) -> list[Example]:
    """Clips to show: of every name the surest right answer, then the worst misses.

    Args:
        plan: of the run.
        members: all of it.
        results: of each member.
        count: of clips.
    """
    task, first = plan.system.task, members[0].seed
    # One model an answer: seeds would show a clip several times.
    pairs = [(m, r) for m, r in zip(members, results, strict=True) if m.seed == first]
    index = np.concatenate([m.fold.test for m, _ in pairs])
    outputs = {
        name: np.concatenate([r.outputs[name] for _, r in pairs])
        for name in pairs[0][1].outputs
    }
    true = task.marks(plan.columns[task.target][index])
    said = task.marks(task.answer(outputs))
    right = (true == said).all(1)
    p = task.probabilities(outputs)
    # How sure of what is there, and of nothing else.
    sure = np.where(true, p, 1 - p).min(1)
    order = np.argsort(-sure, kind="stable")
    chosen: list[int] = []
    for k in range(len(task.names)):
        fresh = (i for i in order if right[i] and true[i, k] and i not in chosen)
        chosen += list(fresh)[:1]
    chosen = chosen[: count - 2]
    chosen += [i for i in order[::-1] if not right[i]][: count - len(chosen)]
    return [
        _example(plan, int(index[i]), {n: v[i] for n, v in outputs.items()}, p[i])
        for i in chosen
    ]


def example(plan: Plan, member: Member, result: MemberResult, index: int) -> Example:
    """One test clip to show.

    Args:
        plan: of the run.
        member: who answered it.
        result: of that member.
        index: of the clip.
    """
    (row,) = np.flatnonzero(member.fold.test == index)
    outputs = {name: values[row] for name, values in result.outputs.items()}
    task = plan.system.task
    batched = {name: values[None] for name, values in outputs.items()}
    return _example(plan, index, outputs, task.probabilities(batched)[0])


def _example(plan: Plan, index: int, outputs: dict, p: np.ndarray) -> Example:
    clips, task = plan.store.clips, plan.system.task
    batched = {name: outputs[name][None] for name in task.reads}
    target = plan.columns[task.target][index : index + 1]
    return Example(
        clip=str(clips.clip[index]),
        subject=str(clips.subject[index]),
        true=named(task, target)[0],
        guess=named(task, task.answer(batched))[0],
        bars=tuple(zip(task.names, p.tolist(), strict=True)),
        annotated=tuple(task.marks(target)[0].tolist()),
        answered=tuple(task.marks(task.answer(batched))[0].tolist()),
        frames=clips.decode(index),
        apex=int(clips.apex[index]),
        names=_key_frames(clips, index),
        exhibits=plan.system.exhibits(
            clips, dict(plan.columns), plan.context, index, outputs
        ),
    )


def _key_frames(clips: Clips, index: int) -> dict[int, str]:
    """Which of a clip's frames that are seen are key frames, in words."""
    if clips.view.sampling == "window":
        return {}  # none of them was told
    seen = clips.positions[index].tolist()
    first, last = clips.spans[index].tolist()
    exact = clips.view.sampling not in ("stride", "uniform")
    names = {len(seen) - 1: "offset"} if seen[-1] == last else {}
    names[int(clips.apex[index])] = "apex" if exact else "near apex"
    return names | ({0: "onset"} if seen[0] == first else {})


def first_batch(plan: Plan, member: Member, *, shown: int = 8) -> FirstBatch:
    """The first clips that a member trains on, as augmentation makes them.

    Drawn with the member's own key, so that they are what step 0 sees.

    Args:
        plan: of the run.
        member: whose batch.
        shown: clips of it to keep.
    """
    clips = plan.store.clips
    index, positions = plan.batches(member)[0]
    frames = np.stack(
        [clips.decode(int(i), p) for i, p in zip(index, positions, strict=True)]
    )
    batch = {"frames": frames} | plan.rows(index, list(plan.columns))
    key = jax.random.fold_in(jax.random.key(member.data_seed), 1)
    seen = jax.jit(lambda batch: plan.system.augmented(batch, key=key))(
        jax.tree.map(jnp.asarray, batch)
    )
    seen = np.asarray(jnp.clip(jnp.round(seen), 0, 255)).astype(np.uint8)
    return FirstBatch(
        member=member.name,
        clips=tuple(map(str, clips.clip[index[:shown]])),
        stored=frames[:shown],
        seen=seen[:shown],
    )


def versions() -> dict[str, str]:
    """What computed the numbers."""
    names = ("jax", "jaxlib", "flax", "optax", "numpy")
    device = jax.devices()[0]
    return {
        "merclip_jax": merclip_jax.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
        "device": f"{jax.device_count()} x {device.device_kind}",
    }
