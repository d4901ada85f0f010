"""At full size every published key has its place, and parts their published counts."""

import ast
import dataclasses
import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from merclip_jax.models import mer_clip
from merclip_jax.models.uniformer_v2 import UniFormerV2Classifier
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.families.mer_clip import MER_CLIP
from merclip_jax.weights.families.uniformer_v2 import UNIFORMER_V2
from merclip_jax.weights.match import to_flax

B16 = mer_clip.MerClipOptions(size="b16")


def whole_model(classes, **changes):
    options = dataclasses.replace(B16, **changes)
    return mer_clip.mer_clip(options, classes=classes, frames=16)


def shapes(model, clip_shape=(16, 224, 224, 3)):
    init = functools.partial(model.init, train=False)
    clip = jax.ShapeDtypeStruct((1, *clip_shape), jnp.float32)
    return jax.eval_shape(init, jax.random.key(0), clip)


def published(golden, name):
    """Official keys and arrays of their shapes, which take no memory."""
    arrays = {}
    for line in (golden / name).read_text().splitlines():
        key, shape, dtype = line.split("\t")
        arrays[key] = np.broadcast_to(np.zeros((), dtype), ast.literal_eval(shape))
    return arrays


def sizes(variables):
    return {path: leaf.size for path, leaf in flatten_dict(variables, sep="/").items()}


def millions(counts):
    return {part: round(count / 1e6, 2) for part, count in counts.items()}


@pytest.fixture(scope="module")
def whole():
    model = whole_model(7, learn_temperature=True)
    return shapes(model)


def part_of(path):
    """The spec's parts of UniFormerV2."""
    if "/lmhra" in path:
        return "local MHRA"
    if "dpe_" in path:
        return "DPE"
    for start, part in (
        ("block_", "local blocks"),
        ("global_", "global blocks"),
        ("classifier", "classifier"),
        ("norm", "norm"),
    ):
        if path.removeprefix("encoder/").startswith(start):
            return part
    return "stem"


def test_every_uniformer_key_has_its_place(golden):
    model = UniFormerV2Classifier(
        mer_clip.uniformer_v2(mer_clip.SIZES["b16"]), classes=174
    )
    expected = shapes(model)
    state = published(golden, "keys_uniformer_v2_b16.txt")
    assert len(state) == 547
    filled = to_flax(state, UNIFORMER_V2, expected)
    assert jax.tree.structure(filled) == jax.tree.structure(expected)

    params = sizes(expected["params"])
    assert sum(params.values()) == 162_992_814
    without = {k: v for k, v in params.items() if not k.startswith("classifier")}
    assert sum(without.values()) == 162_859_008
    counts = Counter()
    for path, size in params.items():
        counts[part_of(path)] += size
    assert counts["classifier"] + counts["norm"] == 174 * 769 + 2 * 768
    assert millions(counts) == {
        "local blocks": 85.05,
        "local MHRA": 18.99,
        "global blocks": 56.72,
        "DPE": 0.17,
        "stem": 1.92,
        "classifier": 0.13,
        "norm": 0.0,
    }


def test_every_merclip_key_has_its_place(golden, whole):
    state = published(golden, "keys_merclip_b16.txt")
    assert len(state) == 729
    video = {k: v for k, v in state.items() if not k.startswith("text_encoder.")}
    text = {k[13:]: v for k, v in state.items() if k.startswith("text_encoder.")}
    filled = to_flax(video, MER_CLIP, whole)
    assert jax.tree.structure(filled) == jax.tree.structure(whole)

    tower = mer_clip.clip_text(mer_clip.SIZES["b16"], vocabulary=49408, context=77)
    ids = jax.ShapeDtypeStruct((1, 77), jnp.int32)
    expected = jax.eval_shape(tower.init, jax.random.key(0), ids)
    filled = to_flax(text, CLIP_TEXT, expected)
    assert jax.tree.structure(filled) == jax.tree.structure(expected)
    assert round(sum(sizes(expected).values()) / 1e6, 2) == 63.43


def test_merclip_parameters_by_part(whole):
    params = sizes(whole["params"])
    assert sum(params.values()) == 169_685_505 + 271_367
    counts = Counter()
    for path, size in params.items():
        counts[path.split("/")[0]] += size
    assert counts["video_projection"] + counts["video_norm"] == 768 * 512 + 1024
    assert counts["head_projection"] + counts["head_norm"] == 768 * 512 + 1024
    assert counts["logit_scale"] == 1
    assert round(counts["head"] / 1e6, 2) == 6.31
    assert len(sizes(whole["batch_stats"])) == 48


def test_kinetics_has_no_local_mixers_and_four_global_blocks():
    structure = mer_clip.STRUCTURES["kinetics"]
    model = mer_clip.uniformer_v2(mer_clip.SIZES["b16"], structure)
    variables = shapes(model, (8, 224, 224, 3))
    assert "batch_stats" not in variables
    params = variables["params"]
    assert params["patch_embed"]["kernel"].shape == (1, 16, 16, 3, 768)
    assert model.global_layers == (8, 9, 10, 11)
    assert sum(name.startswith("global_") for name in params) == 4


def test_factorized_vit_is_clips_tower_and_four_temporal_blocks():
    """CLIP's image tower without its projection has 85,799,424 parameters."""
    model = whole_model(7, video="factorized_vit").encoder
    params = sizes(shapes(model)["params"])
    new = {k: v for k, v in params.items() if k.startswith(("temporal_", "norm"))}
    assert sum(params.values()) - sum(new.values()) == 85_799_424
    block = sum(v for k, v in params.items() if k.startswith("block_0/"))
    assert sum(new.values()) == 4 * block + 18 * 768 + 2 * 768


@pytest.mark.parametrize("video", mer_clip.ENCODERS)
def test_l14_is_a_size_of_its_own(video):
    model = whole_model(5, size="l14", video=video)
    out = jax.eval_shape(
        lambda clip: model.init_with_output(jax.random.key(0), clip, train=False)[0],
        jax.ShapeDtypeStruct((2, 16, 224, 224, 3), jnp.float32),
    )
    assert out.logits.shape == (2, 5)
    assert out.video.shape == (2, 768)
    encoder = shapes(model)["params"]["encoder"]
    assert encoder["positional_embedding"].shape == (257, 1024)
    assert encoder["block_23"]["mlp"]["c_fc"]["kernel"].shape == (1024, 4096)
