"""What a run is called."""

import dataclasses
from typing import Annotated

from merclip_jax.declared import Matches, OneOf, check

SYSTEMS = ("mer_clip", "fdp")
# The sets of values that go by these names stand in `configs.common`.
RECIPES = ("paper", "released")
ABLATIONS = (
    "none",
    "no_alignment",
    "no_head",
    "no_progressive",
    "emotion_guided",
    "no_augmentation",
    "no_static_mix",
)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """The keys of a config outside of its groups.

    name: of the run, on its card; system: which one trains; recipe, ablation: the sets
    of values that the config has taken over.
    """

    name: Annotated[str, Matches(".{0,200}", "one line of at most 200")] = ""
    system: Annotated[str, OneOf(SYSTEMS)] = "mer_clip"
    recipe: Annotated[str, OneOf(RECIPES)] = "paper"
    ablation: Annotated[str, OneOf(ABLATIONS)] = "none"

    def __post_init__(self):
        check(self)
