"""CAS(ME)^3 part A, 3 classes, 699 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/casme3_3class.py --workdir=runs/casme3_3class

Paper's UF1 .7832 (epoch chosen on the test fold, started from DFME weights).
Expected cost: 88 folds, about 4.1 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "casme3_3class"
    config.data.dataset = "casme3"
    return common.finish(
        config,
        arg,
        optim__peak_lr=6.25e-6,
        text__au26="parting the lips",
        data__sampling="uniform",
        text__order="annotation",
        text__last_and=False,
        data__balanced=True,
    )
