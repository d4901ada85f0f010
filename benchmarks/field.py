"""What the field reports, task by task, beside what guessing reaches: docs/field.md.

  python -m benchmarks.field > docs/field.md

The chance columns are computed here: a guesser that answers by class frequency, scored
once, and the same guesser if each fold keeps its best of 55 draws. Of MEGC2019 the
sizes of the folds are known (meb's notebook prints them); elsewhere clips are dealt to
as many folds of equal size. Which classes a fold has is drawn.
"""

import numpy as np

from data_builders.tasks import TASKS
from merclip_jax.scoring import published
from merclip_jax.scoring.chance import guess_by_prior, selection_ceiling

EPOCHS = 55
# Clips of each subject of MEGC2019, as printed by github.com/tvaranka/meb, megc
# evaluation.ipynb.
MEGC2019 = {
    "smic": (6, 7, 9, 10, 10, 4, 7, 2, 6, 22, 39, 19, 2, 4, 13, 4),
    "casme2": (3, 9, 5, 2, 6, 4, 5, 1, 10, 4, 11, 2, 3, 3, 3, 31, 11, 2, 1, 2, 8, 3)
    + (5, 11),
    "samm": (11, 8, 4, 4, 20, 3, 6, 10, 3, 5, 4, 3, 1, 4, 2, 5, 1, 1, 9, 3, 3, 1, 4, 5)
    + (3, 8, 1, 1),
}
# Tasks whose folds are those of a part of MEGC2019, or of all.
SIZES = {
    "megc2019_3class": sum(MEGC2019.values(), ()),
    "casme2_3class_megc2019": MEGC2019["casme2"],
    "samm_3class": MEGC2019["samm"],
    "smic_3class": MEGC2019["smic"],
}
TITLES = {
    "megc2019_3class": "MEGC2019's composite: CASME II, SAMM, SMIC, 3 classes",
    "casme2_3class_megc2019": "CASME II, 3 classes, MEGC2019's 145 clips",
    "casme2_3class": "CASME II, 3 classes, 156 clips",
    "casme2_5class": "CASME II, 5 classes, 249 clips",
    "samm_3class": "SAMM, 3 classes, 133 clips",
    "samm_5class": "SAMM, 5 classes, 136 clips",
    "smic_3class": "SMIC-HS, 3 classes, 164 clips",
    "mmew_7class": "MMEW, 7 classes, 300 clips",
    "casme3_3class": "CAS(ME)^3, 3 classes, 699 clips",
    "casme3_4class": "CAS(ME)^3, 4 classes, 860 clips",
    "casme3_7class": "CAS(ME)^3, 7 classes, 860 clips",
    "dfme_7class_a": "DFME, 7 classes, test A, 474 clips",
    "dfme_7class_b": "DFME, 7 classes, test B, 299 clips",
    "cd6me": "CD6ME: 12 AUs, each of six datasets left out once, 2,031 clips",
}
HEAD = """# What the field reports

Nobody keeps such a table, so here is one: published scores, what each method was given,
what it was trained on before, how the scored epoch was chosen, and where the number was
read. It is written by `python -m benchmarks.field` from a table in the package
(`merclip_jax/scoring/field.csv`), which the report and `python -m merclip_jax.compare
--published` read too.

**How to read it.** A number whose epoch was chosen on the test subject is an upper
bound of what the method does on a new person. How far selection alone goes is in the
line under each heading: a guesser that never looks at a clip, scored once, and the same
guesser if every fold keeps the best of 55 draws (independent draws: the worst case). A
gap of a few points between two such numbers says nothing.

- *given*: what of a test clip somebody had to annotate. Key frames need an onset, an
  apex and an offset; a new video has none.
- *epoch by*: `last epoch` (fixed before), `blind` (labels that only the organisers
  had), `test subject` (chosen on the test fold or set), `unknown`.
- *licence* is that of the code; weights and datasets have terms of their own
  ([licences](licences.md)).

The field has moved: since 2020 the Micro-Expression Grand Challenge asks for spotting
first (the best product of spotting and recognition F1 on CAS(ME)^3 and SAMM long videos
was about 0.09 in 2025, arXiv 2506.15298), and in 2026 for answers in words (arXiv
2603.08927). Missing rows are welcome, with a source.
"""


def folds_of(task: str, *, seed: int = 0) -> list[np.ndarray] | None:
    """Labels of each fold, drawn; None where the counts of classes are not known."""
    known = TASKS.get(task)
    if known is None or not known.counts:
        return None
    (counts,) = known.counts.values()
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(seed).permutation(labels)
    if sizes := SIZES.get(task):
        return np.split(labels, np.cumsum(sizes)[:-1])
    (subjects,) = known.subjects.values()
    return np.array_split(labels, subjects)


def chance(task: str) -> str:
    """A sentence on what guessing reaches on a task."""
    folds = folds_of(task)
    if folds is None:
        return (
            "The counts of classes are not published: what guessing reaches stands on "
            "the card of your run."
        )
    labels, classes = np.concatenate(folds), len(TASKS[task].names)
    honest = guess_by_prior(labels, classes=classes).uf1
    best = selection_ceiling(folds, classes=classes, epochs=EPOCHS)
    sizes = "the real sizes of the folds" if task in SIZES else "folds of equal size"
    return (
        f"Guessing: UF1 **{honest:.2f}**; best of {EPOCHS} draws by the test subject: "
        f"**{best:.2f}** ({len(folds)} subjects, {sizes})."
    )


def table(task: str) -> str:
    """The rows of a task in Markdown."""
    rows = published.on(task)
    names = [
        s for s in published.SCORES if any(row.scores[s] is not None for row in rows)
    ]
    head = [
        *("method", "year", *(n.upper() for n in names), "epoch by", "given"),
        *("pretraining", "code", "licence", "source"),
    ]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        scores = [
            "" if row.scores[n] is None else f"{row.scores[n]:.4g}" for n in names
        ]
        cells = [row.method, str(row.year), *scores, row.selection, row.given]
        cells += [row.pretraining, row.code, row.licence, row.source]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page() -> str:
    """docs/field.md."""
    parts = [HEAD]
    for task, title in TITLES.items():
        guess = "" if task == "cd6me" else f"{chance(task)}\n\n"
        parts.append(f"## {title}\n\n{guess}{table(task)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
