"""What all configs of the detector of AUs after Micro-AU CLIP share.

`get_config(arg)` of each takes "ablation=no_dependency,seeds=3". All clips of a dataset
count, whatever their emotion; only their AUs are learned.
"""

import dataclasses

from ml_collections import ConfigDict

from configs.common import access, take_words, values
from data_builders.tasks import TASKS, tasks_of
from merclip_jax.augment.points import PointAugmentation
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.losses.au import AULossOptions
from merclip_jax.models.micro_au_clip import MicroAUOptions
from merclip_jax.naming import AURunOptions
from merclip_jax.scoring.au_task import AUScoreOptions
from merclip_jax.training.finetune import FinetuneOptions
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights.options import ClipInitOptions

# CD6ME's, which leaves out one of several datasets at a time.
_TWELVE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)
# The AUs that are scored of each dataset: those of Oulu's micro-expression benchmark
# where it has the dataset, and of the synthetic set those that its clips have often.
AUS: dict[str, tuple[int, ...]] = {
    "casme2": (1, 2, 4, 7, 12, 14, 15, 17),
    "samm": (2, 4, 7, 12),
    "mmew": (1, 2, 4, 5, 7, 10, 12, 14),
    "fourdme": (1, 2, 4, 6, 7, 12, 17, 45),
    "casme3": _TWELVE,
    "casme_sq": _TWELVE,
    "dfme": _TWELVE,
    "cd6me": _TWELVE,
    "synthetic": (1, 2, 4, 5, 6, 7, 9, 12, 14, 25),
}

# Emotion tasks that the AUs of a run are read for, beside its score.
EMOTIONS = ("casme2_5class", "casme2_3class", "samm_5class", "samm_3class")
EMOTIONS += ("casme3_3class", "synthetic_3class")

ABLATIONS = {
    "none": {},
    "detection_only": {"loss.contrastive_weight": 0.0, "loss.dependency_weight": 0.0},
    "no_contrastive": {"loss.contrastive_weight": 0.0},
    "no_dependency": {"loss.dependency_weight": 0.0},
    "focal": {"loss.detection": "focal"},
    "correlation": {"loss.dependency": "correlation"},
    "pta_self": {"model.pta_self": True},
    "gda_cls": {"model.gda_cls": True},
    "no_augmentation": {
        f"augment.{field.name}": 0.0 for field in dataclasses.fields(PointAugmentation)
    },
}


def base() -> ConfigDict:
    """Our recipe on no dataset in particular.

    Every value is the default of the dataclass that takes it, but for what an image
    detector needs: two frames, and a shorter training of larger batches.
    """
    config = ConfigDict(
        values(AURunOptions)
        | {
            # CLIP sees colours of faces that were aligned clip by clip.
            "data": values(DataOptions) | values(View, without=("grey", "align")),
            "init": values(ClipInitOptions),
            "model": values(MicroAUOptions),
            "loss": values(AULossOptions),
            "optim": values(FinetuneOptions),
            "augment": values(PointAugmentation),
            "train": values(TrainOptions, without=("microbatch",)),
            "protocol": values(ProtocolOptions),
            "score": values(AUScoreOptions),
        }
    )
    config.data.frames = 2
    config.data.sampling = "onset_apex"
    config.train.epochs = 30
    config.train.batch_size = 32
    return config


def on(dataset: str, *, protocol: str = "") -> ConfigDict:
    """The recipe on all clips of a dataset, and its AUs.

    Args:
        dataset: its name, perhaps with its config: "casme2/cropped"; several joined
            by "+" go with a protocol.
        protocol: the name in `AUS` of what is scored over several datasets.
    """
    config = base()
    several = [name.partition("/")[0] for name in dataset.split("+")]
    name = protocol or several[0]
    config.name = f"micro_au_clip_{name}"
    config.model.aus = AUS[name]
    config.data.dataset = dataset
    config.data.access = access(several)
    # Every clip counts, whatever its emotion: each is a class of its own, and nothing is
    # told of them. 4DME has clips of several.
    emotions = {
        emotion
        for one in several
        for task in tasks_of(one).values()
        for emotion in (*task.emotions, *task.dropped)
    }
    joined = tuple(sorted(emotion for emotion in emotions if "+" in emotion))
    single = sorted(emotions - set(joined))
    classes = [(emotion, (emotion,)) for emotion in single]
    config.data.classes = (*classes, *([("several", joined)] if joined else ()))
    # These are told beside the score, read off the AUs by rules.
    config.score.emotions = tuple(
        (task, TASKS[task].classes) for task in EMOTIONS if TASKS[task].dataset == name
    )
    return config


def finish(config: ConfigDict, arg: str | None) -> ConfigDict:
    """Apply an argument such as "ablation=no_dependency,seeds=3" to a config.

    Raises ValueError for an unknown word, listing the known ones.
    """
    words = take_words(config, arg, {"ablation": "none"})
    if words["ablation"] not in ABLATIONS:
        raise ValueError(
            f"ablation={words['ablation']!r}: expected one of {list(ABLATIONS)}"
        )
    config.ablation = words["ablation"]
    config.update_from_flattened_dict(ABLATIONS[words["ablation"]])
    return config
