"""The result card: what was measured, how, and how far the number can be trusted.

The card is a plain dict that is written as JSON. `card_sha256` signs what was measured
and how; the command and the timing stand outside it, so that two runs of the same thing
in two places carry the same signature.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from merclip_jax import metrics
from merclip_jax.card_text import format_card, percent_of_ceiling
from merclip_jax.files import write_atomically
from merclip_jax.predictions import Example, Predictions, pool, write_predictions_csv

__all__ = [
    "SCHEMA",
    "CardError",
    "Example",
    "Predictions",
    "build_card",
    "card_sha256",
    "clip_list_sha256",
    "format_card",
    "percent_of_ceiling",
    "pool",
    "read_card",
    "write_card",
    "write_predictions_csv",
]

SCHEMA = "merclip_jax.card/1"
_BLOCKS = (
    "title task protocol recipe selection input_contract config config_sha256 scores "
    "chance ceiling oracle lineage versions notes predictions_sha256 command timing"
).split()
_UNSIGNED = ("card_sha256", "command", "timing")


class CardError(ValueError):
    """A file that is not a whole, untouched result card."""


def clip_list_sha256(predictions: Predictions, classes: Sequence[str]) -> str:
    """Checksum of which clips the task has: lines of clip, subject, class, sorted."""
    zipped = zip(predictions.clip, predictions.subject, predictions.label, strict=True)
    lines = sorted(
        {f"{clip}\t{subject}\t{classes[k]}\n" for clip, subject, k in zipped}
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def build_card(
    *,
    title: str,
    task: str,
    dataset: str,
    dataset_fingerprint: str,
    classes: Sequence[str],
    protocol: str,
    recipe: str,
    selection: str,
    input_contract: str,
    config: Mapping,
    predictions: Predictions,
    epochs: int,
    versions: Mapping[str, str],
    command: str = "",
    dropped: Sequence[str] = (),
    ceiling: Mapping | None = None,
    oracle: Mapping | None = None,
    lineage: Sequence[str] = (),
    timing: Mapping | None = None,
    notes: Sequence[str] = (),
    bootstrap_samples: int = 2000,
) -> dict:
    """Score pooled predictions and state everything the number depends on.

    config: flat dict. epochs: how many a best-on-test selection could have chosen from.
    ceiling: {name, uf1, uar, acc} that no model can pass (synthetic data). oracle:
    {uf1, uar, acc} selected on the test folds, an upper bound and never the headline.
    """
    classes = [str(name) for name in classes]
    if len(classes) != predictions.classes or len(set(classes)) != len(classes):
        raise ValueError(
            f"{predictions.classes} logits but classes {classes}: expected a name each"
        )
    for name, column in (("ceiling", ceiling), ("oracle", oracle)):
        lacking = {"uf1", "uar", "acc"} - set(column or ("uf1", "uar", "acc"))
        if lacking:
            raise ValueError(f"{name}: lacks {sorted(lacking)}")
    scored, remarks = _scores(predictions, classes, bootstrap_samples)
    config = _plain(dict(config), "config")
    card = {
        "schema": SCHEMA,
        "title": title,
        "task": {
            "name": task,
            "dataset": dataset,
            "dataset_fingerprint": dataset_fingerprint,
            "classes": classes,
            "clips": np.unique(predictions.clip).size,
            "subjects": np.unique(predictions.subject).size,
            "clip_list_sha256": clip_list_sha256(predictions, classes),
            "dropped": sorted(dropped),
        },
        "protocol": {
            "name": protocol,
            "folds": np.unique(predictions.fold).size,
            "seeds": np.unique(predictions.seed),
        },
        "recipe": recipe,
        "selection": selection,
        "input_contract": input_contract,
        "config": config,
        "config_sha256": _sha256(config),
        "scores": scored,
        "chance": _chance(predictions, epochs),
        "ceiling": dict(ceiling) if ceiling else None,
        "oracle": dict(oracle) if oracle else None,
        "lineage": list(lineage),
        "versions": dict(versions),
        "notes": [*notes, *remarks],
        "predictions_sha256": predictions.sha256(),
        "command": command,
        "timing": dict(timing or {}),
    }
    card = _plain(card, "card")
    return card | {"card_sha256": card_sha256(card)}


def card_sha256(card: Mapping) -> str:
    """Signature of a card: everything but the command, the timing and itself."""
    return _sha256({key: card[key] for key in card if key not in _UNSIGNED})


def write_card(path: str | os.PathLike, card: Mapping) -> None:
    """Write the card as JSON, whole or not at all."""
    text = json.dumps(
        _plain(card, "card"), sort_keys=True, indent=2, ensure_ascii=False
    )
    write_atomically(path, (text + "\n").encode())


def read_card(path: str | os.PathLike) -> dict:
    """Read a card; CardError if it is truncated, foreign or was edited."""
    try:
        card = json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        raise CardError(f"{path}: not a whole JSON file ({error})") from error
    schema = card.get("schema") if isinstance(card, dict) else None
    if schema != SCHEMA:
        raise CardError(f"{path}: schema is {schema!r}, expected {SCHEMA!r}")
    lacking = [key for key in (*_BLOCKS, "card_sha256") if key not in card]
    if lacking:
        raise CardError(f"{path}: the card lacks {', '.join(lacking)}")
    if card_sha256(card) != card["card_sha256"]:
        raise CardError(f"{path}: changed since it was written (card_sha256 differs)")
    return card


def _scores(
    predictions: Predictions, classes: list[str], samples: int
) -> tuple[dict, list[str]]:
    """Score each seed on its pooled matrix; also what to remark about the data."""
    k, guess = len(classes), predictions.predicted
    matrices, runs = [], {}
    for seed in np.unique(predictions.seed):
        rows = predictions.seed == seed
        matrix = metrics.confusion_matrix(
            predictions.label[rows], guess[rows], classes=k
        )
        matrices.append(matrix)
        runs[str(seed)] = metrics.scores(matrix)
    several = len(runs) > 1
    remarks = [] if several else ["One seed: the spread over seeds is unknown."]
    intervals = None
    if np.unique(predictions.subject).size > 1:
        intervals = metrics.subject_bootstrap(
            predictions.label,
            guess,
            predictions.subject,
            classes=k,
            seeds=predictions.seed,
            samples=samples,
        )
    else:
        remarks.append("One test subject: no interval over subjects can be given.")
    block = {
        "interval": f"95 % percentile bootstrap over subjects, {samples} resamples",
        "confusion_matrix": sum(matrices),
    }
    for name in ("uf1", "uar", "acc"):
        values = [getattr(run, name) for run in runs.values()]
        low, high = getattr(intervals, name) if intervals else (None, None)
        block[name] = {
            "mean": np.mean(values),
            "sd": np.std(values, ddof=1) if several else None,
            "low": low,
            "high": high,
            "per_seed": dict(zip(runs, values, strict=True)),
        }
    per_class = {
        name: np.mean([getattr(run, name) for run in runs.values()], axis=0)
        for name in ("f1", "recall", "precision", "support")
    }
    block["per_class"] = [
        {"class": c} | {name: column[i] for name, column in per_class.items()}
        for i, c in enumerate(classes)
    ]
    for row in block["per_class"]:
        row["support"] = int(row["support"])
        if row["support"] == 0:
            remarks.append(
                f"No clip is {row['class']}: the class counts as 0 in UF1 and UAR."
            )
    return block, remarks


def _chance(predictions: Predictions, epochs: int) -> dict:
    """What a guesser would score on these clips and folds."""
    rows = predictions.seed == predictions.seed.min()
    labels, folds = predictions.label[rows], predictions.fold[rows]
    prior = metrics.guess_by_prior(labels, classes=predictions.classes)
    tests = [labels[folds == fold] for fold in np.unique(folds)]
    ceiling = metrics.selection_ceiling(
        tests, classes=predictions.classes, epochs=epochs
    )
    return {
        "prior_uf1": {"mean": prior.uf1, "low": prior.low, "high": prior.high},
        "majority_uf1": metrics.majority(labels, classes=predictions.classes).uf1,
        "best_on_test_uf1": ceiling,
        "epochs": epochs,
    }


def _plain(value, where: str):
    """Turn numpy and tuples into what JSON has; `where` names the key in errors."""
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise CardError(f"{where}: keys must be str, got {wrong[0]!r}")
        return {key: _plain(value[key], f"{where}.{key}") for key in value}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise CardError(f"{where} is {value}: a card holds finite numbers")
    if value is not None and not isinstance(value, str | bool | int | float):
        raise CardError(f"{where}: cannot write {type(value).__name__} to a card")
    return value


def _sha256(value: Mapping) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
