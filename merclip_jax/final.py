"""The final model of a run: trained on everyone, calibrated on what others said.

A score says how well a way of training does on new people; none of the members that
gave it is the model to use, for each of them misses a subject. So one more is trained
for each seed, on all clips and to the last epoch. It cannot be scored. How sure its
answers are is taken from the members, each of which spoke of subjects unknown to it.
"""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from merclip_jax import facs
from merclip_jax.data.folds import Fold, Member
from merclip_jax.data.sampling import NOTHING
from merclip_jax.job import Job
from merclip_jax.results.model_card import model_card
from merclip_jax.scoring import au_calibration, calibration
from merclip_jax.scoring.predictions import Predictions
from merclip_jax.training.loop import train_members
from merclip_jax.training.members import MemberResult
from merclip_jax.training.memory import Stacks
from merclip_jax.training.stack import Plan
from merclip_jax.training.workdir import Workdir
from merclip_jax.weights import final

TRAINING, FOLDER = "final", "model"  # in the run's folder


def train(
    job: Job, plan: Plan, workdir: Workdir, *, manifest: Mapping[str, object]
) -> None:
    """Trains a model of each seed on everyone, in a folder of the run's.

    Args:
        job: of the run.
        plan: of the run.
        workdir: of the run.
        manifest: what the run's numbers depend on.

    Raises:
        UserError: for what the user can mend.
        Stopped: a signal asked for it; the same command goes on.
    """
    models = _models(job)
    plan = dataclasses.replace(
        plan,
        selection="last",
        options=dataclasses.replace(plan.options, keep_weights=True),
    )
    with Workdir(workdir.path / TRAINING, elsewhere=workdir.elsewhere) as own:
        own.open({**manifest, "final_fit": True})
        own.say(f"final model, on all {len(job.clips)} clips: {len(models)} to train")
        stacks = Stacks(plan, models)
        train_members(stacks.of(own.stack(stacks.size)), models, own)


def write(
    job: Job,
    plan: Plan,
    members: Sequence[Member],
    results: Sequence[MemberResult],
    predictions: Predictions,
    card: Mapping,
    workdir: Workdir,
) -> None:
    """Writes the folder to use, of models that `train` has trained.

    Args:
        job: of the run.
        plan: of the run.
        members: that were scored.
        results: what they said of their test clips.
        predictions: of their last epochs, pooled.
        card: of the run.
        workdir: of the run.

    Raises:
        UserError: it cannot be written.
    """
    trained, calibrated = Workdir(workdir.path / TRAINING), None
    if predictions.task.target == "label":
        calibrated = _calibration(predictions)
    lines = _lines(job, plan, members, results)
    final.write(
        workdir.path / FOLDER,
        _about(job, card, calibrated, lines, plan.lineage),
        weights={m.name: trained.weights(m) for m in _models(job)},
        calibration=calibrated,
        files={"README.md": model_card(card).encode(), **_tokenizer(job)},
    )
    workdir.say(f"final model: {workdir.path / FOLDER}")


def _models(job: Job) -> list[Member]:
    everyone = np.arange(len(job.clips))
    # What it says of its own training clips is kept, for the curious; no score is.
    fold = Fold("everyone", everyone, everyone, np.zeros(0, np.int64))
    return [Member(fold, seed, 0) for seed in job.protocol.seeds]


def _about(
    job: Job,
    card: Mapping,
    calibrated: final.Calibration | None,
    lines: au_calibration.Lines,
    lineage: Sequence[str],
) -> final.About:
    """What is known of a final model beside its weights."""
    task, notes, temperature = job.system.task, [], None
    classes = tuple(task.names) if task.target == "label" else ()
    if calibrated is not None:
        given = calibrated.logits, calibrated.target
        temperature = calibration.temperature(*given)
    if job.protocol.selection != "last":
        notes.append(
            f"Scored by {job.protocol.selection} selection; the final model has no "
            "subjects to select by and is that of its last epoch."
        )
    best = card["scores"][0]["rows"][0]
    return final.About(
        title=card["title"],
        classes=classes,
        nothing=NOTHING if NOTHING in classes else "",
        vocabulary=job.system.vocabulary(job.clips),
        aus=lines,
        temperature=temperature,
        contract=job.system.view.contract,
        dataset=job.clips.dataset,
        fingerprint=job.clips.fingerprint,
        clips=len(job.clips),
        subjects=len(set(job.clips.subject.tolist())),
        score=f"{best['name']} {best['mean']:.3f}, {card['protocol']['name']}, by "
        "models that did not know the subjects they were tested on",
        card=card["card_sha256"],
        lineage=tuple(lineage),
        notes=tuple(notes),
    )


def _calibration(predictions: Predictions) -> final.Calibration:
    """What unknown models said of each clip, seeds averaged as the final ones are."""
    names, where = np.unique(predictions.clip, return_inverse=True)
    logits = predictions.outputs[predictions.task.reads[0]].astype(np.float64)
    total = np.zeros((len(names), logits.shape[1]))
    np.add.at(total, where, logits)
    target = np.zeros(len(names), np.int64)
    target[where] = predictions.target
    return final.Calibration(total / np.bincount(where)[:, None], target)


def _lines(
    job: Job,
    plan: Plan,
    members: Sequence[Member],
    results: Sequence[MemberResult],
) -> au_calibration.Lines:
    """How what is said for each AU becomes its probability."""
    evidence = plan.system.evidence(plan.system.vocabulary(job.clips), plan.context)
    shown = [facs.parse_cell(cell).numbers for cell in job.clips.au_cell.tolist()]
    # A dataset without AUs, such as SMIC, says of none that it is absent.
    if evidence is None or not any(shown):
        return {}
    index = np.concatenate([member.fold.test for member in members])
    said = np.concatenate(
        [np.asarray(evidence.of(_arrays(result.outputs))) for result in results]
    )
    there = np.asarray([[au in shown[i] for au in evidence.aus] for i in index])
    return au_calibration.fit(said, there, evidence.aus)


def _arrays(outputs: Mapping[str, np.ndarray]) -> dict:
    return {name: jnp.asarray(values) for name, values in outputs.items()}


def _tokenizer(job: Job) -> dict[str, bytes]:
    """The files of the text tower's vocabulary, where it is a published one's."""
    tower = getattr(job.system, "tower", None)
    save = getattr(getattr(tower, "vocabulary", None), "save", None)
    if save is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
