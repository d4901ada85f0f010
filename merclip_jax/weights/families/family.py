"""What this project must know of a family of published models."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

from merclip_jax.weights.families.numbers import Arrays, Shapes
from merclip_jax.weights.families.rules import Rule, Why

PROJECTORS = (
    "params/(video_projection|video_norm/.*|head_projection/.*|head_norm/.*)",
    "the file has no projectors of MER-CLIP",
)


@dataclasses.dataclass(frozen=True)
class Family:
    """How the files of one family are told, named, measured and used.

    Attributes:
        title: as its authors call it.
        detect: whether official keys are of this family.
        video: rules of the video part, empty where the family brings none.
        text: rules of the text part.
        numbers: arrays of the video part by Flax path -> the numbers of its module.
            Raises Unclear.
        shapes: these numbers -> shapes of the module's variables.
        dropped: official keys that are left aside, and why.
        lacks: what a MER-CLIP has beyond it and starts anew, and why.
        beyond: what it has beyond a MER-CLIP, which a training leaves aside, and why.
        context: text positions that the prompts need; a shorter table is padded.
        describe: numbers of a video module -> a line for people, where its words are
            not those of a video encoder.
    """

    title: str
    detect: Callable[[Collection[str]], bool]
    video: Sequence[Rule] = ()
    text: Sequence[Rule] = ()
    numbers: Callable[[Arrays], dict] | None = None
    shapes: Callable[[Mapping], Shapes] | None = None
    dropped: Sequence[Why] = ()
    lacks: Sequence[Why] = ()
    beyond: Sequence[Why] = ()
    context: int = 0
    describe: Callable[[Mapping], str] | None = None


def any_begin(keys: Collection[str], *starts: str) -> bool:
    """Whether some keys are of a family.

    Args:
        keys: official ones.
        starts: what only this family's keys begin with.

    Returns:
        True when any key does.
    """
    return any(key.startswith(starts) for key in keys)
