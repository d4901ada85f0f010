"""One experiment, in the order it happens: data, members, prompts, rounds, report."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

import merclip_jax
from merclip_jax import programs, report, results, rounds, settings, summary, workdir
from merclip_jax.data.source import Clips
from merclip_jax.weights import provenance

# What may change between two commands that continue one run: no number depends on it.
_FREE = ("data.data_dir", "data.residency", "train.checkpoint_every")


def run(config: ConfigDict, path: Path, *, command: str = "") -> dict:
    """Train and score everything that `config` asks for; returns the result card.

    Writes card.json, report.html, predictions.csv, scalars/ and members/ under `path`;
    called again it goes on where it was stopped. Raises UserError for what the user
    can mend.
    """
    clips = settings.load(config)
    return run_on(clips, config, path, command=command)


def run_on(clips: Clips, config: ConfigDict, path: Path, *, command: str = "") -> dict:
    """`run` on clips that are loaded already."""
    started = time.monotonic()
    settings.check(config)
    values = settings.flatten(config)
    tower = settings.tower_of(config)
    begun = settings.start_of(config, classes=len(clips.classes))
    parts = [part for part in (begun, tower) if part]
    workdir.claim(path, identity(clips, values) | provenance.identity(parts))
    members = settings.members_of(clips, config)
    print(describe(clips, config, members))

    table = settings.prompt_table(clips, config, tower)
    plan = dataclasses.replace(
        settings.plan_of(clips, config, table, path),
        start=begun.arrays if begun else {},
        lineage=provenance.lineage_lines(parts),
    )
    stack = settings.stack_of(config, plan, members)
    rounds.run_rounds(plan, members, stack)
    found = rounds.load_results(plan, members)

    pooled = summary.pool(
        clips, members, found, selected=config.protocol.selection != "oracle"
    )
    oracle = None
    if config.protocol.selection == "oracle":
        best = summary.pool(clips, members, found, selected=True)
        oracle = summary.scores_of(best)
    card = results.build_card(
        title=f"MER-CLIP on {clips.dataset}, {len(clips.classes)} classes",
        task=config.name,
        dataset=clips.dataset,
        dataset_fingerprint=clips.fingerprint,
        classes=clips.classes,
        protocol=config.protocol.name,
        recipe=config.recipe,
        selection="last" if oracle else config.protocol.selection,
        input_contract=config.protocol.input_contract,
        config=values,
        predictions=pooled,
        epochs=config.train.epochs,
        versions=summary.versions(),
        command=command,
        dropped=config.data.dropped,
        ceiling=summary.ceiling_of(clips),
        oracle=oracle,
        lineage=plan.lineage,
        timing={"seconds_this_command": round(time.monotonic() - started, 1)},
        notes=notes_of(clips, config, plan),
    )
    results.write_predictions_csv(
        path / "predictions.csv", pooled, classes=clips.classes
    )
    results.write_card(path / "card.json", card)
    report.write_report(
        path / "report.html",
        card=card,
        predictions=pooled,
        curves=summary.curves_of(members, found),
        examples=summary.examples_of(clips, members, found, table),
    )
    return card


def identity(clips: Clips, values: Mapping[str, object]) -> dict[str, object]:
    """Everything that a run's numbers depend on."""
    kept = {k: v for k, v in values.items() if k not in _FREE}
    return kept | {
        "dataset_fingerprint": clips.fingerprint,
        "clips": len(clips),
        "version": merclip_jax.__version__,
    }


def notes_of(clips: Clips, config: ConfigDict, plan: programs.Plan) -> list[str]:
    """What a reader of the card should know beside its numbers."""
    notes = []
    made = clips.metadata.get("config", {})
    if "amplitude_px" in made:
        low, high = made["amplitude_px"]
        notes.append(
            f"The clips are procedural: {made['clips']} clips of {made['subjects']} "
            f"subjects at {made['size']}x{made['size']} pixels, with {low:g}-{high:g} "
            f"pixels of motion at the apex; faces differ {made.get('variety', 1):g} "
            "times as much as they can. Such scores say nothing about people."
        )
    silent = int((plan.au_sets < 0).sum())
    if silent:
        notes.append(f"{silent} clips have no describable AU: not aligned with text.")
    return notes


def describe(clips: Clips, config: ConfigDict, members: list) -> str:
    """Two lines on what is about to be trained."""
    counts = np.bincount(clips.label, minlength=len(clips.classes))
    listed = ", ".join(f"{n} {c}" for n, c in zip(clips.classes, counts, strict=True))
    subjects = len(set(clips.subject.tolist()))
    return (
        f"{clips.dataset}: {len(clips)} clips of {subjects} subjects ({listed})\n"
        f"{config.protocol.name}, {config.recipe} recipe: {len(members)} members, "
        f"{config.train.epochs} epochs"
    )
