"""FDP on CAS(ME)^3 part A, 3 classes, 699 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/casme3_3class.py --workdir=runs/fdp_casme3_3class

Paper's gain on this dataset: F1 +2.11 points over the best before;
its tables, and whether F1 is weighted, could not be recovered.
Expected cost: 501 steps of 36 clips a fold; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "casme3_3class"
    config.data.dataset = "casme3"
    return base.finish(config, arg)
