"""The report of a run: one HTML file that needs nothing else to be read.

Every text is escaped by the template; every picture is inside the file; the same inputs
give the same bytes.
"""

import os
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from merclip_jax import figures
from merclip_jax.card_text import percent_of_ceiling
from merclip_jax.files import write_atomically
from merclip_jax.predictions import Example, Predictions, softmax

_PROTOCOLS = {
    "loso": "Leave-one-subject-out: each subject's clips were judged by a model "
    "trained on the other subjects only.",
    "holdout": "Hold-out by subject: the test subjects' clips were judged by a model "
    "trained on other subjects only.",
    "kfold": "k-fold by subject: the clips of each group of subjects were judged by a "
    "model trained on the other groups only.",
}
_SELECTIONS = {
    "last": "The model of the last epoch was taken, fixed before training, so nothing "
    "was chosen by looking at test subjects.",
    "inner": "The epoch was chosen on subjects held out from the training subjects; "
    "test subjects had no part in it.",
    "oracle": "The epoch was chosen on the test subjects themselves. This makes every "
    "score on this page an upper bound, not a result.",
}
_CONTRACTS = {
    "oracle-keyframes": "The model was given the annotated onset, apex and offset of "
    "each clip, which an unlabelled video does not have.",
    "onset-offset": "The model was given the annotated onset and offset of each clip, "
    "but not its apex.",
    "raw-window": "The model was given raw windows of video, without key frames.",
}


def write_report(
    path: str | os.PathLike,
    *,
    card: Mapping,
    predictions: Predictions,
    curves: Mapping[str, Mapping[str, np.ndarray]],
    examples: Sequence[Example],
) -> None:
    """Write the report.

    card: of `results.build_card` for these pooled predictions. curves: member -> name
    in `figures.CURVES` -> [epochs]; may be empty, as may examples.
    """
    page = render_report(
        card=card, predictions=predictions, curves=curves, examples=examples
    )
    write_atomically(path, page.encode())


def render_report(
    *,
    card: Mapping,
    predictions: Predictions,
    curves: Mapping[str, Mapping[str, np.ndarray]],
    examples: Sequence[Example],
) -> str:
    """Return the page as text; ValueError if card and predictions do not belong."""
    if predictions.sha256() != card["predictions_sha256"]:
        raise ValueError("the card was made from other predictions than these")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("merclip_jax").joinpath("report.html.j2")
    template = environment.from_string(source.read_text("utf-8"))
    panels = figures.curve_panels(curves) if curves else []
    classes = card["task"]["classes"]
    return template.render(
        card=card,
        percent=percent_of_ceiling(card),
        story=_story(card),
        yardsticks=_yardsticks(card),
        matrix=_matrix(card),
        subjects=_subjects(predictions, len(classes)),
        panels=[panel | {"svg": Markup(panel["svg"])} for panel in panels],
        members=len(curves),
        examples=[_example(example, classes) for example in examples],
    )


def _story(card: Mapping) -> list[str]:
    """What was done, and what the number does not say, in sentences."""
    task, protocol = card["task"], card["protocol"]
    seeds = len(protocol["seeds"])
    counted = f"{task['clips']} clips of {task['subjects']} subjects"
    name, contract = protocol["name"], card["input_contract"]
    how = _PROTOCOLS.get(name.replace("-", ""), f"Protocol: {name}.")
    folds = "1 fold" if protocol["folds"] == 1 else f"{protocol['folds']} folds"
    repeats = "once" if seeds == 1 else f"with {seeds} seeds, whose scores are averaged"
    done = [
        f"{counted} of {task['dataset']} were sorted into {len(task['classes'])} "
        f"classes: {', '.join(task['classes'])}.",
        how,
        f"The answers of {folds} were pooled into one confusion matrix and scored; "
        f"the whole was run {repeats}.",
        _SELECTIONS.get(
            card["selection"], f"Selection of the epoch: {card['selection']}."
        ),
        _CONTRACTS.get(contract, f"Input: {contract}."),
    ]
    limits = [
        "The interval tells how much the score would move with other subjects of the "
        "same kind. It does not cover other datasets, cameras or cultures."
    ]
    if task["dataset"].startswith("synthetic"):
        limits.insert(
            0,
            "The clips are synthetic, every pixel of them computed. The score shows "
            "that the program learns what is there to learn; it predicts nothing "
            "about people.",
        )
    else:
        limits.append(
            "A label says how a clip was annotated, not what a person felt; do not use "
            "it to judge anyone."
        )
    return [" ".join(done), " ".join(limits)]


def _yardsticks(card: Mapping) -> list[dict]:
    """UF1 of this run between chance and ceiling, as rows on one scale from 0 to 1."""
    uf1, chance = card["scores"]["uf1"], card["chance"]
    prior = chance["prior_uf1"]
    rows = [
        _row("this run", uf1["mean"], uf1["low"], uf1["high"], own=True),
        _row("guessing by class frequency", prior["mean"], prior["low"], prior["high"]),
        _row("always the most frequent class", chance["majority_uf1"]),
        _row(
            f"guessing, best of {chance['epochs']} epochs picked on test",
            chance["best_on_test_uf1"],
        ),
    ]
    if card["ceiling"]:
        name = card["ceiling"].get("name", "ceiling")
        rows.insert(1, _row(name, card["ceiling"]["uf1"]))
    if card["oracle"]:
        label = "this run, epoch picked on test: no result"
        rows.append(_row(label, card["oracle"]["uf1"]))
    return rows


def _row(
    label: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    own: bool = False,
) -> dict:
    return {"label": label, "value": value, "low": low, "high": high, "own": own}


def _matrix(card: Mapping) -> list[dict]:
    """Rows of the confusion matrix: counts over all seeds and the row's shares."""
    rows = []
    matrix = card["scores"]["confusion_matrix"]
    for per_class, counts in zip(card["scores"]["per_class"], matrix, strict=True):
        total = max(sum(counts), 1)
        cells = [{"count": count, "share": count / total} for count in counts]
        rows.append(dict(per_class) | {"cells": cells})
    return rows


def _subjects(predictions: Predictions, classes: int) -> list[dict]:
    """Accuracy of each subject over all seeds, the best first."""
    right = predictions.predicted == predictions.label
    seeds = np.unique(predictions.seed).size
    rows = []
    for subject in np.unique(predictions.subject):
        own = predictions.subject == subject
        support = np.bincount(predictions.label[own], minlength=classes) // seeds
        rows.append(
            {
                "name": str(subject),
                "clips": int(own.sum()) // seeds,
                "right": float(right[own].sum() / seeds),
                "acc": float(right[own].mean()),
                "support": support.tolist(),
            }
        )
    return sorted(rows, key=lambda row: (-row["acc"], -row["clips"], row["name"]))


def _example(example: Example, classes: Sequence[str]) -> dict:
    """Pictures and numbers of one clip."""
    frames = np.asarray(example.frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"{example.clip}: expected frames [t, h, w, 3] uint8, got "
            f"{frames.shape} {frames.dtype}"
        )
    if np.shape(example.logits) != (len(classes),):
        raise ValueError(f"{example.clip}: expected {len(classes)} logits")
    last = len(frames) - 1
    apex = figures.apex_of(frames) if example.apex is None else example.apex
    if not 0 <= apex <= last:
        raise ValueError(f"{example.clip}: apex {apex} of {len(frames)} frames")
    shown = sorted({0, apex // 2, apex, (apex + last + 1) // 2, last})
    names = {last: "offset", apex: "apex", 0: "onset"}
    heat, gain = figures.onset_difference(frames, apex)
    p = softmax(example.logits)
    guess = int(p.argmax())
    return {
        "clip": example.clip,
        "subject": example.subject,
        "true": classes[example.label],
        "guess": classes[guess],
        "right": guess == example.label,
        "strip": [
            {"name": names.get(i, f"frame {i + 1}"), "src": figures.png(frames[i])}
            for i in shown
        ],
        "heat": {"src": figures.png(heat), "gain": gain},
        "bars": [{"name": c, "p": float(v)} for c, v in zip(classes, p, strict=True)],
        "au_text": example.au_text,
        "matches": [{"text": text, "cosine": s} for text, s in example.matches],
    }
