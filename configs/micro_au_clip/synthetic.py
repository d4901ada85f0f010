"""Synthetic micro-expressions, 6 AUs, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/micro_au_clip/synthetic.py --workdir=runs/au_demo

After Micro-AU CLIP, with equations of our own: no paper's number goes with it. A small
tower that learns from random weights. The dataset must be built with landmarks.
Expected cost: minutes on two cores.
"""

from configs import micro_au_clip


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    config = micro_au_clip.on("synthetic/tiny")
    config.data.image_size = 32
    config.model.size = "tiny"
    config.optim.peak_lr = 1e-3
    config.optim.clip_lr = 1e-3
    config.train.batch_size = 8
    config.train.scan_steps = 40
    return micro_au_clip.finish(config, arg)
