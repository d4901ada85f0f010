"""Which class an emotion is of, where datasets name or count emotions differently."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

# (class, its emotions), ...; "samm/fear" is SAMM's alone and counts before "fear".
Classes = Sequence[tuple[str, Sequence[str]]]


def dataset_of(name: str) -> str:
    """The dataset that a subject's or a clip's name begins with."""
    return name.partition("/")[0]


def label_of(classes: Classes) -> dict[str, int]:
    """Emotion, perhaps of one dataset -> class.

    Args:
        classes: of a task.
    """
    return {e: k for k, (_, emotions) in enumerate(classes) for e in emotions}


def found_in(
    emotions: Mapping[str, int] | Collection[str], dataset: str, emotion: str
) -> str | None:
    """Under which name some emotions hold a dataset's emotion, None for neither.

    Args:
        emotions: such as "fear" and "samm/fear".
        dataset: its name, without its config.
        emotion: as it was annotated.
    """
    names = f"{dataset}/{emotion}", emotion
    return next((name for name in names if name in emotions), None)


def labels(
    classes: Classes, datasets: Sequence[str], emotions: Sequence[str]
) -> np.ndarray:
    """Class int64 [n] of each clip, -1 for none.

    Args:
        classes: of a task.
        datasets: [n] names.
        emotions: [n] as annotated.
    """
    known = label_of(classes)
    names = map(found_in, [known] * len(datasets), datasets, emotions)
    return np.asarray([-1 if name is None else known[name] for name in names])
