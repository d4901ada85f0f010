"""The class-map table: every task's classes, what it leaves out, what it must count.

Counts are those of MER-CLIP's Table III, of its authors' released lists, of MEGC2019,
and of the datasets' own papers. Configs take their classes from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

Classes = tuple[tuple[str, tuple[str, ...]], ...]

_SEVEN = ("anger", "disgust", "fear", "happiness", "others", "sadness", "surprise")
_PROTOTYPES = (
    *("anger", "contempt", "disgust", "fear"),
    *("happiness", "sadness", "surprise"),
)


def _each(*names: str) -> Classes:
    return tuple((name, (name,)) for name in names)


def _three(*negative: str) -> Classes:
    happy, surprised = ("positive", ("happiness",)), ("surprise", ("surprise",))
    return (("negative", negative), happy, surprised)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A named task: which emotions make a class, and which clips are left out.

    Attributes:
        dataset: Its name.
        classes: (class, its emotions), in label order.
        dropped: Emotions left out.
        excluded: Clips left out though their emotion belongs.
        counts: Split -> published clips per class, where they are known.
        clips: Split -> published clips.
        subjects: Split -> published subjects.
        configs: The dataset's configs that these are of, () for all.
    """

    dataset: str
    classes: Classes
    dropped: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    clips: Mapping[str, int] = field(default_factory=dict)
    subjects: Mapping[str, int] = field(default_factory=dict)
    configs: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return tuple(name for name, _ in self.classes)

    @property
    def emotions(self) -> dict[str, str]:
        """Emotion -> its class."""
        return {e: name for name, emotions in self.classes for e in emotions}


def _one_split(
    dataset: str,
    classes: Classes,
    counts: tuple[int, ...],
    subjects: int | None,
    *,
    dropped: tuple[str, ...] = (),
    excluded: tuple[str, ...] = (),
    configs: tuple[str, ...] = (),
) -> Task:
    return Task(
        dataset=dataset,
        classes=classes,
        dropped=dropped,
        excluded=excluded,
        counts={"clips": counts} if counts else {},
        clips={"clips": sum(counts)} if counts else {},
        subjects={"clips": subjects} if subjects else {},
        configs=configs,
    )


# Rows with an offset before the onset; the released lists hold all others. In copies
# that somebody has put right the first is called d_2647.
_CASME3_BROKEN = (
    "casme3/spNO.216/d_3647",
    "casme3/spNO.216/d_2647",
    "casme3/spNO.40/e_1812",
    "casme3/spNO.40/e_2327",
)
# MEGC2019's two of the 90 negative clips that it leaves out: no apex, apex on the onset
# (the difference between its list of 442 clips and the coding table).
_NO_APEX = ("casme2/sub04/EP12_01f", "casme2/sub05/EP09_05f")
# Surprise in the table of 2019, sadness in that of 2014, which MEGC2019 used.
SUB24 = tuple(f"casme2/sub24/{clip}" for clip in ("EP07_01", "EP07_04f", "EP10_03"))
_CASME3_FOUR = (
    ("negative", ("anger", "disgust", "fear", "sadness")),
    ("positive", ("happiness",)),
    ("surprise", ("surprise",)),
    ("others", ("others",)),
)
# Several datasets are joined by "+".
MEGC2019 = "casme2+samm+smic"
_FOURDME = ("negative", "positive", "surprise", "repression", "others")

# How a dataset is to be had: what a run says when it is not built.
ACCESS: dict[str, str] = {
    "casme2": "http://casme.psych.ac.cn/casme/e2 hands it out for a licence "
    "agreement signed by staff of an institution",
    "casme3": "http://casme.psych.ac.cn/casme/e4 hands it out for a licence "
    "agreement signed by staff of an institution",
    "casme_sq": "http://casme.psych.ac.cn/casme hands it out for a licence agreement "
    "signed by staff of an institution",
    "dfme": "https://mea-lab-421.github.io hands it out for a licence signed by a"
    " supervisor; academic use only",
    "fourdme": "the University of Oulu (CMVS) hands it out for a signed licence "
    "agreement",
    "mmew": "http://www.dpailab.com/database.html hands it out for a signed agreement",
    "samm": "Manchester Metropolitan University (M. H. Yap) hands it out for a "
    "signed release agreement",
    "smic": "the University of Oulu (CMVS) hands it out for a signed licence agreement",
}

# The emotion of a window without an expression, and the class of such windows.
NOTHING = "none"

TASKS: dict[str, Task] = {
    "casme2_5class": _one_split(
        "casme2",
        _each("disgust", "happiness", "others", "repression", "surprise"),
        (63, 32, 99, 27, 28),
        26,
        dropped=("fear", "sadness"),
    ),
    "casme2_3class": _one_split(
        "casme2",
        _three("disgust", "repression", "fear", "sadness"),
        (96, 32, 28),
        25,
        dropped=("others",),
    ),
    "casme2_3class_released": _one_split(
        "casme2",
        _three("disgust", "repression"),
        (90, 32, 28),
        24,
        dropped=("fear", "others", "sadness"),
    ),
    "casme2_3class_megc2019": _one_split(
        "casme2",
        _three("disgust", "repression"),
        (88, 32, 25),
        24,
        dropped=("fear", "others", "sadness"),
        excluded=(*SUB24, *_NO_APEX),
    ),
    "samm_5class": _one_split(
        "samm",
        _each("anger", "contempt", "happiness", "others", "surprise"),
        (57, 12, 26, 26, 15),
        27,
        dropped=("disgust", "fear", "sadness"),
    ),
    "samm_3class": _one_split(
        "samm",
        _three("anger", "contempt", "disgust", "fear", "sadness"),
        (92, 26, 15),
        28,
        dropped=("others",),
    ),
    "samm_3class_released": _one_split(
        "samm",
        _three("anger", "contempt"),
        (69, 26, 15),
        26,
        dropped=("disgust", "fear", "others", "sadness"),
    ),
    "casme3_7class": _one_split(
        "casme3", _each(*_SEVEN), (64, 250, 86, 55, 161, 57, 187), 94
    ),
    "casme3_7class_released": _one_split(
        "casme3",
        _each(*_SEVEN),
        (64, 250, 86, 55, 158, 57, 187),
        94,
        excluded=_CASME3_BROKEN,
    ),
    "casme3_4class": _one_split("casme3", _CASME3_FOUR, (457, 55, 187, 161), 94),
    "casme3_4class_released": _one_split(
        "casme3", _CASME3_FOUR, (457, 55, 187, 158), 94, excluded=_CASME3_BROKEN
    ),
    "casme3_3class": _one_split(
        "casme3",
        _three("anger", "disgust", "fear", "sadness"),
        (457, 55, 187),
        88,
        dropped=("others",),
    ),
    # No counts per class of DFME and 4DME are known, nor how many subjects of CAS(ME)^2
    # and 4DME have micro-expressions.
    "dfme_7class": Task(
        dataset="dfme",
        classes=_each(*_PROTOTYPES),
        dropped=("", "others"),  # no label; the full release alone has "others"
        clips={"train": 1856, "test_a": 474, "test_b": 299},
        subjects={"train": 176, "test_a": 42, "test_b": 41},
        configs=("ccac",),
    ),
    "smic_3class": _one_split(
        "smic",
        _each("negative", "positive", "surprise"),
        (70, 51, 43),
        16,
        configs=("cropped", "raw"),
    ),
    "casme_sq_4class": _one_split(
        "casme_sq",
        _each("negative", "positive", "surprise", "others"),
        (21, 8, 9, 19),
        None,
    ),
    "mmew_7class": _one_split("mmew", _each(*_SEVEN), (8, 72, 16, 36, 66, 13, 89), 30),
    "fourdme_5class": _one_split(
        "fourdme",
        _each(*_FOURDME),
        (),
        None,
        # Clips with several emotions are of no class: all combinations that there are.
        dropped=tuple(
            "+".join(sorted(names))
            for size in range(2, len(_FOURDME) + 1)
            for names in combinations(_FOURDME, size)
        ),
    ),
    # The Micro-Expression Grand Challenge of 2019. A dataset's own emotions go by its
    # name: CASME II's fear and sadness are left out, SAMM's are negative.
    "megc2019_3class": _one_split(
        MEGC2019,
        (
            (
                "negative",
                (
                    *("casme2/disgust", "casme2/repression", "smic/negative"),
                    *("samm/anger", "samm/contempt", "samm/disgust", "samm/fear"),
                    "samm/sadness",
                ),
            ),
            ("positive", ("casme2/happiness", "samm/happiness", "smic/positive")),
            ("surprise", ("surprise",)),
        ),
        (250, 109, 83),
        68,
        dropped=("casme2/fear", "casme2/others", "casme2/sadness", "samm/others"),
        excluded=(*SUB24, *_NO_APEX),
    ),
    # No counts: how many clips of a class there are is a setting of each config.
    "synthetic_3class": _one_split(
        "synthetic",
        _three("anger", "contempt", "disgust", "fear", "sadness"),
        (),
        None,
    ),
    "synthetic_5class": _one_split(
        "synthetic",
        (
            ("anger", ("anger",)),
            ("disgust", ("contempt", "disgust")),
            ("happiness", ("happiness",)),
            ("sadness", ("fear", "sadness")),
            ("surprise", ("surprise",)),
        ),
        (),
        None,
    ),
    "synthetic_7class": _one_split("synthetic", _each(*_PROTOTYPES), (), None),
}


def tasks_of(dataset: str) -> dict[str, Task]:
    """Returns the tasks of a dataset, or of several joined by "+", by name."""
    return {name: task for name, task in TASKS.items() if task.dataset == dataset}
