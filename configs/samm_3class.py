"""SAMM, 3 classes, 133 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/samm_3class.py --workdir=runs/samm_3class

Paper's UF1 .8321, UAR .8434 (epoch chosen on the test fold, started from DFME weights).
Expected cost: 28 folds, about 0.24 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "samm_3class"
    config.data.dataset = "samm"
    return common.finish(
        config,
        arg,
        optim__peak_lr=8.75e-6,
        data__balanced=True,
    )
