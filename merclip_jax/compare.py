"""Runs side by side on the clips that all of them judged, with paired differences.

    python -m merclip_jax.compare runs/a runs/b
    python -m merclip_jax.compare --out runs/casme2 --configs configs/casme2_5class.py
        configs/fdp/casme2_5class.py configs/micro_au_clip/casme2.py

With --configs each is trained first, in a folder of its own under --out, by the same
command as ever: what is finished there is not trained again. Whatever else is given
(--config.data.data_dir=..., --config.protocol.seeds="(0,1)") goes to every one. A
detector of AUs takes part by the emotions that fixed rules read off its AUs.
"""

import argparse
import csv
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merclip_jax import atomic, packaged
from merclip_jax.errors import UserError
from merclip_jax.results.card import CardError, read_card
from merclip_jax.scoring import paired
from merclip_jax.scoring.emotion_rules import Rules, rules_of
from merclip_jax.scoring.paired import SCORES, Difference


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
    """A line of the table: a run's scores and how it differs from the first run."""

    name: str
    system: str
    scores: dict[str, float]
    differences: dict[str, Difference]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 compared, 1 not."""
    flags, passed = _parser().parse_known_args(argv)
    try:
        if flags.configs and not flags.out:
            raise UserError("--configs goes with --out, where the runs will lie")
        if passed and not flags.configs:
            raise UserError(f"{' '.join(passed)}: nothing is trained without --configs")
        folders = [*flags.runs, *_train(flags.configs, flags.out, passed)]
        if len(folders) < 2:
            raise UserError("expected two runs or more to compare")
        rows, told = compare([load(folder) for folder in folders])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = table(rows, told)
    print(text)
    if flags.out:
        kept = [dataclasses.asdict(row) for row in rows]
        report = json.dumps({"clips": told, "rows": kept}, indent=1)
        atomic.write_atomically(flags.out / "comparison.json", report.encode())
        atomic.write_atomically(flags.out / "comparison.txt", f"{text}\n".encode())
    return 0


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
    rows = []
    for run in runs:
        scores = paired.resampled(matrices[run.name], whole)
        rows.append(
            Row(
                run.name,
                run.card["system"] + (", emotions by rules" if run.detects else ""),
                {name: float(scores[name][0]) for name in SCORES},
                gaps.get(run.name, {}),
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
    gap = f"UF1 less that of {rows[0].name}, 95 % over subjects (paired bootstrap)"
    lines.append(f"{'run':<{width}}  {'system':<{other}}  {head}  {gap}")
    for row in rows:
        scores = "  ".join(f"{row.scores[name]:6.3f}" for name in SCORES)
        line = f"{row.name:<{width}}  {row.system:<{other}}  {scores}"
        if found := row.differences.get("uf1"):
            line += (
                f"  {found.value:+.3f}  {found.low:+.3f} to {found.high:+.3f}, better "
                f"in {found.better:.0%} of the draws"
            )
        lines.append(line)
    if len({row.system for row in rows}) > 1:
        lines += ["", "Systems see different things of a clip: see each run's card."]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("runs", nargs="*", type=Path, help="folders of finished runs")
    made.add_argument("--configs", nargs="+", default=[], help="to train and compare")
    made.add_argument("--out", type=Path, help="folder of the runs of --configs")
    return made


def _train(
    configs: Sequence[str], out: Path | None, passed: Sequence[str]
) -> list[Path]:
    """Each config's run, one after another, in a process of its own."""
    folders = []
    for config in configs:
        packaged.find(config)  # raises UserError before anything trains
        path = Path(config.partition(":")[0])
        words = [part for part in path.with_suffix("").parts if part != "configs"]
        words += [w for w in re.split(r"[^\w]+", config.partition(":")[2]) if w]
        folder = out / "_".join(words).strip("/._")
        command = [sys.executable, "-m", "merclip_jax.main", f"--config={config}"]
        command += [f"--workdir={folder}", *passed]
        if status := subprocess.run(command, check=False).returncode:
            raise UserError(f"{' '.join(command)}: ended with status {status}")
        folders.append(folder)
    return folders


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


if __name__ == "__main__":
    sys.exit(main())
