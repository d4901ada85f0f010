"""TFDS builder of the procedural dataset: /tiny, /full, /mini, /apart, /windows."""

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from data_builders.records.features import clip_example, clip_features
from data_builders.synthetic.ceiling import Ceiling, ceilings, chance
from data_builders.synthetic.clip import clip_truth, make_clip
from data_builders.synthetic.config import APART, FULL, MINI, TINY, ClipConfig
from data_builders.synthetic.emotions import AU_COMBINATIONS, TASKS, emotion_priors
from data_builders.synthetic.fields import CELLS
from data_builders.synthetic.windows import (
    MINI_WINDOWS,
    WINDOWS,
    WindowConfig,
    make_window,
    name_of,
)


@dataclasses.dataclass(eq=False, kw_only=True)
class SyntheticConfig(tfds.core.BuilderConfig):
    """A named `ClipConfig` or `WindowConfig`."""

    clips: ClipConfig | WindowConfig


class Synthetic(tfds.core.GeneratorBasedBuilder):
    """Procedural micro-expressions with known truth: no photo, no licence to ask for.

    Scores on this set say nothing about people.
    """

    VERSION = tfds.core.Version("1.3.0")  # 1.3: landmarks, of every frame too
    BUILDER_CONFIGS = [
        SyntheticConfig(name="tiny", description="32 px, for two cores", clips=TINY),
        SyntheticConfig(name="full", description="224 px, 1-3 px motion", clips=FULL),
        SyntheticConfig(name="mini", description="32 px, for tests", clips=MINI),
        SyntheticConfig(
            name="apart",
            description="64 px, for AU detection: without decoys, so that nothing "
            "moves but the AUs that are annotated, and the apex picture shows them",
            clips=APART,
        ),
        SyntheticConfig(
            name="windows",
            description="32 px, windows of recordings with and without an expression, "
            "for models of raw video",
            clips=WINDOWS,
        ),
        SyntheticConfig(
            name="windows_mini", description="the same, for tests", clips=MINI_WINDOWS
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        curves = tfds.features.Tensor(shape=(None, len(CELLS)), dtype=np.float32)
        extra = {
            "au_intensity": curves,
            "decoy_cells": tfds.features.Sequence(tfds.features.Text()),
            "amplitude_px": tfds.features.Scalar(np.float32),
        }
        return self.dataset_info_from_configs(
            features=clip_features(extra),
            description=self.__doc__,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator]:
        del dl_manager  # nothing to fetch
        return {"clips": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, object]]]:
        for index in range(self.builder_config.clips.clips):
            yield index, self.example(index)

    def clip_names(self) -> list[str]:
        """Returns the names of all clips, in order."""
        config = self.builder_config.clips
        if isinstance(config, WindowConfig):
            return [name_of(config, index)[0] for index in range(config.clips)]
        return [clip_truth(config, index).clip for index in range(config.clips)]

    def example(self, index: int) -> dict[str, object]:
        """Returns the features of one clip."""
        config = self.builder_config.clips
        if isinstance(config, WindowConfig):
            made = dict(make_window(config, index))
            own = {name: made.pop(name) for name in ("au_intensity", "amplitude_px")}
            return clip_example(**made) | own | {"decoy_cells": []}
        clip = make_clip(config, index)
        made = clip_example(
            frames=clip.encoded,
            frame_numbers=range(len(clip.encoded)),
            onset=clip.onset,
            apex=clip.apex,
            offset=clip.offset,
            apex_valid=True,  # it is known, not estimated
            subject=clip.subject,
            clip=clip.clip,
            fps=clip.fps,
            emotion=clip.emotion,
            au_cell=clip.au_cell,
            landmarks=clip.points[clip.onset],
            frame_landmarks=clip.points,
        )
        return made | {
            "au_intensity": clip.au_intensity,
            "decoy_cells": list(clip.decoy_cells),
            "amplitude_px": clip.amplitude_px,
        }


def describe(config: ClipConfig | WindowConfig) -> dict[str, object]:
    """Returns what is known about a dataset beforehand, as plain JSON values.

    Of windows that is notes and config alone: no ceiling of theirs is known.

    notes: what a reader of a score should know. ceiling: task -> UF1, UAR and ACC of an
    ideal observer. tasks["3"|"5"|"7"]: classes, class of each emotion, priors, the same
    ceiling, shuffled (that of an observer who does not know the order of the key
    frames) and chance (UF1 of guessing).
    """
    if isinstance(config, WindowConfig):
        return _describe_windows(config)
    ordered, blind = ceilings(config), ceilings(config, shuffled=True)
    low, high = config.amplitude_px
    tasks = {
        str(classes): {
            "classes": list(task.names),
            "class_of": task.emotions,
            "priors": [round(float(p), 6) for p in ordered[classes].priors],
            "ceiling": _scores(ordered[classes]),
            "shuffled": _scores(blind[classes]),
            "chance": _chance(ordered[classes]),
        }
        for classes, task in TASKS.items()
    }
    shown = (
        ""
        if config.decoys
        else " A clip moves the AUs that it is annotated with and no others: a single "
        "picture of its apex shows them."
    )
    facts = {
        "notes": [
            f"The clips are procedural, every pixel of them computed: {config.clips} "
            f"clips of {config.subjects} subjects at {config.size}x{config.size} "
            f"pixels, with {low:g}-{high:g} pixels of motion at the apex; faces differ "
            f"{config.variety:g} times as much as they can. Such scores show that the "
            "program learns what is there to learn; they say nothing about people."
            f"{shown}"
        ],
        "ceiling": {
            f"synthetic_{classes}class": {
                "name": "Bayes ceiling of the dataset",
                **{name.lower(): score for name, score in _scores(best).items()},
            }
            for classes, best in ordered.items()
        },
        "config": dataclasses.asdict(config),
        "au_columns": list(CELLS),
        "au_combinations": AU_COMBINATIONS,
        "emotion_priors": emotion_priors(config),
        "tasks": tasks,
    }
    # Through JSON, so that metadata is the same before and after it was on disk.
    return json.loads(json.dumps(facts))


def _describe_windows(config: WindowConfig) -> dict[str, object]:
    face = config.recording.face
    low, high = (scale * config.stored / face.size for scale in face.amplitude_px)
    note = (
        f"The windows are procedural, every pixel of them computed: {config.clips} of "
        f"{face.subjects} subjects, {config.seconds:g} s each, faces aligned at "
        f"{config.stored}x{config.stored} pixels by their first frame, with "
        f"{low:.1f}-{high:.1f} pixels of motion at the apex; a share of "
        f"{config.empty:g} shows no expression, but blinks, speech and a moving head "
        "as the others do. Such scores say nothing about people."
    )
    facts = {"notes": [note], "config": dataclasses.asdict(config)}
    return json.loads(json.dumps(facts))


def _chance(ceiling: Ceiling) -> dict[str, float]:
    return {name: round(uf1, 6) for name, uf1 in chance(ceiling.priors).items()}


def _scores(ceiling: Ceiling) -> dict[str, float]:
    return {
        "ACC": round(ceiling.acc, 6),
        "UAR": round(ceiling.uar, 6),
        "UF1": round(ceiling.uf1, 6),
    }
