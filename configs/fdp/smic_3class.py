"""FDP on SMIC-HS, 3 classes, 164 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/smic_3class.py --workdir=runs/fdp_smic_3class

The paper has no number for this cell.
Expected cost: 501 steps of 36 clips a fold; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "smic_3class"
    config.data.dataset = "smic"
    return base.finish(config, arg)
