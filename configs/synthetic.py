"""The demo's task and its sizes: what two cores can learn in minutes."""

from ml_collections import ConfigDict

from configs import common


def tiny(classes: int) -> ConfigDict:
    """Small frames, a small model from random weights, no dropout, one template."""
    config = common.base()
    config.data.task = f"synthetic_{classes}class"
    config.data.dataset = "synthetic/tiny"
    config.data.image_size = 32
    config.text.templates = 1
    config.model.size = "tiny"
    config.model.drop_path = 0.0
    config.model.global_drop_path = 0.0
    config.model.global_mlp_dropout = 0.0
    config.model.head_dropout = 0.0
    config.optim.peak_lr = 1.5e-3
    config.optim.warmup_epochs = 2
    config.augment.augmix = 0.0
    config.augment.colour_jitter = 0.0
    config.train.epochs = 19
    config.train.batch_size = 8
    config.train.scan_steps = 40
    config.train.checkpoint_every = 25
    return config
