"""The three systems at their smallest: one config each, for the same clips and folds.

As a config file of a command: tests/systems/three.py:NAME,DATA_DIR.
"""

from pathlib import Path

from ml_collections import ConfigDict

from configs.fdp import base as fdp
from configs.micro_au_clip import synthetic
from merclip_jax.models import fdp as fdp_models
from tests import mini

# Each name with how it sees clips and which of its recipes it is of.
NAMES = ("mer_clip", "fdp", "fdp_released", "micro_au_clip")
fdp_models.SIZES["nano"] = fdp_models.FdpSize(
    (8, 8, 8), (8, 8, 16, 16), (1, 1, 1, 1), (112, 112, 112, 112), (4, 4, 8, 8), 64
)
_TRAIN = {"batch_size": 8, "scan_steps": 2, "checkpoint_every": 1, "stack": 2}


def config(name: str, data_dir: Path, changes: dict | None = None) -> ConfigDict:
    """A system on `synthetic/mini`, leave-one-subject-out.

    Args:
        name: of `NAMES`.
        data_dir: where the dataset is built.
        changes: flat keys to values.
    """
    if name == "mer_clip":
        return mini.config(data_dir, {"train.epochs": 2} | (changes or {}))
    values = {f"train.{key}": value for key, value in _TRAIN.items()}
    values |= {"data.dataset": mini.DATASET, "data.data_dir": str(data_dir)}
    if name == "micro_au_clip":
        made = synthetic.get_config()
        values |= {"data.image_size": 32, "model.size": "tiny", "train.epochs": 2}
        values |= {"optim.warmup_epochs": 1}
    else:
        recipe = "recipe=released" if name == "fdp_released" else None
        made = fdp.finish(fdp.tiny(3), recipe)
        values |= {"model.size": "nano", "optim.steps": 4}
    made.update_from_flattened_dict(values | (changes or {}))
    return made


def get_config(arg: str) -> ConfigDict:
    """`config` as the command line takes it."""
    name, _, data_dir = arg.partition(",")
    return config(name, Path(data_dir))
