"""What a run is called."""

import dataclasses
from typing import Annotated

from merclip_jax.declared import Matches, OneOf, check

SYSTEMS = ("mer_clip", "fdp", "micro_au_clip")
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
    "soft_au",
    "soft_sides",
    "label_smoothing",
    "class_balance",
)
# Those of the detector of AUs stand in `configs.micro_au_clip`. No paper's recipe is
# at hand, so that there is but one.
AU_RECIPES = ("ours",)
AU_ABLATIONS = (
    "none",
    "detection_only",
    "no_contrastive",
    "no_dependency",
    "focal",
    "correlation",
    "pta_self",
    "gda_cls",
    "no_augmentation",
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


@dataclasses.dataclass(frozen=True)
class AURunOptions:
    """The same of a detector of AUs after Micro-AU CLIP."""

    name: Annotated[str, Matches(".{0,200}", "one line of at most 200")] = ""
    system: Annotated[str, OneOf(SYSTEMS)] = "micro_au_clip"
    recipe: Annotated[str, OneOf(AU_RECIPES)] = "ours"
    ablation: Annotated[str, OneOf(AU_ABLATIONS)] = "none"

    def __post_init__(self):
        check(self)
