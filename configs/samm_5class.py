"""SAMM, 5 classes, 136 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/samm_5class.py --workdir=runs/samm_5class

The paper's number for this cell is not at hand.
Expected cost: 27 folds, about 0.24 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "samm_5class"
    config.data.dataset = "samm"
    return common.finish(
        config,
        arg,
        optim__peak_lr=8.75e-6,
        augment__colour_jitter=0.0,
        loss__contrastive_start=1.5,
    )
