"""What a system is asked, and what its answers are worth: emotions here, AUs beside."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from merclip_jax.scoring import chance, metrics
from merclip_jax.scoring.au_task import AUTask
from merclip_jax.scoring.blocks import Block, Outputs, yardstick
from merclip_jax.scoring.blocks import headline as headline_of

if TYPE_CHECKING:
    from merclip_jax.scoring.predictions import Predictions

__all__ = ["AUTask", "EmotionTask"]


@dataclass(frozen=True)
class EmotionTask:
    """One emotion of several a clip, scored by one pooled matrix.

    headline: of UF1, UAR, ACC and WF1, those that head a result; the first one selects.
    """

    names: tuple[str, ...]
    headline: tuple[str, ...] = ("UF1", "UAR", "ACC")

    target = "label"
    reads = ("logits",)

    def answer(self, outputs: Outputs) -> np.ndarray:
        """The class of the greatest logit, [n]; the first one of equals."""
        return outputs["logits"].argmax(-1)

    def probabilities(self, outputs: Outputs) -> np.ndarray:
        """Softmax of the logits, [n, k] float64."""
        return softmax(outputs["logits"].astype(np.float64), axis=-1)

    def marks(self, values: np.ndarray) -> np.ndarray:
        """One name a row."""
        return np.asarray(values)[:, None] == np.arange(len(self.names))

    def calibrate(self, outputs: Outputs, target: np.ndarray) -> Outputs:
        """Nothing: the greatest logit needs no threshold."""
        del outputs, target
        return {}

    def invalid(self, target: np.ndarray) -> np.ndarray:
        """Labels outside the classes; raises ValueError unless they are integers."""
        if target.ndim != 1 or not np.issubdtype(target.dtype, np.integer):
            raise ValueError(
                f"label: expected integers [n], got {target.dtype} {target.shape}"
            )
        return (target < 0) | (target >= len(self.names))

    def select(self, answer: np.ndarray, target: np.ndarray) -> float:
        """The first score of the headline, UF1: accuracy favours frequent classes."""
        found = metrics.scores(self._matrix(target, answer))
        return getattr(found, self.headline[0].lower())

    def score(self, table: "Predictions") -> tuple[Block, ...]:
        """UF1, UAR, ACC; each class; the confusion matrix, all from pooled counts."""
        # One pooled matrix a seed: a mean over folds would weigh small subjects up.
        runs, matrices = {}, []
        for seed in np.unique(table.seed):
            part = table.seed == seed
            matrices.append(self._matrix(table.target[part], table.answer[part]))
            runs[str(seed)] = metrics.scores(matrices[-1])
        intervals = None
        if np.unique(table.subject).size > 1:
            intervals = metrics.subject_intervals(
                table.target,
                table.answer,
                table.subject,
                classes=len(self.names),
                seeds=table.seed,
            )
        headline = headline_of(
            {
                name: [getattr(run, name.lower()) for run in runs.values()]
                for name in self.headline
            },
            seeds=list(runs),
            intervals=vars(intervals) if intervals else {},
        )
        details = self._per_class(list(runs.values()))
        counts = [row.tolist() for row in sum(matrices)]
        matrix = Block(
            kind="matrix",
            title="Confusion matrix",
            rows=tuple(
                {"key": name, "name": name, "counts": row}
                for name, row in zip(self.names, counts, strict=True)
            ),
            columns=self.names,
            note="Rows are what was annotated, columns what was answered; counted over "
            "all seeds.",
        )
        return headline, details, matrix

    def chance(self, table: "Predictions", *, epochs: int) -> tuple[Block, ...]:
        """UF1 of guessing on these clips and folds."""
        rows = table.seed == table.seed.min()
        labels, folds = table.target[rows], table.fold[rows]
        classes = len(self.names)
        prior = chance.guess_by_prior(labels, classes=classes)
        most = chance.majority(labels, classes=classes).uf1
        tests = [labels[folds == fold] for fold in np.unique(folds)]
        best = chance.selection_ceiling(tests, classes=classes, epochs=epochs)
        return (
            Block(
                kind="chance",
                title="UF1 without learning anything",
                rows=(
                    yardstick(
                        "prior",
                        "guessing by class frequency",
                        prior.uf1,
                        low=prior.low,
                        high=prior.high,
                    ),
                    yardstick("majority", "always the most frequent class", most),
                    yardstick("best_on_test", _picked(epochs), best),
                ),
                note=f"“Best of {epochs} epochs picked on test” is what pure guessing "
                "reaches on these folds if each fold keeps the epoch that suits its "
                "own test subject (independent epochs, the worst case); a score "
                "selected in that way has to be read against it.",
            ),
        )

    def _matrix(self, target: np.ndarray, answer: np.ndarray) -> np.ndarray:
        return metrics.confusion_matrix(target, answer, classes=len(self.names))

    def _per_class(self, runs: list[metrics.Scores]) -> Block:
        columns = ("f1", "recall", "precision", "support")
        means = {c: np.mean([getattr(run, c) for run in runs], 0) for c in columns}
        rows = tuple(
            {"key": name, "name": name}
            | {c: float(means[c][i]) for c in columns[:3]}
            | {"support": int(means["support"][i])}
            for i, name in enumerate(self.names)
        )
        return Block(
            kind="table",
            title="Class by class",
            rows=rows,
            columns=columns,
            note="UF1 is the mean of F1, UAR the mean of recall; a class without clips "
            "counts as 0.",
            remarks=tuple(
                f"No clip is {row['name']}: the class counts as 0 in UF1 and UAR."
                for row in rows
                if not row["support"]
            ),
        )


def _picked(epochs: int) -> str:
    return f"guessing, best of {epochs} epochs picked on test"
