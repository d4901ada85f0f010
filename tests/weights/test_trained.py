"""Weights that trainings of any recipe kept: read, started from, given back."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from merclip_jax.errors import UserError
from merclip_jax.weights import convert, export, load, provenance
from merclip_jax.weights.families import numbers
from merclip_jax.weights.options import InitOptions
from tests import mini
from tests.weights import made
from tests.weights.made import TINY

STATES = made.states()


def model(**options):
    return mini.model(
        TINY, classes=3, frames=4, temporal_layers=1, **{"head_blocks": 1} | options
    )


def start(model, **init):
    return load.load_start(model, (4, 48, 48, 3), InitOptions(**init))


def shapes(**options):
    return numbers.shapes_of(model(**options), 48, frames=4)


@pytest.fixture
def kept(tmp_path):
    """A folder as a training of a recipe keeps it."""

    def save(**options):
        arrays = made.fill(shapes(**options))
        arrays = {p: np.abs(a) + 0.1 for p, a in arrays.items()}
        return made.keep(tmp_path / "member", model(**options), arrays)

    return save


@pytest.mark.parametrize(
    "options",
    [
        {"video": "factorized_vit"},
        {"learn_bias": True, "learn_temperature": True},
        {"head_blocks": 0},
        {"structure": "kinetics"},
    ],
)
def test_every_recipe_starts_its_like(kept, tmp_path, options):
    source = kept(**options)
    assert not convert.convert([source]).problems
    begun = start(model(**options), merclip=source)
    assert begun.arrays.keys() == shapes(**options).keys()
    convert.write_folder(convert.convert([source]), tmp_path / "out")
    assert not convert.convert([str(tmp_path / "out")]).problems
    again = start(model(**options), merclip=str(tmp_path / "out"))
    assert again.arrays.keys() == begun.arrays.keys()
    assert "MER-CLIP trained here" in provenance.lineage_lines([again])[0]


def test_a_sigmoid_losss_bias_is_left_aside_elsewhere(kept, tmp_path):
    source = kept(learn_bias=True)
    begun = start(model(), merclip=source)
    assert begun.dropped == {"params/logit_bias": "this loss has no bias"}
    with pytest.raises(UserError, match="params/logit_bias: the official model has"):
        export.write_torch(source, tmp_path / "back.safetensors")


def test_the_other_encoder_is_told(kept, tmp_path):
    source = kept(video="factorized_vit")
    with pytest.raises(UserError, match="set config.model.video=factorized_vit"):
        start(model(), vision=source)
    with pytest.raises(UserError, match="its encoder is factorized_vit; the authors'"):
        export.write_torch(source, tmp_path / "back.safetensors")


def test_a_training_and_its_text_tower_go_back(kept, tmp_path):
    """--src=runs/x/weights/m --src=weights/clip, then --to=torch."""
    clip = made.save(tmp_path / "clip.safetensors", STATES["clip"])
    convert.write_folder(convert.convert([clip]), tmp_path / "clip")
    found = convert.convert([kept(head_blocks=2), str(tmp_path / "clip")])
    convert.write_folder(found, tmp_path / "whole")
    export.write_torch(str(tmp_path / "whole"), tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == made.mer_clip_shapes(classes=3).keys()
    ours = STATES["clip"]["ln_final.bias"]
    np.testing.assert_array_equal(back["text_encoder.ln_final.bias"], ours)


def test_the_card_says_that_the_text_tower_is_random(kept):
    source = kept()
    video = start(model(), merclip=source)
    assert provenance.lineage_lines([video])[1:] == [provenance.RANDOM_TEXT]
    assert provenance.lineage_lines([]) == [provenance.RANDOM]
    assert load.load_tower(TINY, merclip=source) is None
    assert load.load_tower(TINY) is None


def test_a_whole_mer_clip_brings_its_text_tower(tmp_path, golden):
    state = made.fill(made.mer_clip_shapes(vocabulary=49408), 5)
    source = made.save(tmp_path / "m.safetensors", state)
    with pytest.raises(UserError, match="no tokenizer of 49408 ids.*config.init.text"):
        load.load_tower(TINY, merclip=source)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_text((golden / "tokenizer" / name).read_text())
    text = load.load_tower(TINY, merclip=source)
    given = state["text_encoder.ln_final.bias"]
    _, variables = load.text_tower(text, TINY)
    np.testing.assert_array_equal(variables["params"]["ln_final"]["bias"], given)
    video, words = provenance.lineage_lines(
        [
            start(model(head_blocks=2), vision=source),
            text,
        ]
    )
    assert video.startswith("video: MER-CLIP in") and words.startswith("text: MER-CLIP")
    known = provenance.identity([text])["init.tokenizer_sha256"]
    assert known == text.tokenizer.sha256
    other = made.save(tmp_path / "c.safetensors", made.fill(made.clip_shapes(), 1))
    with pytest.raises(UserError, match="c.safetensors: no tokenizer of 100 ids"):
        load.load_tower(TINY, text=other, merclip=source)
