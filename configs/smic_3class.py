"""SMIC-HS, 3 classes, 164 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/smic_3class.py --workdir=runs/smic_3class

Not among the paper's datasets. It has neither AUs nor an apex: prompts name the class, and
frames are sampled uniformly.
Expected cost: 16 folds, about 0.17 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "smic_3class"
    config.data.dataset = "smic"
    config.data.sampling = "uniform"
    config.text.supervision = "emotion"
    return common.finish(config, arg)
