"""What each cell of the tables takes and what was printed of it: docs/reproducing.md.

  python -m benchmarks.tables --clips_per_s=192

Hours are the clips that all trainings of a cell learn from, over the rate: a fold of a
leave-one-subject-out learns 55 times from all clips but its subject's. 192 clips/s is
what an H200 took at B/16 with the paper's augmentation (RESULTS.md); `--dry_run` of the
cell's own command measures it on your devices.
"""

from absl import app, flags

from data_builders.tasks import TASKS, Task
from merclip_jax.scoring import published

RATE = flags.DEFINE_float("clips_per_s", 192.0, "Clips that a device learns from.")
EPOCHS = 55
BATCH = 16
CELLS = (
    *("casme2_3class", "casme2_5class", "samm_3class", "samm_5class"),
    *("casme3_3class", "casme3_4class", "casme3_7class", "dfme_7class"),
    *("megc2019_3class", "smic_3class", "mmew_7class"),
)


def learned(task: Task) -> int:
    """Clips that all members of a task's protocol learn from, seed 0."""
    if "train" in task.clips:  # the owners' split: one training
        return EPOCHS * BATCH * -(-task.clips["train"] // BATCH)
    (clips,), (folds,) = task.clips.values(), task.subjects.values()
    # Of every fold all clips but its subject's, in whole batches: on average.
    return EPOCHS * ((folds - 1) * clips + folds * BATCH // 2)


def rows(rate: float) -> str:
    """The table in Markdown.

    Args:
        rate: clips a second.
    """
    lines = [
        "| command: `merclip --workdir=runs/X --config=` | the paper, its epoch chosen "
        "on the test | clips learned from, million | hours | yours |",
        "|---|---|---|---|---|",
    ]
    for name in CELLS:
        clips = learned(TASKS[name])
        theirs = [row for row in published.on(name) if row.method == "MER-CLIP"]
        printed = "; ".join(
            (f"{row.task[-1].upper()}: " if len(theirs) > 1 else "")
            + ", ".join(f"{k.upper()} {v:.4f}" for k, v in row.scores.items() if v)
            for row in theirs
        )
        lines.append(
            f"| `{name}` | {printed or 'not in it'} | {clips / 1e6:.2f} | "
            f"{clips / rate / 3600:.1f} | |"
        )
    return "\n".join(lines)


def main(_: list[str]) -> None:
    """Print the table."""
    print(rows(RATE.value))


if __name__ == "__main__":
    app.run(main)
