"""Which AUs a clip shows: what an answer to that is worth."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from scipy.special import expit

from merclip_jax.declared import OneOf, check
from merclip_jax.scoring import au_metrics
from merclip_jax.scoring.blocks import Block, Outputs, headline, yardstick
from merclip_jax.scoring.emotion_rules import rules_of
from merclip_jax.scoring.metrics import ratio

if TYPE_CHECKING:
    from merclip_jax.scoring.predictions import Predictions

# Above which probability an AU is said: 0.5, or what suits each fold's inner subjects.
THRESHOLDS = ("half", "inner")
# The classes of an emotion task: (class, its emotions), ...
EmotionClasses = tuple[tuple[str, tuple[str, ...]], ...]
COLUMNS = ("f1", "auc_pr", "floor", "recall", "precision", "support")


@dataclass(frozen=True)
class AUScoreOptions:
    """How answers about AUs are read.

    threshold: "half", 0.5 for all, or "inner", one for each AU and fold, chosen on the
    inner subjects; emotions: tasks (name, (class, its emotions), ...) that AUs are read
    for by `emotion_rules`, beside the score.
    """

    threshold: Annotated[str, OneOf(THRESHOLDS)] = "half"
    emotions: tuple[tuple[str, EmotionClasses], ...] = ()

    def __post_init__(self):
        check(self)
        for _, classes in self.emotions:
            rules_of([name for name, _ in classes])


@dataclass(frozen=True)
class AUTask:
    """Which AUs a clip shows, several at once: F1 of each and their mean.

    An AU is answered where its logit is above a threshold. As everywhere, counts are
    pooled over folds before F1 is taken, and an AU that nobody shows counts as 0.

    names: of the AUs; threshold: "half", a logit of 0 for all, or "inner", one an AU,
    chosen by F1 on subjects held out of the fold's training. These stand among the
    outputs as "thresholds" [n, a]: a member's file keeps what its answers were made of.
    """

    names: tuple[str, ...]
    threshold: str = AUScoreOptions.threshold

    target = "aus"

    @property
    def reads(self) -> tuple[str, ...]:
        """Logits [n, a], and the logits that they are compared with."""
        return ("aus", "thresholds") if self.threshold == "inner" else ("aus",)

    def answer(self, outputs: Outputs) -> np.ndarray:
        """Bool [n, a]."""
        return outputs["aus"] > outputs.get("thresholds", np.float32(0))

    def probabilities(self, outputs: Outputs) -> np.ndarray:
        """Sigmoid of the logits, [n, a] float64; no threshold moves them."""
        return expit(outputs["aus"].astype(np.float64))

    def calibrate(self, outputs: Outputs, target: np.ndarray) -> Outputs:
        """Of "inner" the thresholds [a] that suit these clips, none of them a test's.

        Args:
            outputs: logits of the inner subjects' clips.
            target: what these show, [n, a].
        """
        if self.threshold != "inner":
            return {}
        return {"thresholds": au_metrics.thresholds(target, outputs["aus"])}

    def marks(self, values: np.ndarray) -> np.ndarray:
        """The AUs that are on."""
        return np.asarray(values).astype(bool)

    def invalid(self, target: np.ndarray) -> np.ndarray:
        """Rows that hold anything but 0 and 1; raises ValueError for other shapes."""
        if target.ndim != 2 or target.shape[1] != len(self.names):
            raise ValueError(
                f"aus: expected [n, {len(self.names)}], got {target.shape}"
            )
        return ~np.isin(target, (0, 1)).all(1)

    def select(self, answer: np.ndarray, target: np.ndarray) -> float:
        """The mean F1."""
        return float(au_metrics.f1(au_metrics.counts(target, answer)).mean())

    def score(self, table: "Predictions") -> tuple[Block, ...]:
        """Mean F1 and mean AUC-PR; each AU; which come together."""
        answer = table.answer
        runs = [table.seed == seed for seed in np.unique(table.seed)]

        def f1(rows: np.ndarray) -> float:
            return self.select(answer[rows], table.target[rows])

        def auc_pr(rows: np.ndarray) -> float:
            return float(self._auc_pr(table, rows).mean())

        measures = {"F1": f1, "AUC-PR": auc_pr}
        intervals = {}
        if np.unique(table.subject).size > 1:
            intervals = {
                name.lower(): au_metrics.subject_interval(
                    measure, table.subject, seeds=table.seed
                )
                for name, measure in measures.items()
            }
        scores = headline(
            {
                name: [measure(run) for run in runs]
                for name, measure in measures.items()
            },
            seeds=[str(seed) for seed in np.unique(table.seed)],
            intervals=intervals,
        )
        if self.threshold == "inner":
            said = "Thresholds of F1 were chosen on each fold's inner subjects."
            scores = dataclasses.replace(scores, remarks=(*scores.remarks, said))
        return scores, self._per_au(table, runs), self._together(table, runs)

    def chance(self, table: "Predictions", *, epochs: int) -> tuple[Block, ...]:
        """F1 of saying each AU as often as it occurs, and of always saying it."""
        del epochs  # the bound of a selection is drawn for single labels only
        target = table.target[table.seed == table.seed.min()]
        mean, low, high = au_metrics.guess_by_prior(target)
        always = float(au_metrics.always(target).mean())
        return (
            Block(
                kind="chance",
                title="F1 without learning anything",
                rows=(
                    yardstick(
                        "prior", "guessing by AU frequency", mean, low=low, high=high
                    ),
                    yardstick("always", "always every AU", always),
                ),
            ),
        )

    def _auc_pr(self, table: "Predictions", rows: np.ndarray) -> np.ndarray:
        return au_metrics.average_precision(
            table.target[rows], table.outputs["aus"][rows]
        )

    def _per_au(self, table: "Predictions", runs: list[np.ndarray]) -> Block:
        answer = table.answer
        counts = [au_metrics.counts(table.target[run], answer[run]) for run in runs]
        f1, recall, precision = (
            np.mean([measure(one) for one in counts], 0)
            for measure in (au_metrics.f1, au_metrics.recall, au_metrics.precision)
        )
        auc_pr = np.mean([self._auc_pr(table, run) for run in runs], 0)
        target = table.target[runs[0]]
        floor, support = au_metrics.always(target), target.astype(int).sum(0)
        values = (f1, auc_pr, floor, recall, precision, support)
        rows = tuple(
            {"key": name, "name": name}
            | {c: v[i].item() for c, v in zip(COLUMNS, values, strict=True)}
            for i, name in enumerate(self.names)
        )
        return Block(
            kind="table",
            title="AU by AU",
            rows=rows,
            columns=COLUMNS,
            note="The headline is the mean of F1; an AU without clips counts as 0. "
            "Floor: F1 of saying the AU of every clip. AUC-PR ranks the clips of all "
            f"folds by logit; guessing gives support / {len(target)} clips.",
            remarks=tuple(
                f"No clip shows {row['name']}: it counts as 0 in the mean F1."
                for row in rows
                if not row["support"]
            ),
        )

    def _together(self, table: "Predictions", runs: list[np.ndarray]) -> Block:
        """Share of the clips with AU i that have AU j, as annotated and as answered."""
        shares = []
        # Annotations are the same for all seeds; answers are counted over all.
        for shown in (table.target[runs[0]], table.answer):
            count = au_metrics.together(shown)
            own = np.diag(count)
            share = ratio(count, np.repeat(own[:, None], len(own), 1))
            shares.append(
                [
                    row.tolist() if own[i] else [None] * len(own)
                    for i, row in enumerate(share)
                ]
            )
        rows = tuple(
            {"key": f"with_{name}", "name": name, "annotated": true, "answered": said}
            for name, true, said in zip(self.names, *shares, strict=True)
        )
        return Block(
            kind="shares",
            title="AUs that come together",
            rows=rows,
            columns=self.names,
            note="Of the clips with the AU of a row, the percentage that has the AU of "
            "a column too; – where no clip has the first.",
        )
