"""What FDP's configs share: both recipes, and how an argument changes them.

`recipe=released` is the official code, with all that it does otherwise than the paper
says; `recipe=paper` (the default) what the text describes.
"""

from ml_collections import ConfigDict

from configs import common
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.models.fdp import FdpOptions
from merclip_jax.naming import RunOptions
from merclip_jax.systems.fdp import VIEW, FdpLossOptions
from merclip_jax.training.optim import AdamOptions
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights.options import WholeOptions

# What `FdpOptions` has as its defaults is the released code.
RECIPES = {
    "paper": {
        "model.local": "grouped",
        "model.global_blocks": 1,
        "model.layout": "time",
        "model.statistics": "clip",
        "model.freeze": "never",
        "model.scorer": "rank",
        "model.normalised_by": "training",
        "model.dtype": "auto",
    },
    "released": {},
}
# The trainer's options that FDP has no use for: its length is in steps, and BatchNorm
# wants the whole batch at a time.
IDLE = ("epochs", "remat", "microbatch")
# The order of labels in the released code, so that its weights keep their last layer.
RELEASED_CLASSES = {
    "casme2_5class": ("surprise", "happiness", "disgust", "repression", "others"),
    "samm_5class": ("surprise", "happiness", "anger", "contempt", "others"),
}


def base() -> ConfigDict:
    """FDP on no dataset in particular, eight frames aligned one by one."""
    values = common.values
    config = ConfigDict(
        values(RunOptions)
        | {
            "data": values(DataOptions) | values(View, without=("resize", "flow")),
            "init": values(WholeOptions),
            "model": values(FdpOptions),
            "loss": values(FdpLossOptions),
            "optim": values(AdamOptions),
            "train": values(TrainOptions, without=IDLE),
            "protocol": values(ProtocolOptions),
        }
    )
    config.system = "fdp"
    for name in ("frames", "image_size", "grey", "sampling", "align"):
        config.data[name] = getattr(VIEW, name)
    config.train.batch_size = 36
    return config


def tiny(classes: int) -> ConfigDict:
    """Small frames and a small network from random weights, for two cores.

    On clips without decoys: in those of `synthetic/tiny` 501 steps find nothing.
    """
    config = base()
    config.data.task = f"synthetic_{classes}class"
    config.data.dataset = "synthetic/apart"
    config.data.image_size = 32
    config.model.size = "tiny"
    config.optim.lr = 1e-3
    config.train.scan_steps = 25
    return config


def finish(config: ConfigDict, arg: str | None) -> ConfigDict:
    """Apply an argument such as "recipe=released,seeds=3" to a config."""
    config = common.finish(config, arg, tables=(RECIPES, {"none": {}}))
    config.name = f"fdp_{config.data.task}"
    if order := RELEASED_CLASSES.get(config.data.task):
        classes = dict(config.data.classes)
        config.data.classes = tuple((name, classes[name]) for name in order)
    return config
