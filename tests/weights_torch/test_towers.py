"""Hugging Face's CLIP and ours compute the same at the full size of B/16."""

import dataclasses
import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from transformers import CLIPConfig, CLIPModel

from merclip_jax.models import mer_clip
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.factorized_vit import FactorizedViT
from merclip_jax.models.uniformer_v2 import UniFormerV2Classifier
from merclip_jax.systems.micro_au_clip import MicroAuClip
from merclip_jax.weights import convert, fitting, load
from merclip_jax.weights.families import numbers
from merclip_jax.weights.options import InitOptions
from merclip_jax.weights.sources import open_source
from tests import mini
from tests.weights_torch.torch_mer_clip import Kinetics

SIZE = mer_clip.SIZES["b16"]


@pytest.fixture(scope="module")
def theirs():
    """A CLIPModel of B/16 with random weights, no bias left at zero."""
    torch.manual_seed(0)
    vision = {"patch_size": 16, "projection_dim": 512}
    model = CLIPModel(CLIPConfig(vision_config=vision, projection_dim=512)).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                value.normal_(0, 0.1)
            elif "norm" in name or "layrnorm" in name:
                value.normal_(1, 0.1)
    return model


@pytest.fixture(scope="module", params=["safetensors", "bin"])
def folder(theirs, request, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    theirs.config.save_pretrained(path)
    if request.param == "bin":
        torch.save(theirs.state_dict(), path / "pytorch_model.bin")
    else:
        theirs.save_pretrained(path)
    return path


def close(ours, theirs):
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * scale)


def variables(arrays):
    return unflatten_dict({path: jnp.asarray(a) for path, a in arrays.items()}, sep="/")


def test_text_tower(theirs, folder):
    ids = np.zeros((3, 77), np.int32)
    draw = np.random.default_rng(0)
    for row, length in zip(ids, (3, 30, 77), strict=True):
        row[:length] = [49406, *draw.integers(1, 49405, length - 2), 49407]
    with torch.no_grad():
        features = theirs.get_text_features(torch.tensor(ids).long())
        features = getattr(features, "pooler_output", features).numpy()
    opened = open_source(str(folder))
    fitted = fitting.fit_text(opened.parts["text"])
    assert not fitted.problems
    tower = ClipText(49408, 77, 512, 12, 8, 512)
    close(jax.jit(tower.apply)(variables(fitted.arrays), jnp.asarray(ids)), features)


def test_image_tower_in_the_factorised_encoder(theirs, folder):
    """A clip of two frames: tokens of the last block and the class after its norm."""
    clip = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        out = theirs.vision_model(torch.tensor(clip.transpose(0, 3, 1, 2)))
    encoder = FactorizedViT(768, 12, 12, 16, frames=2, temporal_layers=0)
    found = convert.convert([str(folder)], into="factorized_vit")
    assert not found.problems
    arrays = {
        path.replace("/encoder", "", 1): array
        for path, array in found.parts["video"].arrays.items()
    }
    params = variables(arrays)["params"]
    params["norm"] = {"scale": jnp.ones(768), "bias": jnp.zeros(768)}
    params["temporal_class_embedding"] = jnp.zeros(768)
    params["temporal_embedding"] = jnp.zeros((3, 768))
    run = functools.partial(encoder.apply, train=False, mutable=["intermediates"])
    features, state = jax.jit(run)({"params": params}, jnp.asarray(clip[None]))
    close(features.patches.reshape(2, 196, 768), out.last_hidden_state[:, 1:].numpy())
    close(state["intermediates"]["frames"][0][0], out.pooler_output.numpy())


def test_image_tower_in_uniformer(theirs, folder):
    """At the start UniFormerV2 is CLIP's tower on every second frame."""
    frames = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        out = theirs.vision_model(torch.tensor(frames.transpose(0, 3, 1, 2)))
    clip = np.zeros((1, 4, 224, 224, 3), np.float32)
    clip[0, ::2] = frames
    clip[0, 1::2] = 9.0  # the zero taps see the odd frames
    encoder = mer_clip.uniformer_v2(SIZE)
    model = mini.model(SIZE, classes=3)
    found = load.load_start(model, (4, 224, 224, 3), InitOptions(vision=str(folder)))
    shape = jax.ShapeDtypeStruct(clip.shape, jnp.float32)
    init = functools.partial(encoder.init, jax.random.key(0), train=False)
    flat = flatten_dict(jax.eval_shape(init, shape), sep="/")
    zeros = {p: jnp.zeros(s.shape) for p, s in flat.items()}
    zeros |= {p: jnp.ones_like(z) for p, z in zeros.items() if p.endswith("bn/var")}
    given = {p.replace("/encoder", "", 1): a for p, a in found.arrays.items()}
    assert given.keys() <= zeros.keys()
    run = jax.jit(functools.partial(encoder.apply, train=False))
    features = run(variables(zeros | given), jnp.asarray(clip))
    close(features.patches.reshape(2, 196, 768), out.last_hidden_state[:, 1:].numpy())


def test_all_tokens_of_the_detectors_tower(theirs, folder):
    """After the last norm, and the class token's through CLIP's image projection."""
    pictures = np.random.default_rng(3).normal(size=(2, 224, 224, 3))
    pictures = pictures.astype(np.float32)
    given = torch.tensor(pictures.transpose(0, 3, 1, 2))
    with torch.no_grad():
        out = theirs.vision_model(given)
        tokens = theirs.vision_model.post_layernorm(out.last_hidden_state).numpy()
        features = theirs.get_image_features(given)
        features = getattr(features, "pooler_output", features).numpy()
    system = MicroAuClip()
    found = load.load_clip(str(folder), numbers.by_path(system.shapes()))
    assert not [path for path in found.initialised if "/encoder/" in path]
    params = variables(found.arrays)["params"]
    tower = dataclasses.replace(system.module.encoder, dtype=jnp.float32)
    run = jax.jit(functools.partial(tower.apply, train=False))
    ours = run({"params": params["encoder"]}, jnp.asarray(pictures))
    assert ours.shape == (2, 197, 768)
    close(ours, tokens)
    np.testing.assert_allclose(ours, tokens, atol=1e-3)
    close(ours[:, 0] @ params["image_projection"], features)


def test_kinetics(tmp_path):
    """Patches of 14 pixels, more blocks than global ones, a classifier."""
    size = mer_clip.Size(128, 6, 2, 14, (), 64, 64, 2, 1)
    torch.manual_seed(0)
    theirs = Kinetics(size, 3, 10).eval()
    with torch.no_grad():
        for value in theirs.parameters():
            value.normal_(0, 0.3 if value.ndim < 2 else value[0].numel() ** -0.5)
    names = theirs.state_dict()
    state = {k: v for k, v in names.items() if not k.startswith("transformer.norm")}
    torch.save({"model_state": state}, tmp_path / "k400.pyth")
    clip = np.random.default_rng(0).normal(size=(2, 3, 42, 42, 3)).astype(np.float32)
    with torch.no_grad():
        logits = theirs(torch.tensor(clip.transpose(0, 4, 1, 2, 3))).numpy()
    found = convert.convert([str(tmp_path / "k400.pyth")])
    assert not found.problems
    assert found.modules["video"]["structure"] == "kinetics"
    encoder = mer_clip.uniformer_v2(size, mer_clip.STRUCTURES["kinetics"])
    model = UniFormerV2Classifier(encoder, 10)
    run = jax.jit(functools.partial(model.apply, train=False))
    close(run(variables(found.parts["video"].arrays), jnp.asarray(clip)), logits)


def test_two_layers_of_l14(tmp_path, golden):
    """Widths, heads and patches of L/14; both towers by way of a training's start."""
    size = dataclasses.replace(mer_clip.SIZES["l14"], layers=2, text_layers=2)
    torch.manual_seed(1)
    vision = {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_hidden_layers": 2,
        "num_attention_heads": size.heads,
        "patch_size": 14,
    }
    text = {
        "hidden_size": size.text_width,
        "intermediate_size": 4 * size.text_width,
        "num_hidden_layers": 2,
        "num_attention_heads": size.text_heads,
    }
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=768)
    theirs = CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(golden / "tokenizer" / name, tmp_path)
    loaded = load.load_text(str(tmp_path), size)
    ids = np.zeros((1, 77), np.int32)
    ids[0, :4] = [49406, 320, 518, 49407]
    frames = np.random.default_rng(2).normal(size=(1, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        features = theirs.get_text_features(torch.tensor(ids).long())
        features = getattr(features, "pooler_output", features).numpy()
        out = theirs.vision_model(torch.tensor(frames.transpose(0, 3, 1, 2)))
    tower, words = load.text_tower(loaded, size)
    close(jax.jit(tower.apply)(words, jnp.asarray(ids)), features)
    model = mini.model(size, classes=3, video="factorized_vit", frames=1)
    shapes = numbers.shapes_of(model, 224)
    found = load.load_vision(str(tmp_path), shapes)
    encoder = model.encoder
    zeros = {p: jnp.zeros(s) for p, s in shapes.items() if "/encoder/" in p}
    arrays = {
        p.replace("/encoder", "", 1): a for p, a in (zeros | found.arrays).items()
    }
    run = jax.jit(functools.partial(encoder.apply, train=False))
    patches = run(variables(arrays), jnp.asarray(frames[None])).patches
    close(patches.reshape(1, 256, 1024), out.last_hidden_state[:, 1:].numpy())
