"""What emotions a system's AUs amount to, beside those that were annotated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from merclip_jax import facs
from merclip_jax.data.classes import dataset_of, labels
from merclip_jax.data.clips import Clips
from merclip_jax.data.folds import Member
from merclip_jax.scoring import metrics
from merclip_jax.scoring.au_task import EmotionClasses
from merclip_jax.scoring.blocks import Block
from merclip_jax.scoring.emotion_rules import (
    TEXT,
    Reading,
    Rules,
    part_of_all,
    rules_of,
)
from merclip_jax.training.members import MemberResult
from merclip_jax.training.stack import Plan

COLUMNS = ("acc", "uf1", "uf1_low", "uf1_high", "uar", "wf1")


@dataclass(frozen=True)
class ReadOff:
    """What a run's AUs amount to in one emotion task; a row for each clip and seed.

    task: its name; classes: how many; answers: form -> [n] class; label: [n] class;
    subject: [n] str; seed: [n] int; note: how it was read.
    """

    task: str
    classes: int
    answers: Mapping[str, np.ndarray]
    label: np.ndarray
    subject: np.ndarray
    seed: np.ndarray
    note: str

    def block(self) -> Block:
        """Its scores as a table, a row for each form."""
        rows = tuple(
            {"key": f"{self.task}/{key}", "name": NAMES[key]} | self._scores(answer)
            for key, answer in self.answers.items()
        )
        return Block(
            kind="table",
            title=f"Emotion read off the AUs: {self.task}",
            rows=rows,
            columns=COLUMNS,
            note=self.note,
        )

    def _scores(self, answer: np.ndarray) -> dict[str, float | None]:
        """Means over seeds, and the interval of UF1 over subjects, None for one."""
        runs = [
            metrics.scores(
                metrics.confusion_matrix(
                    self.label[own], answer[own], classes=self.classes
                )
            )
            for own in (self.seed == seed for seed in np.unique(self.seed))
        ]
        found: dict[str, float | None] = {
            name: float(np.mean([getattr(run, name) for run in runs]))
            for name in ("acc", "uf1", "uar", "wf1")
        }
        low, high = None, None
        if np.unique(self.subject).size > 1:
            low, high = metrics.subject_intervals(
                self.label,
                answer,
                self.subject,
                classes=self.classes,
                seeds=self.seed,
            ).uf1
        return found | {"uf1_low": low, "uf1_high": high}


def read_off(
    plan: Plan,
    members: Sequence[Member],
    results: Sequence[MemberResult],
    tasks: Sequence[tuple[str, EmotionClasses]],
    *,
    selected: bool,
) -> list[ReadOff]:
    """What each emotion task becomes; none where no clip is of it, or none says AUs.

    Args:
        plan: of the run.
        members: all of it.
        results: of each member.
        tasks: (name, (class, its emotions), ...) by which the clips were labelled.
        selected: whether to take the answers of the chosen epoch, not of the last.
    """
    if not tasks:
        return []
    chosen = [result.best if selected else result.outputs for result in results]
    clips, columns = plan.store.clips, dict(plan.columns)
    readings = [
        plan.system.reading(clips, columns, plan.context, member.fold.train, outputs)
        for member, outputs in zip(members, chosen, strict=True)
    ]
    if any(reading is None for reading in readings):
        return []
    index = np.concatenate([member.fold.test for member in members])
    seeds = np.concatenate([np.full(len(m.fold.test), m.seed) for m in members])
    emotions = clips.emotion[index].tolist()
    datasets = [dataset_of(name) for name in clips.clip[index].tolist()]
    found = []
    for name, classes in tasks:
        label = labels(classes, datasets, emotions)
        rows = label >= 0  # what the task leaves out is not scored
        if not rows.any():
            continue
        rules = rules_of([title for title, _ in classes])
        each = [
            _answers(clips, rules, member, reading, outputs)
            for member, reading, outputs in zip(members, readings, chosen, strict=True)
        ]
        # From the order of the rules to that of the task's classes.
        place = [title for title, _ in classes].index
        order = np.asarray([place(title) for title in rules.names])
        answers = {
            form: order[np.concatenate([one[form] for one in each])][rows]
            for form in NAMES
            if all(form in one for one in each)
        }
        answers["majority"] = np.full(rows.sum(), np.bincount(label[rows]).argmax())
        count = len(np.unique(index[rows]))
        found.append(
            ReadOff(
                task=name,
                classes=len(classes),
                answers=answers,
                label=label[rows],
                subject=clips.subject[index[rows]],
                seed=seeds[rows],
                note=_note(name, answers, rules, readings, count),
            )
        )
    return found


# Form -> what its row is called.
NAMES = {
    "hard": "hard rules",
    "soft": "soft rules",
    "text": "AU text",
    "own": "annotated AUs",
    "all": "annotated, all",
    "majority": "most frequent",
}


def _answers(
    clips: Clips,
    rules: Rules,
    member: Member,
    reading: Reading,
    outputs: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Form -> answers of the member's test clips, indices into the rules' names."""
    found = {
        "hard": rules.hard(reading.shown, reading.aus),
        "soft": rules.soft(reading.probabilities, reading.aus).argmax(1),
    }
    if TEXT in outputs:
        found["text"] = outputs[TEXT][:, part_of_all(rules)].argmax(1)
    cells = clips.au_cell[member.fold.test].tolist()
    every = [facs.parse_cell(cell).numbers for cell in cells]
    for form, aus in (("own", reading.aus), ("all", rules.reads)):
        shown = np.asarray([[au in own for au in aus] for own in every])
        found[form] = rules.hard(shown, aus)
    return found


def _note(
    name: str,
    answers: Mapping[str, np.ndarray],
    rules: Rules,
    readings: list[Reading],
    clips: int,
) -> str:
    note = (
        f"{clips} clips of {name}; no emotion label has a part in the reading. Rules "
        "of our own after FACS turn AUs into emotions: as answered (hard), by the "
        "probability of each AU (soft)"
    )
    if "text" in answers:
        note += ", by sentences of the AUs that an emotion lists (AU text)"
    note += (
        ". “annotated AUs” reads the annotators' own in the same way, so far as the "
        "system knows them, and “annotated, all” all of them: what these rules can "
        "reach at best, on these clips. Intervals are those of the headline."
    )
    if how := readings[0].note:
        note += f" {how}"
    known = set.intersection(*(set(reading.aus) for reading in readings))
    if lacking := [f"AU{au}" for au in rules.reads if au not in known]:
        note += (
            f" The rules look at {', '.join(lacking)} too, which the system "
            "does not know and never says."
        )
    return note
