"""What all configs share: the paper's recipe, and how an argument changes it.

`get_config(arg)` of every config takes "recipe=released,ablation=no_alignment,seeds=3",
those of real datasets also "task=casme2_3class_released": data_builders/tasks.py lists
the tasks. A recipe or an ablation is a set of values, never a code path (MER_CLIP section 14).
"""

from ml_collections import ConfigDict

from data_builders.tasks import TASKS, tasks_of

RECIPES = {
    # What the paper's text says, gaps filled from the released code.
    "paper": {},
    # What the released code does on two devices, bugs included.
    "released": {
        "optim.decay_embeddings": True,
        "loss.contrastive_factor": 0.5,  # each device's gather passes back its slice
        "model.learn_temperature": True,
        "model.dtype": "float32",
        "model.bn_group_size": 8,  # BN statistics are per device
        "data.sampling": "keyframes_integer",
        "init.norm_from_classifier": False,  # a naming accident of its loader
        "text.positions": 32,  # ViCLIP's; the rest of the 77 are zeros
        "augment.augmix": 1.0,
        "augment.flip": 0.0,
        "augment.flip_swaps_sides": False,
        "augment.colour_jitter": 1.0,
        "augment.static_mix_self": True,
    },
}

# Rows of the paper's Table VIII; its wording is lost, so "no_head" is our reading.
ABLATIONS = {
    "none": {},
    "no_alignment": {
        "loss.contrastive_start": 0.0,
        "loss.contrastive_floor": 0.0,
        "loss.total_weight": 1.0,
    },
    "no_head": {"model.head_blocks": 0},  # a linear layer on the pooled token
    "no_progressive": {
        "loss.contrastive_start": 1.0,
        "loss.contrastive_floor": 1.0,
    },
    "emotion_guided": {"text.guide": "emotion"},
    "no_augmentation": {
        "augment.augmix": 0.0,
        "augment.flip": 0.0,
        "augment.colour_jitter": 0.0,
        "augment.static_mix": 0.0,
    },
    "no_static_mix": {"augment.static_mix": 0.0},
}

NEGATIVE = ("anger", "contempt", "disgust", "fear", "repression", "sadness")


def base() -> ConfigDict:
    """The paper's recipe on no dataset in particular."""
    return ConfigDict(
        {
            "name": "",
            "recipe": "paper",
            "ablation": "none",
            "data": {
                "dataset": "",  # "name" or "name/config"
                "data_dir": "data",
                "access": "",  # how the owners hand it out
                "task": "",  # of the class-map table; it gives the next three
                "classes": (),  # (class, (emotions, ...)), ...
                "dropped": (),  # emotions that the task leaves out
                "excluded": (),  # clips that it leaves out
                "frames": 16,
                "image_size": 224,
                "resize": 0,  # short side before the centre crop; 0: the image size
                "sampling": "keyframes",
                "residency": "auto",
                "balanced": False,
            },
            "init": {  # a path, a converted folder or hf://owner/name/file
                "vision": "",  # the encoder's weights, "" for random ones
                "text": "",  # the text tower's and its tokenizer
                "merclip": "",  # a whole MER-CLIP's, in place of vision
                "norm_from_classifier": True,  # UniFormerV2's proj.0 as our norm
                "new_head": False,  # with merclip: start the last layer anew
            },
            "text": {
                "guide": "au",  # or "emotion": prompts name the class instead
                "templates": 7,
                "order": "ascending",  # or annotation, shuffled
                "words": "phrases",  # or facs
                "last_and": True,
                "au26": "dropping the jaw",
                "positions": 77,  # position embeddings from here on are zeros
            },
            "model": {
                "video": "uniformer_v2",  # or factorized_vit
                "size": "b16",  # or l14
                "structure": "ssv2",  # or kinetics; of uniformer_v2
                "temporal_layers": 4,  # of factorized_vit
                "drop_path": 0.2,
                "global_drop_path": 0.4,
                "global_mlp_dropout": 0.5,
                "head_blocks": 2,
                "head_dropout": 0.1,
                "learn_temperature": False,
                "bn_group_size": 0,  # 0: statistics of the whole batch
                "attention": "xla",
                "dtype": "auto",  # bfloat16 on accelerators, float32 on CPU
            },
            "loss": {
                "contrastive": "hard",  # or soft_au, sigmoid
                "contrastive_start": 2.0,
                "contrastive_floor": 1.0,
                "progression": "linear",  # or gaussian, centred_gaussian
                "total_weight": 2.0,
                "contrastive_factor": 1.0,
                "focal_gamma": 2.0,
            },
            "optim": {
                "peak_lr": 5e-5,
                "warmup_epochs": 5,
                "lr_floor": 0.1,
                "weight_decay": 0.05,
                "clip_norm": 20.0,
                "decay_embeddings": False,
                "frozen": (),  # regular expressions of parameter paths
            },
            "augment": {  # the numbers are probabilities
                "augmix": 0.5,
                "flip": 0.5,
                "flip_swaps_sides": True,
                "colour_jitter": 0.5,
                "static_mix": 0.5,
                "static_mix_weight": 0.5,
                "static_mix_self": False,
                "static_mix_inverse": False,
            },
            "train": {
                "epochs": 55,
                "batch_size": 16,
                "stack": 0,  # members trained at once; 0: as many as fit
                "scan_steps": 8,  # steps a dispatch
                "checkpoint_every": 50,  # dispatches
                "keep_weights": False,
            },
            "protocol": {
                "name": "loso",
                "seeds": (0,),
                "folds": 5,  # of kfold
                "test_subjects": (),  # of holdout; or, by the owners' split:
                "train_splits": (),
                "test_splits": (),
                "selection": "last",
                "inner_subjects": 0,  # held out of each training part for "inner"
                "input_contract": "oracle-keyframes",
            },
        }
    )


def finish(
    config: ConfigDict, arg: str | None, **released: float | str | bool
) -> ConfigDict:
    """Apply an argument such as "recipe=released,seeds=3" to a config.

    `released` are the config's own values under that recipe, "__" for the dots.
    Raises ValueError for an unknown word, listing the known ones.
    """
    words = {"recipe": "paper", "ablation": "none", "seeds": "1"}
    if config.data.task:
        words["task"] = config.data.task
    for part in (arg or "").split(","):
        key, _, value = part.partition("=")
        if part and key not in words:
            raise ValueError(f"config argument {part!r}: expected one of {list(words)}")
        if part:
            words[key] = value
    for word, table in (("recipe", RECIPES), ("ablation", ABLATIONS)):
        if words[word] not in table:
            raise ValueError(f"{word}={words[word]!r}: expected one of {list(table)}")
        config[word] = words[word]
    if "task" in words:
        _set_task(config, words["task"])
    if not words["seeds"].isdecimal() or int(words["seeds"]) < 1:
        raise ValueError(f"seeds={words['seeds']!r}: expected a positive number")
    if int(words["seeds"]) > 1 or "seeds=" in (arg or ""):
        config.protocol.seeds = tuple(range(int(words["seeds"])))
    changes = dict(RECIPES[words["recipe"]])
    if words["recipe"] == "released":
        changes |= {key.replace("__", "."): value for key, value in released.items()}
    config.update_from_flattened_dict(changes | ABLATIONS[words["ablation"]])
    return config


def _set_task(config: ConfigDict, name: str) -> None:
    """Put a task of the class-map table into the config, which takes its name."""
    known = tasks_of(config.data.dataset.partition("/")[0])
    if name not in known:
        raise ValueError(f"task={name!r}: expected one of {list(known)}")
    config.name = config.data.task = name
    config.data.classes = TASKS[name].classes
    config.data.dropped = TASKS[name].dropped
    config.data.excluded = TASKS[name].excluded
