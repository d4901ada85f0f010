"""FDP on DFME, 7 classes, official split: 1856 clips to train, tests A (474) and B (299).

    python -m merclip_jax.main --config=configs/fdp/dfme_7class.py --workdir=runs/fdp_dfme_7class

The paper has no number for this cell.
Expected cost: 501 steps of 36 clips; `--dry_run` says what that takes here.
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    config = base.base()
    config.data.task = "dfme_7class"
    config.data.dataset = "dfme/ccac"
    config.protocol.name = "holdout"
    config.protocol.train_splits = ("train",)
    config.protocol.test_splits = ("test_a", "test_b")
    return base.finish(config, arg)
