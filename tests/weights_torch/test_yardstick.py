"""The torch model that benchmarks compare with has the work of ours to do."""

import functools

import jax
import jax.numpy as jnp

from benchmarks.torch_encoder import MerClip
from merclip_jax.models import mer_clip
from tests import mini


def test_the_yardstick_has_our_matrices():
    model = mini.model(mer_clip.SIZES["b16"], classes=7)
    clip = jax.ShapeDtypeStruct((1, 16, 224, 224, 3), jnp.float32)
    init = functools.partial(model.init, train=False)
    params = jax.eval_shape(init, jax.random.key(0), clip)["params"]
    ours = [x.size for x in jax.tree.leaves(params) if x.ndim > 1]
    theirs = [p.numel() for p in MerClip().parameters() if p.ndim > 1 and len(p) > 1]
    assert sorted(ours) == sorted(theirs)
