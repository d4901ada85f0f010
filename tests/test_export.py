"""Exported models say what the model here says, for any number of clips."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import export
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.models.attention import attend
from merclip_jax.models.depthwise import depthwise_conv
from merclip_jax.models.portable import without_kernels
from tests.video import made


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return made.model(tmp_path_factory.mktemp("model"))


def test_the_file_is_the_model_for_any_number_of_clips(model, tmp_path):
    said = export.write(model, tmp_path)
    assert "cpu, cuda, tpu" in said[0]
    loaded = jax.export.deserialize(bytearray((tmp_path / export.FILE).read_bytes()))
    assert loaded.platforms == export.PLATFORMS
    rng = np.random.default_rng(1)
    for clips in (1, 5):
        frames = rng.integers(0, 256, (clips, *made.VIEW.shape), dtype=np.uint8)
        given = {"frames": jnp.asarray(frames)}
        found, expected = loaded.call(given), export.live(model)(given)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
    told = json.loads((tmp_path / export.INPUTS).read_text())
    assert told["inputs"]["frames"]["shape"] == ["clips", *made.VIEW.shape]
    assert told["outputs"]["logits"]["shape"] == ["clips", 4]
    assert told["classes"] == list(made.CLASSES)


def test_one_that_says_something_else_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(
        export, "live", lambda model: lambda given: {"logits": jnp.full((3, 4), 9.0)}
    )
    with pytest.raises(UserError, match="differs by"):
        export.write(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_kernels_all_platforms_share_one_file():
    """At widths for which there are kernels, which a CPU cannot even trace."""
    x = jax.ShapeDtypeStruct((1, 4, 8, 8, 128), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 3, 128), jnp.float32)
    tokens = jax.ShapeDtypeStruct((2, 64, 128), jnp.float32)

    def both(x, kernel, tokens):
        with without_kernels():
            return depthwise_conv(x, kernel), attend(tokens, tokens, tokens, heads=2)

    made = jax.export.export(jax.jit(both), platforms=export.PLATFORMS)
    assert made(x, kernel, tokens).platforms == export.PLATFORMS


def test_the_command_says_what_it_lacks(tmp_path, capsys):
    assert export.main([str(tmp_path)]) == 1
    assert "no model to use" in capsys.readouterr().err


def test_a_view_of_key_frames_is_described(tmp_path):
    model = made.model(tmp_path, view=View(frames=8, image_size=32))
    given = export.example(model)
    told = export.describe(model, given, {})
    assert told["frames"]["sampling"] == "keyframes"
    assert told["frames"]["window_seconds"] is None
