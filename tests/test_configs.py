"""Every config, resolved, is what tests/snapshots/configs.json says.

A change that is meant is taken over with `python -m tests.test_configs`; the diff of
the file is then part of the change.
"""

import importlib
import json
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import ablations, common, micro_au_clip
from configs.fdp import base as fdp
from data_builders.tasks import tasks_of
from merclip_jax import build
from merclip_jax.job import flatten
from merclip_jax.models import mer_clip

FOLDER = Path(common.__file__).parent
SNAPSHOT = Path(__file__).parent / "snapshots" / "configs.json"
NAMES = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if path.stem not in ("__init__", "common", "synthetic", "ablations")
)
# The sisters' configs lie in folders of their own.
AU_NAMES = sorted(
    f"micro_au_clip.{path.stem}"
    for path in (FOLDER / "micro_au_clip").glob("*.py")
    if path.stem != "__init__"
)
FDP_NAMES = sorted(
    f"fdp.{path.stem}"
    for path in (FOLDER / "fdp").glob("*.py")
    if path.stem not in ("__init__", "base")
)
ALL = NAMES + AU_NAMES + FDP_NAMES
ARGS = (None, "recipe=released", "ablation=no_alignment")
AU_ARGS = (None, "ablation=detection_only", "ablation=pta_self,seeds=2")


def get_config(name, arg=None):
    return importlib.import_module(f"configs.{name}").get_config(arg)


def resolved(name):
    """The config's values, and what each argument changes in them."""
    args = AU_ARGS if name in AU_NAMES else ARGS
    args = (None, "recipe=released") if name in FDP_NAMES else args
    made = {arg: flatten(get_config(name, arg)) for arg in args}
    plain = made[None]
    changed = {
        arg: {key: value for key, value in values.items() if value != plain[key]}
        for arg, values in made.items()
        if arg
    }
    return json.loads(json.dumps({"plain": plain} | changed))


def write_snapshot():
    text = json.dumps({name: resolved(name) for name in ALL}, indent=1, sort_keys=True)
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text(text + "\n")


@pytest.fixture(scope="module")
def snapshot():
    return json.loads(SNAPSHOT.read_text())


def test_the_snapshot_has_these_configs(snapshot):
    assert sorted(snapshot) == sorted(ALL), "python -m tests.test_configs takes it over"


@pytest.mark.parametrize("name", ALL)
def test_resolved_config_is_the_snapshots(snapshot, name):
    ours, theirs = resolved(name), snapshot.get(name, {})
    lines = []
    for part in sorted(ours.keys() | theirs.keys()):
        mine, stored = ours.get(part, {}), theirs.get(part, {})
        for key in sorted(mine.keys() | stored.keys()):
            if mine.get(key, "absent") != stored.get(key, "absent"):
                lines.append(
                    f"  {part}: {key}: snapshot {stored.get(key, 'absent')!r}, "
                    f"now {mine.get(key, 'absent')!r}"
                )
    if lines:
        listing = "\n".join(lines)
        pytest.fail(
            f"configs/{name}.py changed:\n{listing}\nIf that is meant: "
            "python -m tests.test_configs",
            pytrace=False,
        )


@pytest.mark.parametrize("name", NAMES)
def test_config_is_whole(name):
    """Named like its file, with a header that says how to run it and what to expect."""
    config = get_config(name)
    assert config.name == name
    assert config.model.size in mer_clip.SIZES
    emotions = [e for _, names in config.data.classes for e in names]
    assert len(emotions) == len(set(emotions))
    assert not set(emotions) & set(config.data.dropped)
    header = importlib.import_module(f"configs.{name}").__doc__
    assert f"python -m merclip_jax.main --config=configs/{name}.py" in header
    assert "aper's" in header
    assert "Expected cost:" in header


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ablation", sorted(common.ABLATIONS))
def test_every_ablation_applies_to_every_config(name, ablation):
    config = get_config(name, f"ablation={ablation}")
    assert config.ablation == ablation
    flat = flatten(config)
    for key, value in common.ABLATIONS[ablation].items():
        assert flat[key] == value


@pytest.mark.parametrize("name", ablations.names())
def test_every_row_of_every_table_is_a_config(name):
    """... that can be, and of which no two are alike."""
    plain = flatten(ablations.CELLS[name.partition("_")[2]].get_config())
    table = ablations.TABLES[name.partition("_")[0]]
    found = {}
    for words in ablations.rows_of(name):
        config = ablations.get_config(f"{name},{words},seeds=2")
        build.check(config)
        values = flatten(config)
        assert values["protocol.seeds"] == [0, 1]
        row = words.partition("=")[2]
        changed = {key for key, value in values.items() if value != plain[key]}
        assert changed - {"name", "protocol.seeds"} <= table.rows[row].keys()
        found[row] = json.dumps({k: v for k, v in values.items() if k != "name"})
    first = next(iter(table.rows))
    # The procedural set has no faces to mix or to turn, and few templates anyhow.
    if not name.endswith("synthetic"):
        assert len(set(found.values())) == len(found)
    assert ablations.get_config(name).name == f"{plain['name']}-{name}-{first}"


def test_tables_and_rows_that_there_are_not_are_named():
    with pytest.raises(ValueError, match="'order_ck': expected TABLE_DATASET of"):
        ablations.get_config("order_ck")
    with pytest.raises(ValueError, match=r"row='no': expected one of \['ascending'"):
        ablations.get_config("order_samm,row=no")
    eighth = ablations.get_config("table8_dfme,row=no_head,recipe=released")
    assert eighth.model.head_blocks == 0 and eighth.recipe == "released"


@pytest.mark.parametrize("name", AU_NAMES)
@pytest.mark.parametrize("ablation", sorted(micro_au_clip.ABLATIONS))
def test_a_detectors_config_is_whole(name, ablation):
    config = get_config(name, f"ablation={ablation}")
    build.check(config)
    dataset = name.rpartition(".")[2]
    assert config.name == name.replace(".", "_")
    assert (config.system, config.recipe) == ("micro_au_clip", "ours")
    assert config.model.aus == micro_au_clip.AUS[dataset]
    emotions = {e for _, several in config.data.classes for e in several}
    datasets = [n.partition("/")[0] for n in config.data.dataset.split("+")]
    assert datasets == [dataset] or config.protocol.name == "cross_dataset"
    tasks = [task for one in datasets for task in tasks_of(one).values()]
    assert emotions == {e for t in tasks for e in (*t.emotions, *t.dropped)}
    # A fold whose clips are all of one class is refused as having nothing to learn.
    assert len(config.data.classes) > 1
    flat = flatten(config)
    for key, value in micro_au_clip.ABLATIONS[ablation].items():
        assert flat[key] == value
    header = importlib.import_module(f"configs.{name}").__doc__
    path = f"configs/{name.replace('.', '/')}.py"
    assert f"python -m merclip_jax.main --config={path}" in header
    assert "equations of our own" in header and "Expected cost:" in header


@pytest.mark.parametrize(
    ("arg", "match"),
    [
        ("ablation=all", r"ablation='all': expected one of \['none', 'detection_only"),
        ("recipe=paper", r"'recipe=paper': expected one of \['ablation', 'seeds'\]"),
        ("seeds=0", "seeds='0': expected a number"),
        ("seeds=1,seeds=2", "'seeds' is given twice"),
    ],
)
def test_unknown_arguments_of_a_detector_are_errors(arg, match):
    with pytest.raises(ValueError, match=match):
        get_config("micro_au_clip.samm", arg)


@pytest.mark.parametrize("name", FDP_NAMES)
@pytest.mark.parametrize("recipe", sorted(fdp.RECIPES))
def test_a_config_of_fdp_is_whole(name, recipe):
    config = get_config(name, f"recipe={recipe}")
    build.check(config)
    cell = name.partition(".")[2]
    assert (config.system, config.name) == ("fdp", f"fdp_{cell}")
    theirs = get_config(cell).data
    # The same clips and classes as MER-CLIP's, in the order of the released code.
    assert dict(config.data.classes) == dict(theirs.classes)
    assert config.data.excluded == theirs.excluded
    if order := fdp.RELEASED_CLASSES.get(cell):
        assert tuple(dict(config.data.classes)) == order
    header = importlib.import_module(f"configs.{name}").__doc__
    path = f"configs/{name.replace('.', '/')}.py"
    assert f"python -m merclip_jax.main --config={path}" in header
    assert "aper" in header and "Expected cost:" in header


def test_the_released_fdp_is_what_its_options_say_unasked():
    plain = flatten(get_config("fdp.samm_5class"))
    released = flatten(get_config("fdp.samm_5class", "recipe=released"))
    changed = {k for k in plain if plain[k] != released[k]}
    assert changed == {"recipe", *fdp.RECIPES["paper"]}


def test_arguments_combine():
    config = get_config(
        "casme3_7class", "recipe=released,ablation=no_alignment,seeds=3"
    )
    assert (config.recipe, config.ablation) == ("released", "no_alignment")
    assert config.protocol.seeds == (0, 1, 2)
    assert config.optim.decay_embeddings
    assert config.loss.contrastive_start == 0


@pytest.mark.parametrize(
    ("arg", "match"),
    [
        ("recipe=best", r"recipe='best': expected one of \['paper', 'released'\]"),
        ("ablation=all", r"ablation='all': expected one of \['none', 'no_align"),
        ("recipes=paper", r"'recipes=paper': expected one of \['recipe'"),
        ("released", "'released': expected one of"),
        ("seeds=0", "seeds='0': expected a number"),
        ("seeds=two", "seeds='two': expected a number"),
        ("seeds=-1", "seeds='-1'"),
        ("seeds=", "seeds=''"),
        ("recipe=", "recipe=''"),
    ],
)
def test_unknown_arguments_are_errors(arg, match):
    with pytest.raises(ValueError, match=match):
        get_config("synthetic_3class", arg)


def test_recipes_and_ablations_name_values_that_exist():
    known = flatten(common.base())
    for table in (*common.RECIPES.values(), *common.ABLATIONS.values()):
        assert table.keys() <= known.keys()


def test_two_configs_share_no_value_that_can_change():
    first, second = common.base(), common.base()
    first.train.epochs = 1
    assert second.train.epochs == 55
    assert isinstance(second, ConfigDict)


def test_the_readme_lists_every_config():
    """By name, or as `name_{3,5}class`."""
    text = (FOLDER / "README.md").read_text()
    listed = set(re.findall(r"\w+_\dclass|window_\w+", text))
    for stem, numbers in re.findall(r"(\w+_)\{([\d,]+)\}class", text):
        listed |= {f"{stem}{k}class" for k in numbers.split(",")}
    assert listed == set(NAMES)
    assert all(f"`{name.replace('.', '/')}`" in text for name in AU_NAMES)
    assert "`fdp/NAME`" in text


if __name__ == "__main__":
    write_snapshot()
