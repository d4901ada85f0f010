"""FDP on SAMM, 5 classes, 136 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/samm_5class.py --workdir=runs/fdp_samm_5class

Paper's gain on this dataset: F1 +2.50 points over the best before;
its tables, and whether F1 is weighted, could not be recovered.
Expected cost: 501 steps of 36 clips a fold; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "samm_5class"
    config.data.dataset = "samm"
    return base.finish(config, arg)
