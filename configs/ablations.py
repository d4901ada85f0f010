"""The rows of MER-CLIP's ablation tables, on any of its datasets.

    python -m merclip_jax.main --config=configs/ablations.py:components_dfme,row=no_alignment --workdir=runs/no_alignment
    python -m merclip_jax.compare --table=components_dfme --out=runs/components_dfme

The argument names table and dataset, then perhaps a row (the paper's own recipe without), recipe and seeds: "templates_samm,row=5,seeds=3".
The paper's Table VIII is `components`; of the wording of the others, and of their numbers, nothing could be recovered.
Expected cost: that of the dataset's own config for each row. Rows that one program can serve train side by side, as members of shared stacks with their seeds and folds; of these 30 rows no_head, soft_au, soft_sides and class_balance need programs of their own.
"""

import dataclasses

from configs import (
    casme2_3class,
    casme2_5class,
    casme3_3class,
    casme3_4class,
    casme3_7class,
    common,
    dfme_7class,
    samm_3class,
    samm_5class,
    synthetic_3class,
)

# Datasets by their short names -> the config whose task it is.
CELLS = {
    "casme2": casme2_3class,
    "casme2_5": casme2_5class,
    "samm": samm_3class,
    "samm_5": samm_5class,
    "casme3_3": casme3_3class,
    "casme3_4": casme3_4class,
    "casme3": casme3_7class,
    "dfme": dfme_7class,
    "synthetic": synthetic_3class,
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of a table: name -> what differs from the config; the first is the paper's."""

    title: str
    rows: dict[str, dict]


_OFF = {f"augment.{name}": 0.0 for name in ("augmix", "flip", "colour_jitter")}
_OFF |= {"augment.static_mix": 0.0}


def _only(*names: str) -> dict:
    """No augmentation but these, each for half of the clips."""
    return _OFF | {f"augment.{name}": 0.5 for name in names}


_COMPONENTS = ("no_alignment", "no_head", "no_progressive", "emotion_guided")
_OTHERS = ("soft_au", "soft_sides", "label_smoothing", "class_balance")
TABLES = {
    "components": Table(
        "What each part is worth (the paper's Table VIII)",
        {"full": {}} | {name: common.ABLATIONS[name] for name in _COMPONENTS},
    ),
    "augmentations": Table(
        "What each augmentation is worth",
        {
            "all": {},
            "none": _OFF,
            "augmix": _only("augmix"),
            "flip": _only("flip"),
            "colour_jitter": _only("colour_jitter"),
            "static_mix": _only("static_mix"),
            "no_static_mix": common.ABLATIONS["no_static_mix"],
        },
    ),
    "wording": Table(
        "How AUs are worded",
        {
            "phrases": {},
            "facs": {"text.words": "facs"},
            "no_and": {"text.last_and": False},
        },
    ),
    "order": Table(
        "In which order the AUs of a sentence stand",
        {
            "ascending": {},
            "annotation": {"text.order": "annotation"},
            "shuffled": {"text.order": "shuffled"},
        },
    ),
    "templates": Table(
        "How many templates there are",
        {"7": {}} | {str(n): {"text.templates": n} for n in (1, 3, 5, 10)},
    ),
    "supervision": Table(
        "Sentences of AUs or of emotions",
        {"au": {}, "emotion": {"text.supervision": "emotion"}},
    ),
    "losses": Table(
        "Others' losses on the same terms",
        {"paper": {}} | {name: common.ABLATIONS[name] for name in _OTHERS},
    ),
}
ALIASES = {"table8": "components"}


def names() -> list[str]:
    """All tables with all datasets."""
    return [f"{table}_{cell}" for table in TABLES for cell in CELLS]


def rows_of(name: str) -> list[str]:
    """The arguments of a table's rows, such as "row=no_head"; ValueError for none."""
    return [f"row={row}" for row in _find(name)[0].rows]


def get_config(arg: str | None = None):
    """The config of a row; `arg` as above."""
    name, _, more = (arg or "").partition(",")
    table, cell = _find(name)
    words = [word for word in more.split(",") if word]
    asked = [word.partition("=")[2] for word in words if word.startswith("row=")]
    row = asked[0] if asked else next(iter(table.rows))
    if row not in table.rows or len(asked) > 1:
        raise ValueError(f"row={row!r}: expected one of {list(table.rows)}")
    rest = ",".join(word for word in words if not word.startswith("row="))
    config = CELLS[cell].get_config(rest or None)
    config.update_from_flattened_dict(table.rows[row])
    config.name = f"{config.name}-{name}-{row}"
    return config


def _find(name: str) -> tuple[Table, str]:
    table, _, cell = name.partition("_")
    table = ALIASES.get(table, table)
    if table not in TABLES or cell not in CELLS:
        raise ValueError(
            f"{name!r}: expected TABLE_DATASET of the tables {[*TABLES, *ALIASES]} and "
            f"the datasets {list(CELLS)}"
        )
    return TABLES[table], cell
