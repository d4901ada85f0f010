"""FDP is the released code's network, to every stored array, under x64.

The file stores float32: it is met to 1e-5 of an array's largest entry, what it stores
in float64 to 1e-9. Its weights are those of the released classes at a small width.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from merclip_jax.data.dynamic_image import dynamic_image
from merclip_jax.losses.classification import focal
from merclip_jax.losses.reconstruction import image_error
from merclip_jax.models.fdp import Fdp, FdpOptions, FdpSize, fdp
from merclip_jax.models.frame_network import GlobalBlock, PatchEmbed
from merclip_jax.models.rank_pooling import rank_weights
from merclip_jax.weights.export import to_torch
from merclip_jax.weights.families.fdp import FAMILY, FDP
from merclip_jax.weights.match import place, to_flax
from merclip_jax.weights.table import table


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def stored(golden):
    with np.load(golden / "fdp.npz") as data:
        return dict(data)


def wide(array):
    return jnp.asarray(np.asarray(array, np.float64))


def weights(stored, prefix):
    """The file's weights under a prefix, in float64."""
    own = {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
    return {k: np.asarray(v, np.float64) for k, v in own.items()}


def close(ours, theirs, tolerance=1e-5):
    ours, theirs = np.asarray(ours), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    error = np.abs(ours - theirs).max()
    assert error <= tolerance * np.abs(theirs).max(), error / np.abs(theirs).max()


@pytest.fixture(scope="module")
def model(stored):
    cfg = json.loads(str(stored["cfg"]))
    size = FdpSize(
        tuple(cfg["stem"]),
        tuple(cfg["stages"]),
        tuple(cfg["depths"]),
        (128, 256, 512, 1024),
        tuple(cfg["seg"].values()),
        cfg["fc"],
    )
    return Fdp(5, size, drop_path=0.0, dtype=jnp.float64)


def clips(array):
    """The released [b, 1, t, 1, h, w] as [b, t, h, w, 1]."""
    return wide(array)[:, 0].transpose(0, 1, 3, 4, 2)


@pytest.fixture(scope="module")
def variables(stored, model):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        x = clips(stored["eval/x"])
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
        return jax.tree.map(jnp.asarray, to_flax(weights(stored, "sd/"), FDP, shapes))


def nchw(array):
    return np.asarray(array).transpose(0, 3, 1, 2)


def test_answers_and_every_stage(stored, model, variables):
    answer = jax.jit(
        lambda x: model.apply(variables, x, train=False, mutable=["intermediates"])
    )
    out, kept = answer(clips(stored["eval/x"]))
    close(out.logits, stored["eval/logits"])
    close(out.image, stored["eval/di"])
    frames = kept["intermediates"]["frames"]
    names = {f"stage{i}": f"stage{i}" for i in range(4)} | {"stem": "stem"}
    for ours, theirs in (names | {"normed": "norm"}).items():
        # Moments first: the first two are frame 0 of both clips.
        close(nchw(frames[ours][0][:2]), stored[f"eval/frame0_{theirs}"])
    features = kept["intermediates"]["features"][0][:, 0]
    close(features[None], stored["eval/frame_feats_sample0"])
    dynamics = kept["intermediates"]["dynamics"][0][:1]
    close(nchw(dynamics)[..., None], stored["eval/conv3d_sample0"])


@pytest.fixture(scope="module")
def trained(stored, model, variables):
    """Outputs, losses, gradients and statistics of a step in train mode."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        target = wide(stored["train/dyimg_uint8"]) / 255
        labels = jnp.asarray(stored["train/labels"], jnp.int32)

        def loss(params):
            out, changed = model.apply(
                variables | {"params": params},
                clips(stored["train/x"]),
                train=True,
                mutable=["batch_stats"],
            )
            emotion = focal(out.logits, labels, gamma=0.0)
            image = 100 * image_error(out.image, target)
            return emotion + image, (out, changed, emotion, image)

        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        return step(variables["params"])


def test_a_training_steps_outputs_and_losses(stored, trained):
    (loss, (out, _, emotion, image)), _ = trained
    close(out.logits, stored["train/logits"], 5e-5)
    close(out.image, stored["train/di"], 5e-5)
    close(emotion, stored["train/loss_me"])
    close(image, 100 * stored["train/loss_dy"])  # stored without its factor
    close(loss, stored["train/loss"])


def test_gradients(stored, trained):
    _, grads = trained
    official = to_torch({f"params/{k}": v for k, v in flat(grads).items()}, FDP)
    names = [k for k in stored if k.startswith("train/grad/")]
    assert len(names) == 9
    for name in names:
        # Float32's own rounding, of 30 layers in train mode: in float64 every gradient
        # is met to 1e-9 (tests/weights_torch/test_fdp.py).
        close(official[name.removeprefix("train/grad/")], stored[name], 1e-3)


def test_running_statistics_move_eight_times(stored, trained):
    (_, (_, changed, _, _)), _ = trained
    moved = {f"batch_stats/{k}": v for k, v in flat(changed["batch_stats"]).items()}
    official = to_torch(moved, FDP)
    names = [k for k in stored if k.startswith("train/bn_after/")]
    assert len(names) == 6
    for name in names:
        close(official[name.removeprefix("train/bn_after/")], stored[name])


def flat(tree):
    return {k: np.asarray(v) for k, v in flatten_dict(tree, sep="/").items()}


def test_the_global_block(stored):
    block = GlobalBlock(features=128, stride=2, keys=2, dtype=jnp.float64)
    x = wide(stored["gfa/x"]).transpose(0, 2, 3, 1)
    rules = [
        (
            k.replace(r"frame_rep\.features\.(\d+)\.", ""),
            p.replace("frames/block_{0}/", ""),
            lay,
        )
        for k, p, lay in FDP
        if "features" in k
    ]
    shapes = jax.eval_shape(lambda: block.init(jax.random.key(0), x, None, train=False))
    state = jax.tree.map(
        jnp.asarray, to_flax(weights(stored, "gfa/sd/"), rules, shapes)
    )
    y = block.apply(state, x, None, train=False)
    close(nchw(y), stored["gfa/y"])


def test_an_odd_sides_patch_embedding(stored):
    module = PatchEmbed(features=5, stride=2, dtype=jnp.float64)
    x = wide(stored["pe_odd/x"]).transpose(0, 2, 3, 1)
    rules = [
        (
            k.replace(r"frame_rep\.features\.(\d+)\.patch_embed\.", ""),
            p.replace("frames/block_{0}/patch/", ""),
            lay,
        )
        for k, p, lay in FDP
        if r"patch_embed" in k
    ]
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    state = jax.tree.map(
        jnp.asarray, to_flax(weights(stored, "pe_odd/sd/"), rules, shapes)
    )
    close(nchw(module.apply(state, x, train=False)), stored["pe_odd/y"])


def test_dynamic_images(stored):
    frames = stored["dyn/frames"][..., 0]
    np.testing.assert_array_equal(rank_weights(8), stored["dyn/fw"])
    raw = np.tensordot(rank_weights(8), frames.astype(np.float64), 1)
    close(raw, stored["dyn/raw"], 1e-9)
    # 0..1 in float32, back to the 0..255 that clips are decoded to.
    ours = dynamic_image(frames.astype(np.float64) * 255)
    theirs = stored["dyn/uint8"].astype(int)
    off = np.abs(ours.astype(int) - theirs)
    # One level, at the brightest pixel: the last bit depends on the order of a sum.
    assert off.max() <= 1
    assert set(np.flatnonzero(off)) <= {int(theirs.argmax())}


def test_a_still_clip_has_a_black_image():
    still = np.broadcast_to(
        np.random.default_rng(0).integers(0, 256, (9, 9)), (8, 9, 9)
    )
    assert dynamic_image(still.astype(np.uint8)).max() == 0


def test_the_released_size():
    """85,304,206 parameters: frame network, emotion head and decoder as published."""
    x = jax.ShapeDtypeStruct((1, 8, 64, 64, 1), jnp.float32)
    whole = fdp(FdpOptions(), classes=5)
    shapes = jax.eval_shape(
        lambda x: whole.init(jax.random.key(0), x, train=False)["params"], x
    )
    sizes = {
        k: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(v))
        for k, v in shapes.items()
    }
    assert sizes["frames"] == 54_952_448
    assert sizes["decoder"] == 29_446_465
    head = sizes["scorer"] + sizes["hidden"] + sizes["classifier"]
    assert head == 905_293
    assert sum(sizes.values()) == 85_304_206


def test_weights_go_there_and_back_bit_by_bit(stored, model, variables):
    official = weights(stored, "sd/")
    placed = place(official, FDP)
    assert not placed.problems
    back = to_torch(placed.arrays, FDP)
    assert {k for k in back if "num_batches" not in k} == set(official)
    for key, array in official.items():
        np.testing.assert_array_equal(back[key], array)
    numbers = FAMILY.numbers(placed.arrays)
    assert (numbers["hidden"], numbers["depths"]) == (16, [2, 2, 2, 2])
    shapes = FAMILY.shapes(numbers)
    assert shapes == {k: v.shape for k, v in placed.arrays.items()}
    assert "frame blocks" in table(placed)
