"""Members' saved results as what the card and the report are made of."""

import importlib.metadata
import platform
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import merclip_jax
from merclip_jax import metrics, results
from merclip_jax.data.source import Clips
from merclip_jax.protocols import Member
from merclip_jax.text import PromptTable
from merclip_jax.workdir import MemberResult


def pool(
    clips: Clips,
    members: Sequence[Member],
    found: Sequence[MemberResult],
    *,
    selected: bool,
) -> results.Predictions:
    """All members' predictions; `selected` takes the logits of the chosen epoch."""
    return results.pool(
        [
            results.Predictions(
                clip=result.clip,
                subject=clips.subject[member.fold.test],
                fold=np.full(len(result.clip), member.fold.name),
                seed=np.full(len(result.clip), member.seed),
                label=clips.label[member.fold.test].astype(int),
                logits=result.best_logits if selected else result.logits,
            )
            for member, result in zip(members, found, strict=True)
        ]
    )


def scores_of(pooled: results.Predictions) -> dict[str, float]:
    """UF1, UAR and ACC, the mean over seeds."""
    rows = []
    for seed in np.unique(pooled.seed):
        part = pooled.seed == seed
        matrix = metrics.confusion_matrix(
            pooled.label[part], pooled.logits[part].argmax(1), classes=pooled.classes
        )
        score = metrics.scores(matrix)
        rows.append((score.uf1, score.uar, score.acc))
    uf1, uar, acc = np.mean(rows, 0)
    return {"uf1": float(uf1), "uar": float(uar), "acc": float(acc)}


def ceiling_of(clips: Clips) -> dict | None:
    """The Bayes ceiling that a synthetic dataset stores for this number of classes."""
    task = clips.metadata.get("tasks", {}).get(str(len(clips.classes)))
    if not task:
        return None
    ceiling = {k.lower(): float(v) for k, v in task["ceiling"].items()}
    return {"name": "Bayes ceiling of the dataset", **ceiling}


def curves_of(
    members: Sequence[Member], found: Sequence[MemberResult]
) -> dict[str, dict[str, np.ndarray]]:
    """Each member's loss curves, for the report."""
    names = (
        "loss/contrastive",
        "loss/classification",
        "weight/contrastive",
        "weight/classification",
        "lr",
    )
    return {
        member.name: {name: result.history[name] for name in names}
        for member, result in zip(members, found, strict=True)
    }


def examples_of(
    clips: Clips,
    members: Sequence[Member],
    found: Sequence[MemberResult],
    table: PromptTable,
    *,
    count: int = 6,
) -> list[results.Example]:
    """Clips of the first seed to show: of every class the surest, then misses."""
    first = members[0].seed
    pairs = [(m, r) for m, r in zip(members, found, strict=True) if m.seed == first]
    index = np.concatenate([m.fold.test for m, _ in pairs])
    logits = np.concatenate([r.logits for _, r in pairs])
    video = np.concatenate([r.video for _, r in pairs])
    right = logits.argmax(1) == clips.label[index]
    margin = logits[np.arange(len(index)), clips.label[index]] - logits.mean(1)
    order = np.argsort(-margin, kind="stable")
    chosen = []
    for k in range(len(clips.classes)):
        chosen += [i for i in order if right[i] and clips.label[index[i]] == k][:1]
    chosen = chosen[: count - 2]
    chosen += [i for i in order[::-1] if not right[i]][: count - len(chosen)]
    return [_example(clips, index[i], logits[i], video[i], table) for i in chosen]


def _example(clips, index, logits, video, table) -> results.Example:
    unit = table.features / jnp.linalg.norm(table.features, axis=-1, keepdims=True)
    unit = unit.mean(0)
    unit = unit / jnp.linalg.norm(unit, axis=-1, keepdims=True)
    similarity = np.asarray(unit @ (video / np.linalg.norm(video)))
    best = np.argsort(-similarity, kind="stable")[:3]
    mine = table.sets[index]
    return results.Example(
        clip=str(clips.clip[index]),
        subject=str(clips.subject[index]),
        label=int(clips.label[index]),
        logits=logits,
        frames=clips.decode(int(index)),
        au_text=table.bank.descriptions[mine] if mine >= 0 else "",
        matches=[(table.bank.descriptions[i], float(similarity[i])) for i in best],
        apex=int(clips.apex[index]),
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
