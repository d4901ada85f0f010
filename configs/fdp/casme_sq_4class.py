"""FDP on CAS(ME)^2, 4 classes, its 57 micro-expressions, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/casme_sq_4class.py --workdir=runs/fdp_casme_sq_4class

Paper's gain on this dataset: F1 +7.71 points over the best before;
its tables, and whether F1 is weighted, could not be recovered.
Expected cost: 501 steps of 36 clips a fold; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "casme_sq_4class"
    config.data.dataset = "casme_sq"
    return base.finish(config, arg)
