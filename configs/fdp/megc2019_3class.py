"""FDP on MEGC2019's composite, 3 classes, 442 clips of CASME II, SAMM and SMIC, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/megc2019_3class.py --workdir=runs/fdp_megc2019_3class

The paper has no number for this cell.
Expected cost: 501 steps of 36 clips a fold; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "megc2019_3class"
    config.data.dataset = "casme2+samm+smic"
    return base.finish(config, arg)
