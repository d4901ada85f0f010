"""FDP on MMEW, 7 classes, 300 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/mmew_7class.py --workdir=runs/fdp_mmew_7class

The paper has no number for this cell.
Expected cost: 501 steps of 36 clips a fold; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "mmew_7class"
    config.data.dataset = "mmew"
    return base.finish(config, arg)
