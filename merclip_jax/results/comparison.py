"""Runs side by side on the clips that all of them judged, with paired differences."""

import csv
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.results.card import CardError, read_card
from merclip_jax.scoring import metrics, paired, published
from merclip_jax.scoring.emotion_rules import Rules, rules_of
from merclip_jax.scoring.paired import SCORES, Difference, McNemar


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its folder, card, and rows of predictions.csv."""

    name: str
    card: dict
    rows: list[dict[str, str]]

    @property
    def detects(self) -> bool:
        """Whether it answers AUs, not emotions."""
        return all(
            re.fullmatch(r"AU\d+", name) for name in self.card["task"]["classes"]
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: a run's scores and how it differs from the first run.

    intervals: of the scores over subjects; classes: name -> F1, recall, precision;
    mcnemar: against the first run, on clips of the seeds that both have.
    """

    name: str
    system: str
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    classes: dict[str, dict[str, float]]
    differences: dict[str, Difference]
    mcnemar: McNemar | None = None


def load(folder: Path) -> Run:
    """A finished run.

    Args:
        folder: with its card and its predictions.

    Raises:
        UserError: one of them lacks or is not whole.
    """
    try:
        card = read_card(folder / "card.json")
        with (folder / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, CardError) as error:
        raise UserError(
            f"{folder}: expected a finished run, its card.json and predictions.csv "
            f"({error})"
        ) from error
    return Run(folder.name, card, rows)


def compare(runs: Sequence[Run]) -> tuple[list[Row], str]:
    """A row for each run, on the clips that all of them judged.

    Args:
        runs: the first is what the others are compared with; one of them at least
            answers emotions.

    Returns:
        The rows, and a sentence on the clips.

    Raises:
        UserError: of another dataset, other classes or folds, or without common clips.
    """
    classes = _classes(runs)
    datasets = {run.card["task"]["dataset_fingerprint"] for run in runs}
    if len(datasets) > 1:
        told = [f"{r.name}: {r.card['task']['dataset']}" for r in runs]
        raise UserError(f"runs on different datasets: {', '.join(told)}")
    common = set.intersection(*({row["clip"] for row in run.rows} for run in runs))
    emotions = next(run for run in runs if not run.detects)
    truth = {row["clip"]: row["true"] for row in emotions.rows}
    common &= truth.keys()
    if not common:
        raise UserError("no clip was judged by all of these runs")
    _check(runs, common, truth)
    subjects = sorted({r["subject"] for r in emotions.rows if r["clip"] in common})
    matrices = {
        run.name: _counts(run, common, truth, classes, subjects) for run in runs
    }
    if len(matrices) < len(runs):
        raise UserError(f"two runs of one name: {[run.name for run in runs]}")
    whole = np.ones((1, len(subjects)), np.int64)
    gaps = {}
    if len(subjects) > 1:
        gaps = paired.differences(matrices, runs[0].name)
    right = [_right(run, common, truth, classes) for run in runs]
    rows = []
    for run, own in zip(runs, right, strict=True):
        made = matrices[run.name]
        scores = paired.resampled(made, whole)
        intervals = vars(metrics.intervals_of(made)) if len(subjects) > 1 else {}
        # The same seeds of both: another seed is another model.
        both = sorted(own.keys() & right[0].keys())
        rows.append(
            Row(
                run.name,
                run.card["system"] + (", emotions by rules" if run.detects else ""),
                {name: float(scores[name][0]) for name in SCORES},
                dict(intervals),
                _classwise(made, classes),
                gaps.get(run.name, {}),
                paired.mcnemar(
                    np.asarray([own[key] for key in both]),
                    np.asarray([right[0][key] for key in both]),
                )
                if both and run is not runs[0]
                else None,
            )
        )
    most = max(len({row["clip"] for row in run.rows}) for run in runs)
    told = (
        f"{len(common)} clips of {len(subjects)} subjects, judged by all"
        + (f" ({most} by the run with most)" if most > len(common) else "")
        + f"; classes: {', '.join(classes)}"
    )
    return rows, told


def table(rows: Sequence[Row], told: str) -> str:
    """The comparison as lines of text.

    Args:
        rows: of `compare`.
        told: on which clips.
    """
    width = max(len(row.name) for row in rows)
    other = max(len(row.system) for row in rows)
    lines = [told, ""]
    head = "  ".join(f"{name.upper():>6}" for name in SCORES)
    lines.append(
        f"{'run':<{width}}  {'system':<{other}}  {head}  UF1, 95 % over subjects"
    )
    for row in rows:
        scores = "  ".join(f"{row.scores[name]:6.3f}" for name in SCORES)
        line = f"{row.name:<{width}}  {row.system:<{other}}  {scores}"
        if own := row.intervals.get("uf1"):
            line += f"  {own[0]:.3f} to {own[1]:.3f}"
        lines.append(line)
    if any(row.differences for row in rows):
        lines += ["", f"UF1 less that of {rows[0].name}, 95 % over subjects (paired):"]
    for row in rows[1:]:
        if found := row.differences.get("uf1"):
            line = (
                f"{row.name:<{width}}  {found.value:+.3f}  {found.low:+.3f} to "
                f"{found.high:+.3f}, better in {found.better:.0%} of the draws"
            )
            if test := row.mcnemar:
                line += (
                    f"; right where the other is wrong {test.mine}, the reverse "
                    f"{test.theirs} (McNemar p = {test.p:.2g}, which takes clips for "
                    "independent)"
                )
            lines.append(line)
    names = list(rows[0].classes)
    cell = max(6, *(len(name) for name in names))
    shown = "  ".join(f"{name:>{cell}}" for name in names)
    lines += ["", f"{'F1 of each class':<{max(width, 16)}}  {shown}"]
    for row in rows:
        each = "  ".join(f"{row.classes[name]['f1']:{cell}.3f}" for name in names)
        lines.append(f"{row.name:<{max(width, 16)}}  {each}")
    if len({row.system for row in rows}) > 1:
        lines += ["", "Systems see different things of a clip: see each run's card."]
    return "\n".join(lines)


def published_on(runs: Sequence[Run]) -> str:
    """What others printed on the runs' task, in lines of text.

    Args:
        runs: whose first one's task it is.
    """
    task = runs[0].card["task"]["name"]
    found = published.on(task)
    if not found:
        return f"Nobody's number on {task} is in scoring/field.csv."
    lines = [f"Published on {task} (docs/field.md):"]
    for row in found:
        scores = ", ".join(
            f"{name.upper()} {value:.3f}"
            for name, value in row.scores.items()
            if value is not None
        )
        lines.append(
            f"  {row.method} ({row.year}): {scores}; given: {row.given}; before: "
            f"{row.pretraining}; {published.SELECTIONS[row.selection]}; {row.source}"
        )
    return "\n".join(lines)


def _right(
    run: Run, common: set[str], truth: dict[str, str], classes: list[str]
) -> dict[tuple[str, str], bool]:
    """Whether each clip was answered right with each seed."""
    rules = _rules(classes, run) if run.detects else None
    found = {}
    for row in run.rows:
        if row["clip"] in common:
            said = row["predicted"]
            said = rules.read(_numbers(said)) if rules else said
            found[row["clip"], row["seed"]] = said == truth[row["clip"]]
    return found


def _classwise(matrices: np.ndarray, classes: list[str]) -> dict[str, dict[str, float]]:
    """F1, recall and precision of each class, mean over seeds."""
    runs = [metrics.scores(matrix) for matrix in matrices.sum(0)]
    return {
        name: {
            kind: float(np.mean([getattr(run, kind)[k] for run in runs]))
            for kind in ("f1", "recall", "precision")
        }
        for k, name in enumerate(classes)
    }


def _classes(runs: Sequence[Run]) -> list[str]:
    named = {tuple(sorted(r.card["task"]["classes"])) for r in runs if not r.detects}
    if len(named) != 1:
        raise UserError(
            "expected runs of one set of emotions, one at least: "
            f"{[list(n) for n in sorted(named)]}"
        )
    return list(next(iter(named)))


def _check(runs: Sequence[Run], common: set[str], truth: dict[str, str]) -> None:
    """The same truth, and clips left out together by one left out so by all."""
    for run in runs:
        if _folds(run, common) != _folds(runs[0], common):
            raise UserError(f"{run.name}: other folds than {runs[0].name}'s")
        odd = [
            row["clip"]
            for row in run.rows
            if row["clip"] in common
            and not run.detects
            and row["true"] != truth[row["clip"]]
        ]
        if odd:
            raise UserError(f"{run.name}: other labels than elsewhere: {odd[:5]}")


def _folds(run: Run, common: set[str]) -> set[frozenset[str]]:
    """The clips of each fold: what one of its models never trained on."""
    found: dict[str, set[str]] = {}
    for row in run.rows:
        if row["clip"] in common:
            found.setdefault(row["fold"], set()).add(row["clip"])
    return set(map(frozenset, found.values()))


def _counts(
    run: Run,
    common: set[str],
    truth: dict[str, str],
    classes: list[str],
    subjects: list[str],
) -> np.ndarray:
    rows = [row for row in run.rows if row["clip"] in common]
    said = [row["predicted"] for row in rows]
    if run.detects:
        rules = _rules(classes, run)
        said = [rules.read(_numbers(cell)) for cell in said]
    index = {name: i for i, name in enumerate(classes)}
    target = np.asarray([index[truth[row["clip"]]] for row in rows])
    answer = np.asarray([index[name] for name in said])
    return paired.counts(
        target,
        answer,
        np.asarray([row["subject"] for row in rows]),
        np.asarray([int(row["seed"]) for row in rows]),
        subjects=subjects,
        classes=len(classes),
    )


def _rules(classes: list[str], run: Run) -> Rules:
    try:
        return rules_of(classes)
    except ValueError as error:
        raise UserError(f"{run.name}: {error}") from error


def _numbers(cell: str) -> set[int]:
    return {int(name.removeprefix("AU")) for name in cell.split("+") if name}
