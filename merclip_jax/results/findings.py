"""What a report shows beside the card: calibration, retrieval, what was explained."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import logit

from merclip_jax import facs
from merclip_jax.data.folds import Member
from merclip_jax.results import figures
from merclip_jax.scoring import calibration
from merclip_jax.scoring.au_task import AUTask
from merclip_jax.scoring.blocks import Block
from merclip_jax.scoring.predictions import Predictions
from merclip_jax.training.members import MemberResult
from merclip_jax.training.stack import Plan

_FEWEST = 5  # clips that show an AU, for a row of its own


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A themed SVG of `figures`, its heading, and what it shows in words."""

    svg: str
    alt: str
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A section: a title, a sentence or two, drawings and a table, each perhaps."""

    title: str
    note: str
    drawings: tuple[Drawing, ...] = ()
    block: Block | None = None


def calibrated(predictions: Predictions) -> Finding:
    """Whether answers are right as often as they say, and what a temperature mends.

    Args:
        predictions: pooled over folds.
    """
    task = predictions.task
    logits = predictions.outputs[task.reads[0]].astype(np.float64)
    found = calibration.calibrated(logits, predictions.target, predictions.fold)
    rows = tuple(
        {"key": key, "name": name, "ECE": part.ece, "NLL": part.nll}
        for key, name, part in (
            ("as_answered", "as answered", found.before),
            ("temperature", "with a temperature", found.after),
        )
    )
    several = np.unique(predictions.fold).size > 1
    how = (
        "each fold divided by the temperature that the other folds chose"
        if several
        else "by the temperature of these same clips, as there is one fold"
    )
    return Finding(
        title="Calibration",
        note="Of answers that were given with a probability of 0.8 four in five "
        "should be right: the nearer to the diagonal, the better. ECE is the mean "
        "distance from it, NLL the mean -log of the probability of what was true. "
        f"With a temperature: logits divided, {how}; for new clips it is "
        f"{found.temperature:.2f}. No answer changes by it.",
        drawings=(
            Drawing(
                figures.reliability(found.before.curve, found.after.curve),
                "Share of right answers by their probability: "
                + ", ".join(f"{s:.2f} at {c:.2f}" for c, s, _ in found.before.curve),
            ),
        ),
        block=Block(
            kind="table", title="Calibration", rows=rows, columns=("ECE", "NLL")
        ),
    )


def retrieval(
    plan: Plan, members: Sequence[Member], results: Sequence[MemberResult]
) -> list[Finding]:
    """What a system's alignment says of AUs that it was not asked for.

    Nothing of a method that is asked for AUs, or says none.

    Args:
        plan: of the run.
        members: all of it.
        results: of each member.
    """
    if isinstance(plan.system.task, AUTask):
        return []
    clips, columns = plan.store.clips, dict(plan.columns)
    found, parts = _ranked(plan, members, results), []
    for member, result in zip(members, results, strict=True):
        reading = plan.system.reading(
            clips, columns, plan.context, member.fold.train, dict(result.outputs)
        )
        if reading is None:
            return found
        parts.append((member, reading))
    # What all folds' sentences name: an AU that one fold never read has no number.
    known = sorted(set.intersection(*(set(reading.aus) for _, reading in parts)))
    if not known:
        return found
    names = tuple(f"AU{au}" for au in known)
    index = np.concatenate([member.fold.test for member, _ in parts])
    p = np.concatenate(
        [
            reading.probabilities[:, [reading.aus.index(au) for au in known]]
            for _, reading in parts
        ]
    )
    shown = [facs.parse_cell(cell).numbers for cell in clips.au_cell[index].tolist()]
    target = np.asarray([[au in own for au in known] for own in shown], np.int32)
    pooled = Predictions(
        task=AUTask(names),
        clip=clips.clip[index],
        subject=clips.subject[index],
        fold=np.concatenate([np.full(len(m.fold.test), m.fold.name) for m, _ in parts]),
        split=clips.split[index],
        seed=np.concatenate([np.full(len(m.fold.test), m.seed) for m, _ in parts]),
        target=target,
        outputs={"aus": logit(np.clip(p, 1e-6, 1 - 1e-6)).astype(np.float32)},
    )
    scores, per_au, _ = pooled.task.score(pooled)
    rows = [row for row in per_au.rows if row["support"] >= _FEWEST]
    means = ", ".join(f"{row['name']} {row['mean']:.3f}" for row in scores.rows)
    return [
        *found,
        Finding(
            title="AUs by their sentences",
            note="Zero-shot: nobody asked the model for AUs. An AU is as probable as "
            "the training clips' sentences that name it, by the likeness of clip and "
            f"sentence. Mean over {len(known)} AUs: {means}; below, those that "
            f"{_FEWEST} clips or more show. AUC-PR is how well clips are ranked for "
            "the AU, floor the F1 of saying it of every clip.",
            block=dataclasses.replace(per_au, rows=tuple(rows)),
        ),
    ]


def _ranked(
    plan: Plan, members: Sequence[Member], results: Sequence[MemberResult]
) -> list[Finding]:
    """How near a clip is to its own sentence, among those of the training clips."""
    columns, all_ranks, sizes = dict(plan.columns), [], []
    for member, result in zip(members, results, strict=True):
        train, test = member.fold.train, member.fold.test
        given = plan.context, train, test, dict(result.outputs)
        ranks = plan.system.ranks(columns, *given)
        if ranks is None:
            return []
        all_ranks.append(ranks[ranks > 0])
        said = np.unique(columns["au_combination"][train])
        sizes += [int((said >= 0).sum())] * int((ranks > 0).sum())
    ranks = np.concatenate(all_ranks)
    if not ranks.size:
        return []
    sentences = np.asarray(sizes)
    rows = tuple(
        {
            "key": f"within_{k}",
            "name": f"within the first {k}" if k > 1 else "first",
            "clips": float((ranks <= k).mean()),
            "guessing": float(np.minimum(k / sentences, 1).mean()),
        }
        for k in (1, 3, 5)
    )
    return [
        Finding(
            title="Clips and their sentences",
            note=f"Of {len(ranks)} answers about clips whose AU combination some "
            "training clip has: at which place their own sentence stands, by "
            f"likeness, among the {int(np.median(sentences))} of training; the median "
            f"place is {int(np.median(ranks))}.",
            block=Block(
                kind="table",
                title="Clips and their sentences",
                rows=rows,
                columns=("clips", "guessing"),
            ),
        )
    ]
