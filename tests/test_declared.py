"""Every key of a config says what it may be, and nothing else comes past it."""

import copy
import dataclasses
import math
from typing import Annotated

import jax
import pytest
from ml_collections import ConfigDict

from configs import common, micro_au_clip
from configs.fdp import base as fdp
from merclip_jax import build, naming
from merclip_jax.declared import Matches, OneOf, Range, Regex, check, problems
from merclip_jax.errors import UserError
from merclip_jax.job import flatten

BASE = common.base().to_dict()
KEYS = sorted(flatten(common.base()))
# Every kind of value that was ever typed by mistake, for every key.
HOSTILE = [
    *(-1, 0, 1, 2, 10**12, 10**400, -0.5, 0.5, 1.5, 1e308, 5e-324),
    *(math.nan, math.inf, -math.inf, True, False, None, 1j, b"x"),
    *("", "x", "paper", "../..", "a/b", "a\0b", "\ud800", "x" * 10_000, "1", "("),
    *((), (1,), (1.5,), (-1,), (1, 1), ("a",), ("a", "a"), ("[",), (10**20,), (None,)),
    *([0], {}, {"a": 1}, ((("a", "b"),),), (("a", ("b",)),), (("a", "b"),), ((),)),
]
# Written by hand, not read from the declarations that are under test.
WORDS = {
    "system": {"mer_clip"},
    "recipe": {"paper", "released"},
    "ablation": set(common.ABLATIONS),
    "data.residency": {"auto", "device", "host"},
    "data.sampling": {
        *("keyframes", "keyframes_integer", "uniform", "stride", "onset_apex")
    },
    "protocol.name": {"loso", "kfold", "holdout"},
    "protocol.selection": {"last", "inner", "oracle"},
    "loss.contrastive": {"hard", "soft_au", "soft_sides", "sigmoid"},
    "model.size": {"tiny", "b16", "l14", "nano"},
    "model.dtype": {"auto", "float32", "bfloat16"},
    "train.remat": {"none", "products", "blocks"},
}
BASES = {
    "mer_clip": common.base,
    "fdp": fdp.base,
    "micro_au_clip": micro_au_clip.base,
}
DATACLASSES = dict.fromkeys(
    kind
    for method in build.SYSTEMS.values()
    for kinds in method.groups.values()
    for kind in kinds
)
LEAST_ONE = "epochs batch_size checkpoint_every image_size temporal_layers"


def changed(key, value):
    """The base config with one value, of whatever type."""
    values = copy.deepcopy(BASE)
    *groups, name = key.split(".")
    place = values
    for group in groups:
        place = place[group]
    place[name] = value
    return ConfigDict(values, convert_dict=True)


def default(key):
    value = BASE
    for name in key.split("."):
        value = value[name]
    return value


def sound(key, value):
    """Whether a value may be, by another hand than `declared`."""
    usual = default(key)
    if key in WORDS:
        return value in WORDS[key]
    if isinstance(usual, bool):
        return isinstance(value, bool)
    if isinstance(usual, int | float):
        kinds = (int,) if isinstance(usual, int) else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool):
            return False
        least = 1 if key.rsplit(".")[-1] in LEAST_ONE.split() else 0
        return least <= value <= 1e9
    if isinstance(usual, str):
        return isinstance(value, str) and value.isprintable() and len(value) <= 4096
    return isinstance(value, tuple | list)


@pytest.mark.parametrize("key", KEYS)
def test_hostile_values_of_every_key(key):
    """Refused by the key's name, or of its type, in range and of its vocabulary."""
    refusals = 0
    for value in HOSTILE:
        try:
            build.check(changed(key, value))
        except UserError as error:
            group, _, name = key.rpartition(".")
            assert f"config.{group}" in str(error) and name in str(error)
            assert len(str(error)) < 2000
            refusals += 1
        else:
            assert sound(key, value), f"{key}={value!r} was accepted"
    assert refusals > len(HOSTILE) / 3


@pytest.mark.parametrize("key", KEYS)
def test_the_defaults_are_sound(key):
    assert sound(key, default(key))


def test_numbers_that_python_does_not_write_out():
    with pytest.raises(UserError, match="of 16610 bits: expected a number from 1"):
        build.check(changed("train.epochs", 10**5000))


def test_all_problems_are_told_at_once():
    config = common.base()
    config.optim.peak_lr = math.inf
    config.train.epochs = 0
    config.recipe = "ours"
    with pytest.raises(UserError) as caught:
        build.check(config)
    lines = str(caught.value).splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "config.recipe",
        "config.optim.peak_lr",
        "config.train.epochs",
    ]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data.image_size": 33}, r"data\.image_size=33: expected a multiple of 16"),
        ({"model.attention": "cudnn"}, "there is no GPU here"),
        ({"model.attention": "fused"}, "there is no TPU here"),
        (
            {"model.attention": "cudnn", "model.dtype": "float32"},
            "'cudnn' computes in bfloat16",
        ),
        (
            {"train.microbatch": 4},
            r"microbatch=4: BatchNorm.*set config\.model\.bn_group_size to 4",
        ),
        ({"train.microbatch": 3}, "microbatch=3 does not divide a batch of 16"),
        ({"loss.contrastive_start": 3.0}, r"total_weight=2\.0: .*contrastive_start"),
        ({"loss.contrastive_floor": 5.0}, r"total_weight=2\.0: "),
        (
            {"protocol.test_subjects": ("a",)},
            "goes with name=.holdout",
        ),
        ({"protocol.folds": 7}, "folds=7: goes with name='kfold'"),
        (
            {"protocol.name": "holdout", "protocol.train_splits": ("a",)},
            "by test_subjects, or by train_splits and test_splits",
        ),
        (
            {"protocol.name": "holdout", "protocol.test_subjects": ("a", "a")},
            "stands there twice",
        ),
    ],
)
def test_sound_values_that_do_not_go_together(changes, match):
    config = common.base()
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=match):
        build.check(config)


def test_keys_that_nothing_reads_are_told():
    """A config file may set any: a misspelt one would change nothing."""
    values = copy.deepcopy(BASE)
    values["train"]["epoch"] = 9
    values["zoo"] = 3
    del values["text"]
    with pytest.raises(UserError) as caught:
        build.check(ConfigDict(values))
    assert str(caught.value).splitlines() == [
        "config.text: expected the group of configs/common.py",
        "config.zoo: no such key",
        "config.train.epoch: no such key; did you mean epochs?",
    ]
    with pytest.raises(UserError, match="config.data: expected the group"):
        build.check(ConfigDict())


@pytest.mark.parametrize("system", build.SYSTEMS)
def test_every_group_is_declared(system):
    """No key of a config is outside of what `check` reads."""
    declared = {
        f"{group}.{field.name}" if group else field.name
        for group, kinds in build.SYSTEMS[system].groups.items()
        for kind in kinds
        for field in dataclasses.fields(kind)
    }
    assert set(flatten(BASES[system]())) <= declared


def test_names_of_runs_are_those_that_there_are():
    assert tuple(common.RECIPES) == naming.RECIPES
    assert tuple(common.ABLATIONS) == naming.ABLATIONS
    assert tuple(micro_au_clip.ABLATIONS) == naming.AU_ABLATIONS
    assert tuple(build.SYSTEMS) == naming.SYSTEMS == tuple(BASES)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data.image_size": 100}, r"data\.image_size=100: expected a multiple of 16"),
        ({"data.frames": 1}, r"data\.frames=1: onset and apex are 2 frames"),
        ({"data.sampling": "uniform"}, "a detector of AUs sees 'onset_apex'"),
        ({"model.input": "flow"}, r"flow=False does not go with .*input='flow'"),
        ({"data.flow": True}, r"flow=True does not go with .*input='diff'"),
        ({"model.aus": (1, 3)}, r"model\.aus=.*of 3: expected one of \[1, 2, 4"),
        ({"model.aus": ()}, r"aus=\(\): expected one or more, each once"),
        ({"model.heads": 5}, "heads=5: do not divide the width 768 of size='b16'"),
        ({"model.attention": "fused"}, "there is no TPU here"),
        ({"init.weights": "ema"}, "weights=ema goes with vision"),
        ({"recipe": "paper"}, r"recipe='paper': expected one of \['ours'\]"),
        ({"system": "mer_clip"}, "config.text: expected the group"),
    ],
)
def test_what_a_detector_of_aus_refuses(changes, match):
    config = micro_au_clip.base()
    build.check(config)
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=match):
        build.check(config)


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize("kind", DATACLASSES)
def test_ends_of_ranges_can_be_had(kind, end):
    """Each declared end by itself makes a dataclass, and is refused one step beyond."""
    for name, hint in _ranges(kind):
        value = getattr(hint, end)
        excluded = hint.above if end == "low" else hint.below
        usual = {f.name: f.default for f in dataclasses.fields(kind)}[name]
        whole = isinstance(usual, int) or isinstance(usual, tuple)
        value = int(value) if whole else float(value)
        beyond = value + (1 if end == "high" else -1)
        wrap = (lambda x: (x,)) if isinstance(usual, tuple) else (lambda x: x)
        assert bool(problems(kind, {name: wrap(value)})) == excluded
        assert problems(kind, {name: wrap(beyond)})


def _ranges(kind):
    for field in dataclasses.fields(kind):
        for limit in getattr(field.type, "__metadata__", ()):
            if isinstance(limit, Range):
                yield field.name, limit


def test_no_clipping_is_zero():
    """The natural way to say it was infinity, which no card can hold."""
    grads = {"w": jax.numpy.full(3, 1e6)}
    from merclip_jax.training.optim import AdamWOptions, adamw_directions

    options = AdamWOptions(clip_norm=0.0)
    tx = adamw_directions(
        weight_decay=0.0, clip_norm=options.clip_norm, decay_embeddings=False
    )
    state = tx.init(grads)
    _, state = tx.update(grads, state, grads)
    moments = jax.tree.leaves(state)
    assert any(float(abs(leaf).max()) > 1e5 for leaf in moments)


@dataclasses.dataclass(frozen=True)
class Options:
    share: Annotated[float, Range(0, 1, above=True, below=True)] = 0.5
    word: Annotated[str, OneOf(("a", "b"))] = "a"
    form: Annotated[str, Matches("[a-z]+", "small letters")] = "a"
    frozen: Annotated[tuple[str, ...], Regex()] = ()
    pairs: tuple[tuple[str, tuple[str, ...]], ...] = ()


def test_a_dataclass_is_checked_whole():
    check(Options())
    with pytest.raises(ValueError, match=r"share=0\.0: .*; word='c': .*\['a', 'b'\]"):
        check(Options(share=0.0, word="c"))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("share", 1.0, "above 0 to|above 0 below 1"),
        ("form", "A", "expected small letters"),
        ("frozen", ("[",), "no regular expression"),
        ("pairs", (("a", "b"),), "expected several values"),
        ("pairs", (("a",),), "expected 2 values, found 1"),
        ("pairs", (("a", (1,)),), "of 1: expected text"),
    ],
)
def test_what_is_wrong_is_said(name, value, why):
    import re

    assert re.search(why, problems(Options, {name: value})[name])
