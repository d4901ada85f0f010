"""CASME II, 3 classes, 156 clips (2019 table), leave-one-subject-out.

    python -m merclip_jax.main --config=configs/casme2_3class.py --workdir=runs/casme2_3class

Paper's UF1 .9409, UAR .9487 (epoch chosen on the test fold, started from DFME weights).
Expected cost: 25 folds, about 0.26 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "casme2_3class"
    config.data.dataset = "casme2/cropped"
    return common.finish(
        config,
        arg,
        optim__peak_lr=6.25e-6,
        text__au26="parting the lips",
        augment__flip=0.5,
    )
