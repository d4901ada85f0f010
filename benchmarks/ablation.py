"""The ablation of the paper's Table VIII on procedural clips, five seeds in one stack.

  python -m benchmarks.ablation --config=configs/synthetic_3class.py

Every row trains the config with one change (configs/common.py: ABLATIONS), the seeds
as members of one stack, and is scored on subjects that all rows leave out. Each row is
a run of its own under the workdir, so that the command can be interrupted and given
again.
"""

from pathlib import Path

import numpy as np
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from configs import common
from merclip_jax import build, command, experiment
from merclip_jax.data.clips import Clips
from merclip_jax.results.card import find_row

ROWS = (
    "none",
    "no_alignment",
    "no_head",
    "no_progressive",
    "no_augmentation",
    "emotion_guided",
    "soft_au",
    "soft_sides",
    "label_smoothing",
    "class_balance",
)


def ablated(
    config: ConfigDict, ablation: str, *, subjects: list[str], seeds: int
) -> ConfigDict:
    """A copy of the config under an ablation, its seeds scored on held-out subjects."""
    if ablation not in common.ABLATIONS:
        raise ValueError(
            f"ablation {ablation!r}: expected one of {list(common.ABLATIONS)}"
        )
    made = config.copy_and_resolve_references()
    made.update_from_flattened_dict(common.ABLATIONS[ablation])
    made.name, made.ablation = f"{config.name}-{ablation}", ablation
    made.protocol.name = "holdout"
    made.protocol.test_subjects = tuple(subjects)
    made.protocol.seeds = tuple(range(seeds))
    made.train.stack = seeds
    return made


def held_out(clips: Clips, count: int) -> list[str]:
    """The first `count` subjects by name."""
    return sorted(set(clips.subject.tolist()))[:count]


def main(_: list[str]) -> None:
    """Train every row and print the table."""
    values = flags.FLAGS
    logging.set_verbosity(logging.ERROR)
    clips = build.clips(values.config)
    subjects = held_out(clips, values.held_out)
    found = {}
    for row in values.rows:
        config = ablated(values.config, row, subjects=subjects, seeds=values.seeds)
        card = experiment.run_on(clips, config, Path(values.workdir) / row)
        found[row] = {
            name: np.asarray(list(find_row(card, name)["per_seed"].values()))
            for name in ("uf1", "uar")
        }
    print(f"\n{'row':<16}   UF1   sd      UAR   sd      UF1 of each seed")
    for row, scores in found.items():
        pairs = "   ".join(
            f"{x.mean():.3f} {x.std(ddof=1):.3f}" for x in scores.values()
        )
        each = " ".join(f"{x:.3f}" for x in scores["uf1"])
        print(f"{'full' if row == 'none' else row:<16} {pairs}   {each}")
    guess = find_row(card, "prior", part="chance")["value"]
    print(
        f"guessing by class frequency {guess:.3f}, ceiling {card['ceiling']['uf1']:.3f}"
    )


if __name__ == "__main__":
    config_flags.DEFINE_config_file(
        "config", None, "A synthetic config.", lock_config=False
    )
    flags.DEFINE_string("workdir", "runs/ablation", "Folder of the results.")
    flags.DEFINE_integer("seeds", 5, "Members of every stack.")
    flags.DEFINE_integer("held_out", 3, "Subjects that the rows are scored on.")
    flags.DEFINE_list(
        "rows", list(ROWS), "Ablations to train; 'none' is the full model."
    )
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=command.parse)
