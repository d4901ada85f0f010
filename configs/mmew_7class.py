"""MMEW, 7 classes, 300 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/mmew_7class.py --workdir=runs/mmew_7class

Not among the paper's datasets: the paper's recipe on it.
Expected cost: 30 folds, about 0.58 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "mmew_7class"
    config.data.dataset = "mmew"
    return common.finish(config, arg)
