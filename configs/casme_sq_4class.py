"""CAS(ME)^2, 4 classes, its 57 micro-expressions, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/casme_sq_4class.py --workdir=runs/casme_sq_4class

Not among the paper's datasets: the paper's recipe on it.
Expected cost: at most 22 folds, about 0.08 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "casme_sq_4class"
    config.data.dataset = "casme_sq"
    return common.finish(config, arg)
