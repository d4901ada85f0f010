"""Numbers of others that a score stands beside, with what to know of each.

They stand in field.csv: what a method was given, what it was pre-trained on, how its
epoch was chosen, and where the number was read. docs/field.md shows all of them.
"""

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from merclip_jax.scoring.blocks import Block

# The AUs that are scored over six datasets, each left out once.
CD6ME_AUS = tuple(f"AU{n}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17))
CD6ME_SETS = ("casme", "casme2", "samm", "mmew", "fourdme", "casme3")
SCORES = ("uf1", "uar", "acc", "f1")
# What each way of choosing the scored epoch means for a number.
SELECTIONS = {
    "last epoch": "the epoch was fixed before",
    "blind": "scored by others on labels that nobody had",
    "test subject": "the epoch was chosen on the test subject or set",
    "unknown": "how the epoch was chosen is not known",
}


@dataclass(frozen=True)
class Published:
    """A published score.

    task: of the class-map table, "_a" and "_b" of DFME's two tests; scores: by name,
    None for what was not given; selection: one of SELECTIONS; given: what of a test
    clip the method was told or shown; pretraining: on faces or expressions.
    """

    task: str
    method: str
    year: int
    scores: dict[str, float | None]
    given: str
    pretraining: str
    selection: str
    code: str
    licence: str
    source: str


@functools.cache
def field() -> tuple[Published, ...]:
    """All published scores, in the file's order."""
    path = resources.files("merclip_jax.scoring").joinpath("field.csv")
    rows = csv.DictReader(path.read_text("utf-8").splitlines())
    return tuple(
        Published(
            year=int(row.pop("year")),
            scores={s: float(text) if (text := row.pop(s)) else None for s in SCORES},
            **row,
        )
        for row in rows
    )


def on(task: str) -> list[Published]:
    """What was published on a task, or on a part of it.

    Args:
        task: its name; "dfme_7class" finds both of DFME's tests.
    """
    parts = {task, f"{task}_a", f"{task}_b"}
    return [row for row in field() if row.task in parts]


def table(task: str) -> Block | None:
    """The published scores of a task as a block, None where there is none.

    Args:
        task: its name.
    """
    found = on(task)
    if not found:
        return None
    columns = [s for s in SCORES if any(row.scores[s] is not None for row in found)]
    several = len({row.task for row in found}) > 1
    rows = tuple(
        {
            "key": f"published/{i}",
            "name": row.method + (f" ({row.task[-1].upper()})" if several else ""),
            **{name: row.scores[name] for name in columns},
            "epoch by": row.selection,
            "given": row.given,
            "pretraining": row.pretraining,
        }
        for i, row in enumerate(found)
    )
    return Block(
        kind="table",
        title="Published on this task",
        rows=rows,
        columns=(*columns, "epoch by", "given", "pretraining"),
        note="What others have printed, for comparison and not as a ranking: crops, "
        "clips and pre-training differ. Where the epoch was chosen by the test "
        "subject, compare with what guessing reaches in that way (above).",
    )


def cd6me(datasets: Sequence[str]) -> Block:
    """The published scores of leaving out one of six datasets.

    Args:
        datasets: those of the run, whose difference from the six is told.
    """
    said = [
        f"without {', '.join(sorted(set(CD6ME_SETS) - set(datasets)))}",
        f"with {', '.join(sorted(set(datasets) - set(CD6ME_SETS)))}",
    ]
    differs = [text for text in said if not text.endswith(" ")]
    note = (
        "Binary F1 of each AU from the pooled answers of all folds, mean of 12, last "
        "epoch: Varanka et al., Data Leakage and Evaluation Issues in Micro-Expression "
        "Analysis, and the benchmark's own table."
    )
    remark = f"CD6ME: this run is {' and '.join(differs)}: not the published clips."
    return Block(
        kind="table",
        title="Published on six datasets, each left out once (CD6ME)",
        rows=tuple(
            {"key": f"cd6me/{row.method}", "name": row.method, "f1": row.scores["f1"]}
            for row in on("cd6me")
        ),
        columns=("f1",),
        note=note,
        remarks=(remark,) if differs else (),
    )
