"""FDP on 4DME, 5 classes, its clips with one emotion, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/fourdme_5class.py --workdir=runs/fdp_fourdme_5class

The paper has no number for this cell.
Expected cost: 501 steps of 36 clips a fold; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "fourdme_5class"
    config.data.dataset = "fourdme"
    return base.finish(config, arg)
