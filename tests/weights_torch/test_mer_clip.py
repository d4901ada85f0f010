"""A whole MER-CLIP of B/16 in plain torch.nn: there, the same numbers, and back."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax.traverse_util import unflatten_dict
from safetensors.torch import load_file

from merclip_jax.models import mer_clip
from merclip_jax.weights import export, load
from merclip_jax.weights.families import numbers
from tests import mini
from tests.weights_torch.test_towers import close
from tests.weights_torch.torch_mer_clip import MerClip

ROOT = Path(__file__).parents[2]
MEASURED = """
import runpy
try:
    runpy.run_module("merclip_jax.convert", run_name="__main__", alter_sys=True)
finally:
    print(open("/proc/self/status").read())
"""
SIZE = mer_clip.SIZES["b16"]
FRAMES = 4


@pytest.fixture(scope="module")
def theirs():
    """Random weights, none at an initial zero or one."""
    torch.manual_seed(0)
    model = MerClip(SIZE, 7).eval()
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and value.ndim < 2:
                start = 1.0 if name.endswith("weight") else 0.0
                value.normal_(start, 0.1)
            elif value.is_floating_point():
                value.normal_(0, 0.5 * value[0].numel() ** -0.5)
    return model


@pytest.fixture(scope="module")
def file(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("mer_clip") / "epoch_50.pth"
    torch.save({"meta": {}, "state_dict": theirs.state_dict()}, path)
    return path


def test_names_are_the_published_ones(theirs, golden):
    lines = (golden / "keys_merclip_b16.txt").read_text().splitlines()
    listed = {
        k: ast.literal_eval(s) for k, s, _ in (line.split("\t") for line in lines)
    }
    assert {k: tuple(v.shape) for k, v in theirs.state_dict().items()} == listed


def test_outputs(theirs, file, golden):
    clip = np.random.default_rng(0).normal(size=(1, FRAMES, 224, 224, 3))
    clip = clip.astype(np.float32)
    with torch.no_grad():
        video, logits = theirs(torch.tensor(clip.transpose(0, 4, 1, 2, 3)))
    model = mini.model(SIZE, classes=7, learn_temperature=True)
    shapes = numbers.shapes_of(model, 224, frames=FRAMES)
    found = load.load_merclip(str(file), shapes)
    assert found.arrays.keys() == shapes.keys()
    variables = unflatten_dict(
        {p: jnp.asarray(a) for p, a in found.arrays.items()}, sep="/"
    )
    run = jax.jit(functools.partial(model.apply, train=False))
    out = run(variables, jnp.asarray(clip))
    close(out.video, video.numpy())
    close(out.logits, logits.numpy())
    ids = np.zeros((2, 77), np.int32)
    ids[0, :3], ids[1, :5] = [49406, 320, 49407], [49406, 1, 2, 3, 49407]
    with torch.no_grad():
        features = theirs.text_encoder(torch.tensor(ids).long()).numpy()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(golden / "tokenizer" / name, file.parent)
    text = load.load_tower(SIZE, merclip=str(file))
    tower, words = load.text_tower(text, SIZE)
    close(jax.jit(tower.apply)(words, jnp.asarray(ids)), features)


def test_what_goes_back_loads_with_strict_names(theirs, file, tmp_path):
    export.write_torch(str(file), tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    model = MerClip(SIZE, 7)
    model.load_state_dict(back, strict=True)
    for key, value in theirs.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(model.state_dict()[key], value), key


def test_seconds_and_memory(file, tmp_path):
    """Under a minute and 3 GB for 170 M + 63 M parameters."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, f"--src={file}", f"--dst={tmp_path / 'out'}"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 60
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert int(peak[1]) * 1024 < 3e9
