"""4DME, 5 classes, its clips with one emotion, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fourdme_5class.py --workdir=runs/fourdme_5class

Not among the paper's datasets: the paper's recipe on it. Clips with several emotions are left
out; how many that are is not published.
Expected cost: folds x clips x 55 epochs x 1.22 TFLOP a clip-step.
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "fourdme_5class"
    config.data.dataset = "fourdme"
    return common.finish(config, arg)
