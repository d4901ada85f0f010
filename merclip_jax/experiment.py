"""One experiment, in the order it happens."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

import merclip_jax
from merclip_jax import build, final
from merclip_jax.build import Job
from merclip_jax.data import folds
from merclip_jax.data.clips import Clips
from merclip_jax.data.folds import Member
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.results import (
    answers,
    collect,
    emotions,
    figures,
    findings,
    report,
)
from merclip_jax.results import card as cards
from merclip_jax.systems.system import Context
from merclip_jax.training import cost
from merclip_jax.training.loop import load_results, train_members
from merclip_jax.training.memory import Stacks
from merclip_jax.training.parameters import parameter_table
from merclip_jax.training.stack import Plan
from merclip_jax.training.workdir import Workdir
from merclip_jax.weights import provenance

# What may change between two commands that continue one run: no number depends on it.
# Weights count by their checksums, wherever they lie.
_FREE = ("data.data_dir", "data.access", "data.residency", "init.vision", "init.text")
_FREE += ("init.merclip", "init.model", "train.checkpoint_every", "train.profile")
_FREE += ("protocol.final_fit",)  # a finished run may have its final model later


def run(
    config: ConfigDict,
    path: Path,
    *,
    command: str = "",
    elsewhere: bool = False,
    overlap: bool = False,
) -> dict:
    """Train and score everything that `config` asks for; returns the result card.

    Of several processes the first alone has a card.

    Writes card.json, report.html, predictions.csv, scalars/ and members/ under `path`;
    called again it goes on where it was stopped.

    Args:
        config: all of it.
        path: the run's folder.
        command: how the run was started, for the card.
        elsewhere: whether it may go on on another machine than it began on.
        overlap: whether its weights may have seen its test subjects.

    Raises:
        UserError: for what the user can mend.
        Stopped: a signal asked for it; the same call goes on.
    """
    job = build.job(config, build.clips(config))
    with Workdir(path, elsewhere=elsewhere) as workdir:
        return train_and_score(job, workdir, command=command, overlap=overlap)


def run_on(clips: Clips, config: ConfigDict, path: Path, *, command: str = "") -> dict:
    """`run` on clips that are loaded already."""
    with Workdir(path) as workdir:
        return train_and_score(build.job(config, clips), workdir, command=command)


def train_and_score(
    job: Job, workdir: Workdir, *, command: str = "", overlap: bool = False
) -> dict:
    """Run a job from its clips to its card, in the order that is read here.

    Args:
        job: system, clips, protocol and options.
        workdir: the run's folder; what is finished there is not done again.
        command: how the run was started, for the card.
        overlap: whether its weights may have seen its test subjects.
    """
    started = time.monotonic()

    # Subjects to folds to members, before anything else happens to a clip; whom the
    # weights that it starts from have seen is none of its test subjects.
    members = members_of(job)
    seen = check_overlap(job, members, allowed=overlap)
    columns = columns_of(job)
    parameters = parameter_table(job.system, job.optimiser, columns)

    # The folder is this run's alone, now that nothing in the config can be wrong:
    # results of other settings are never mixed in.
    workdir.open(manifest(job))

    # Constants of the run (encoded once), clips on the device if they fit there.
    plan = plan_of(job, columns)
    workdir.say(describe(job, plan, members, parameters))

    # What the first member is about to see, for the eye.
    if workdir.writes:
        batch = collect.first_batch(plan, members[0])
        workdir.write("first_batch.png", figures.contact_sheet(batch.seen))

    # Training, as many members at a time as the memory holds.
    if not all(map(workdir.has_member, members)):
        stacks = Stacks(plan, members)
        size = workdir.stack(stacks.size)
        train_members(stacks.of(size), members, workdir)
    if job.protocol.final_fit:
        final.train(job, plan, workdir, manifest=manifest(job))
    if not workdir.writes:
        return {}  # process 0 says what came of it
    results = load_results(plan, members, workdir)

    # Answers pooled over folds, scored, and stated with all that they depend on.
    oracle = job.protocol.selection == "oracle"
    predictions = collect.pool(plan, members, results, selected=not oracle)
    bound = collect.pool(plan, members, results, selected=True) if oracle else None
    # Of the last epoch a file holds all outputs, of a chosen one what its score reads.
    inner = job.protocol.selection == "inner"
    read = emotions.read_off(plan, members, results, job.emotions, selected=inner)
    given = answers.Answers(
        predictions,
        bound=bound,
        readings=tuple(read),
        epochs=max(map(plan.epochs, members)),
        test_splits=job.protocol.test_splits,
    )
    card = cards.build_card(
        given,
        cards.Facts(
            title=f"{job.system.title} on {job.clips.dataset}, "
            f"{len(job.system.task.names)} classes",
            system=job.system.title,
            task=job.name,
            dataset=job.clips.dataset,
            dataset_fingerprint=job.clips.fingerprint,
            protocol=job.protocol.name,
            recipe=job.recipe,
            # A model chosen on its test subjects never gives the headline.
            selection="last" if oracle else job.protocol.selection,
            input_contract=job.system.view.contract,
            config=job.values,
            versions=collect.versions(),
            command=command,
            dropped=job.data.dropped,
            ceiling=collect.ceiling(job.clips, job.data.task),
            parameters=parameters,
            machines=collect.machines(members, results),
            lineage=plan.lineage,
            run=workdir.run,
            compute=cost.summary(workdir.costs(), seconds=time.monotonic() - started),
            notes=[
                *job.clips.metadata.get("notes", []),
                *job.system.remarks(job.clips, dict(plan.columns)),
                *job.remarks,
                *seen,
            ],
        ),
    )

    # For people: a table, a page.
    page = report.render_report(
        card,
        predictions,
        scalars=collect.scalars(plan),
        curves=collect.curves(plan, members, results),
        examples=collect.examples(plan, members, results),
        first_batch=batch,
        findings=[
            findings.calibrated(predictions),
            *findings.retrieval(plan, members, results),
        ],
    )
    workdir.write("predictions.csv", predictions.csv().encode())
    workdir.write(answers.FILE, answers.encode(given))
    workdir.write("card.json", cards.to_json(card))
    workdir.write("report.html", page.encode())

    # And for use: the final models with what is known of their answers.
    if job.protocol.final_fit:
        said = predictions
        if inner:  # the final models are those of the last epoch
            said = collect.pool(plan, members, results, selected=False)
        final.write(job, plan, members, results, said, card, workdir)
    return card


def members_of(job: Job) -> list[Member]:
    """All that will be trained: one for each fold and seed."""
    parts = folds.split(
        job.protocol, job.clips.subject, job.clips.label, splits=job.clips.split
    )
    return folds.members(parts, job.protocol.seeds)


def check_overlap(job: Job, members: list[Member], *, allowed: bool) -> list[str]:
    """What the card says of whom the weights have seen that the run starts from.

    Args:
        job: with these weights.
        members: all of the run.
        allowed: whether they may be subjects of its tests.

    Raises:
        UserError: they are, and may not be.
    """
    seen = provenance.seen_by(job.origins, job.seen)
    tested = {s for m in members for s in job.clips.subject[m.fold.test].tolist()}
    found = provenance.overlap(seen, tested)
    if found and not allowed:
        raise UserError(
            "the weights that this run starts from were trained on subjects that it "
            f"tests: {'; '.join(found)}. Such a score is none of new people. Start "
            "from others, or add --allow_overlap: the card then says so"
        )
    lines = [f"Overlap: the weights have seen test subjects ({'; '.join(found)})."]
    unknown = [] if job.seen else provenance.untold(job.origins)
    lines = (lines if found else []) + [
        f"It is not recorded whom {name} was trained on: test subjects may be among "
        "them. config.init.seen says which datasets it has seen."
        for name in dict.fromkeys(unknown)
    ]
    return lines


def columns_of(job: Job) -> Mapping[str, np.ndarray]:
    """What the system reads of the clips; UserError for an unknown AU, say."""
    try:
        return job.system.columns(job.clips)
    except ValueError as error:
        raise UserError(f"{job.name}: {error}") from error


def plan_of(job: Job, columns: Mapping[str, np.ndarray] | None = None) -> Plan:
    """What training needs of a job: its constants encoded, its clips in a store.

    Args:
        job: all of it.
        columns: of `columns_of`, where they are known: a system may decode for them.
    """
    try:
        context = Context(run=job.system.run_context(job.clips))
    except ValueError as error:
        raise UserError(f"{job.name}: {error}") from error
    return Plan(
        system=job.system,
        optimiser=job.optimiser,
        options=job.options,
        store=ClipStore(job.clips, residency=job.data.residency),
        columns=columns_of(job) if columns is None else columns,
        context=context,
        balanced=job.data.balanced,
        selection=job.protocol.selection,
        start=job.start,
        lineage=provenance.lineage_lines(job.origins),
        seen=provenance.seen_by(job.origins, job.seen),
    )


def manifest(job: Job) -> dict[str, object]:
    """Everything that a run's numbers depend on."""
    kept = {k: v for k, v in job.values.items() if k not in _FREE}
    return kept | {
        "dataset_fingerprint": job.clips.fingerprint,
        "clips": len(job.clips),
        "version": merclip_jax.__version__,
        **provenance.identity(job.origins),
    }


def describe(job: Job, plan: Plan, members: list, parameters: list[dict]) -> str:
    """What is about to be trained: clips, members, and the model part by part.

    Args:
        job: what was asked for.
        plan: what it became.
        members: all of the run.
        parameters: rows of `parameter_table`.
    """
    clips = job.clips
    counts = np.bincount(clips.label, minlength=len(clips.classes))
    listed = ", ".join(f"{n} {c}" for n, c in zip(clips.classes, counts, strict=True))
    subjects = len(set(clips.subject.tolist()))
    lines = [
        f"{clips.dataset}: {len(clips)} clips of {subjects} subjects ({listed})",
        f"{job.protocol.name}, {job.recipe} recipe: {len(members)} members, "
        f"{max(map(plan.epochs, members))} epochs",
        f"{'part':<40}{'arrays':>8}{'trained':>14}{'frozen':>14}",
    ]
    for row in parameters:
        lines.append(
            f"{row['part']:<40}{row['arrays']:>8}{row['trained']:>14,}"
            f"{row['frozen']:>14,}"
        )
    return "\n".join(lines)
