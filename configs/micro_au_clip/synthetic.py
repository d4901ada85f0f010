"""Synthetic micro-expressions, 10 AUs, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/micro_au_clip/synthetic.py --workdir=runs/au_demo

After Micro-AU CLIP, with equations of our own: no paper's number goes with it. A small
tower that learns from random weights. The dataset must be built with landmarks.
Expected cost: about a minute a fold on two cores, ten folds.
"""

from configs import micro_au_clip


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    config = micro_au_clip.on("synthetic/apart")
    config.data.image_size = 64
    config.model.size = "tiny"
    config.optim.peak_lr = 1e-3
    config.optim.clip_lr = 1e-3
    config.train.epochs = 6
    config.train.batch_size = 16
    config.train.scan_steps = 40
    return micro_au_clip.finish(config, arg)
