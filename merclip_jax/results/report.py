"""The report of a run: one HTML file that needs nothing else to be read.

Every text is escaped by the template; every picture is inside the file; the same inputs
give the same bytes. Blocks are shown by their kind: the report knows no task.
"""

from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from merclip_jax.printable import printable
from merclip_jax.results import figures
from merclip_jax.results.counted import counted
from merclip_jax.results.findings import Finding
from merclip_jax.results.shown import Example, FirstBatch, batch_of, clip_of
from merclip_jax.results.terminal import percent_of_ceiling
from merclip_jax.scoring import published
from merclip_jax.scoring.predictions import Predictions
from merclip_jax.systems.system import Scalar

_PROTOCOLS = {
    "loso": "Leave-one-subject-out: each subject's clips were judged by a model "
    "trained on the other subjects only.",
    "holdout": "Hold-out by subject: the test subjects' clips were judged by a model "
    "trained on other subjects only.",
    "cross_dataset": "Leave-one-dataset-out: the clips of each dataset were judged by "
    "a model trained on the other datasets only.",
    "kfold": "k-fold by subject: the clips of each group of subjects were judged by a "
    "model trained on the other groups only.",
}
_SELECTIONS = {
    "last": "The model of the last epoch was taken, fixed before training, so nothing "
    "was chosen by looking at test subjects.",
    "inner": "The epoch was chosen on subjects held out from the training subjects; "
    "test subjects had no part in it.",
}
CONTRACTS = {
    "oracle-keyframes": "The model was given the annotated onset, apex and offset of "
    "each clip, which an unlabelled video does not have.",
    "onset-offset": "The model was given the annotated onset and offset of each clip, "
    "but not its apex.",
    "raw-window": "The model was given windows of each record, with no word of where "
    "in them anything happens, as on an unlabelled video; that there may be an "
    "expression near was known when the records were cut.",
}


def render_report(
    card: Mapping,
    predictions: Predictions,
    *,
    scalars: Sequence[Scalar] = (),
    curves: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    examples: Sequence[Example] = (),
    first_batch: FirstBatch | None = None,
    findings: Sequence[Finding] = (),
) -> str:
    """Render the page.

    Args:
        card: of `card.build_card` for these predictions.
        predictions: pooled.
        scalars: what the curves are of, in the order of the panels.
        curves: member -> scalar's name -> [epochs].
        examples: clips to show.
        first_batch: what training saw first.
        findings: further sections.

    Raises ValueError if card and predictions do not belong together.
    """
    # Tables are drawn from both: they must tell of one run.
    if predictions.sha256() != card["predictions_sha256"]:
        raise ValueError("the card was made from other predictions than these")
    # A clip's name or a note may hold markup; a forgotten variable must not pass.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = counted
    template = environment.from_string(beside("report.html.j2"))
    panels = figures.curve_panels(curves, scalars) if curves else []
    page = template.render(
        card=card,
        headline=card["scores"][0],
        details=card["scores"][1:],
        percent=percent_of_ceiling(card),
        published=published.table(card["task"]["name"]),
        paragraphs=paragraphs(card),
        yardsticks=_yardsticks(card),
        subjects=_subjects(predictions),
        right=_right(predictions).mean(),
        panels=[panel | {"svg": Markup(panel["svg"])} for panel in panels],
        members=len(curves or ()),
        examples=[clip_of(example) for example in examples],
        batch=batch_of(first_batch) if first_batch else None,
        findings=[
            {
                "title": finding.title,
                "note": finding.note,
                "block": finding.block,
                "drawings": [
                    {"title": one.title, "alt": one.alt, "svg": Markup(one.svg)}
                    for one in finding.drawings
                ],
            }
            for finding in findings
        ],
        cost=_cost(card["compute"]),
        script=Markup(beside("sort.js")),
    )
    # Marks that turn the direction of text would hide what a name is.
    return printable(page)


def beside(name: str, *, of: str = "merclip_jax.results") -> str:
    """The text of a file that lies beside this one, or in another room.

    Args:
        name: of the file.
        of: the room.
    """
    return resources.files(of).joinpath(name).read_text("utf-8")


def paragraphs(card: Mapping) -> list[str]:
    """What was done, and what the number does not say, in sentences.

    Args:
        card: of the run.
    """
    task, protocol = card["task"], card["protocol"]
    seeds = len(protocol["seeds"])
    folds = counted(protocol["folds"], "fold")
    clips, subjects = (
        counted(task["clips"], "clip"),
        counted(task["subjects"], "subject"),
    )
    repeats = "once" if seeds == 1 else f"with {seeds} seeds, whose scores are averaged"
    done = [
        f"The model was asked to tell {', '.join(task['classes'])} in {clips} of "
        f"{subjects} of {task['dataset']}.",
        _PROTOCOLS[protocol["name"]],
        f"The answers of {folds} were pooled before they were scored; the whole was "
        f"run {repeats}.",
        _SELECTIONS[card["selection"]],
        CONTRACTS[card["input_contract"]],
    ]
    limits = [
        "The interval tells how much the score would move with other subjects of the "
        "same kind. It does not cover other datasets, cameras or cultures.",
        "A label says how a clip was annotated, not what a person felt; do not use it "
        "to judge anyone.",
    ]
    return [" ".join(done), " ".join(limits)]


def _cost(compute: Mapping) -> list[tuple[str, str]]:
    """What the run cost, in words; of an unknown thing nothing."""
    told = []
    if compute.get("clips"):
        rate = compute.get("clips_per_second")
        told.append(("training", f"{compute['training_hours']:.3g} hours"))
        told.append(("clips learned from", f"{compute['clips']:,}"))
        if rate:
            told.append(("clips per second", f"{rate:,.3g}"))
    if compute.get("energy_kwh") is not None:
        told.append(("energy", f"{compute['energy_kwh']:.3g} kWh"))
    for key, name in (("devices", "devices"), ("processor", "processor")):
        if compute.get(key):
            told.append((name, str(compute[key])))
    if compute.get("cores"):
        memory = compute.get("memory_gb", 0)
        told.append(("host", f"{compute['cores']} cores, {memory} GB of memory"))
    return told


def _yardsticks(card: Mapping) -> list[dict]:
    """The first score of this run between chance and ceiling, from 0 to 1."""
    first = card["scores"][0]["rows"][0]
    rows = [_yardstick("this run", first["mean"], first["low"], first["high"])]
    rows[0]["own"] = True
    if card["ceiling"]:
        name = card["ceiling"].get("name", "ceiling")
        rows.append(_yardstick(name, card["ceiling"][first["key"]]))
    rows += [
        _yardstick(row["name"], row["value"], row["low"], row["high"])
        for block in card["chance"]
        for row in block["rows"]
    ]
    if card["oracle"]:
        label = "this run, epoch picked on test: no result"
        rows.append(_yardstick(label, card["oracle"][first["key"]]))
    return rows


def _yardstick(
    label: str, value: float, low: float | None = None, high: float | None = None
) -> dict:
    return {"label": label, "value": value, "low": low, "high": high, "own": False}


def _right(predictions: Predictions) -> np.ndarray:
    """Bool [n]: clips of which everything was answered right."""
    task = predictions.task
    true, said = task.marks(predictions.target), task.marks(predictions.answer)
    return (true == said).all(1)


def _subjects(predictions: Predictions) -> list[dict]:
    """Share of right answers of each subject over all seeds, the best first."""
    right = _right(predictions)
    marks = predictions.task.marks(predictions.target)
    seeds = np.unique(predictions.seed).size
    rows = []
    for subject in np.unique(predictions.subject):
        own = predictions.subject == subject
        rows.append(
            {
                "name": str(subject),
                "clips": int(own.sum()) // seeds,
                "right": float(right[own].sum() / seeds),
                "acc": float(right[own].mean()),
                "support": (marks[own].sum(0) // seeds).tolist(),
            }
        )
    # Ties by name, so that the same inputs give the same page.
    return sorted(rows, key=lambda row: (-row["acc"], -row["clips"], row["name"]))
