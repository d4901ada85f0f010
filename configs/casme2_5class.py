"""CASME II, 5 classes, 249 clips (2019 table), leave-one-subject-out.

    python -m merclip_jax.main --config=configs/casme2_5class.py --workdir=runs/casme2_5class

Paper's ACC .8233, UF1 .8378 (epoch chosen on the test fold, started from DFME weights).
Expected cost: 26 folds, about 0.42 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "casme2_5class"
    config.data.dataset = "casme2/cropped"
    return common.finish(
        config,
        arg,
        optim__peak_lr=3.75e-6,
        text__au26="parting the lips",
    )
