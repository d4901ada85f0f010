"""Which published model a file holds, told from its keys."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.weights.families import (
    clip,
    hugging_face,
    mer_clip,
    uniformer_v2,
    viclip,
)
from merclip_jax.weights.problems import listed

FAMILIES = {
    "uniformer_v2": uniformer_v2.FAMILY,
    "mer_clip": mer_clip.FAMILY,
    "clip": clip.FAMILY,
    "viclip": viclip.FAMILY,
}
PREFIXES = ("module.", "backbone.")  # of torch's DataParallel and of mmengine


class Named(NamedTuple):
    """A file's arrays under the names of its family's rules.

    `names` are the keys as the file has them; `prefixes` were cut from all of them.
    """

    family: str
    state: dict[str, np.ndarray]
    names: dict[str, tuple[str, ...]]
    prefixes: tuple[str, ...]


def recognise(path: str, state: Mapping[str, np.ndarray]) -> Named:
    """The family of a file, its keys cut of prefixes and Hugging Face's renamed.

    Args:
        path: of the file, for errors.
        state: arrays by the file's keys.

    Returns:
        The arrays under the family's names.

    Raises:
        UserError: it is no known family; the first keys are told.
    """
    # Every renaming keeps the file's own keys, by which problems are told.
    names = {key: (key,) for key in state}
    prefixes = []
    while found := next(
        (p for p in PREFIXES if all(k.startswith(p) for k in names)), 0
    ):
        names = {key.removeprefix(found): value for key, value in names.items()}
        prefixes.append(found)
    if any(k.startswith("text.transformer.") for k in names):  # open_clip's other form
        names = {key.removeprefix("text."): value for key, value in names.items()}
    if "to_cls_decoder.weight" in names:  # MER-CLIP's encoder without its prefix
        names = {f"vision_encoder.{key}": value for key, value in names.items()}
    # After the renamings, so that each family knows one set of names.
    family = next((name for name, f in FAMILIES.items() if f.detect(names)), None)
    if family is None:
        raise UserError(
            listed(
                f"{path}: holds none of {', '.join(f.title for f in FAMILIES.values())}"
                "; its keys",
                [f"{key} {value.shape}" for key, value in state.items()],
            )
        )
    renamed = {key: state[value[0]] for key, value in names.items()}
    if any(key.startswith(hugging_face.STARTS) for key in names):
        renamed, names = hugging_face.to_openai(path, renamed, names)
    return Named(family, renamed, names, tuple(prefixes))
