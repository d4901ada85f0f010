"""Under x64 the models meet every float64 truth, gradients included, to 1e-10.

What the files store in float32 is met to 1e-7. Scale: the largest entry of an array.
Promotion is jax's standard one: under the strict one flax's LayerNorm refuses float64.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from merclip_jax.losses import contrastive
from merclip_jax.losses import mer_clip as mer_clip_loss
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.emotion_head import HeadBlock
from merclip_jax.models.mer_clip import MerClip
from merclip_jax.models.uniformer_v2 import UniFormerV2Classifier
from merclip_jax.weights.families import rules
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.families.mer_clip import MER_CLIP
from merclip_jax.weights.families.uniformer_v2 import UNIFORMER_V2
from tests.models.test_goldens import encoder, lnc, load, nlc, params_of, volume

EPOCHS = (0, 1, 20, 40, 54, 60)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def close(ours, theirs):
    theirs = np.asarray(theirs)
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float64
    stored = theirs.dtype
    tolerance = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-7}[stored]
    error = np.abs(ours - theirs.astype(np.float64)).max()
    assert error <= tolerance * np.abs(theirs).max()


def wide(array):
    return jnp.asarray(np.asarray(array, np.float64))


def doubled(model, inputs, state, table):
    """Official weights, cast up, as variables."""
    state = {
        key: np.asarray(value, np.float64)
        for key, value in state.items()
        if not rules.IGNORED.fullmatch(key)
    }
    return load(model, inputs, state, table)


def wide_encoder():
    return encoder(global_mlp_dropout=0.0, dtype=jnp.float64)


def ours_under(key, tree, table):
    """Our leaf for an official key, in the official layout."""
    flat = flatten_dict(tree, sep="/")
    for pattern, path, layout in table:
        if match := re.fullmatch(pattern, key):
            path = path.format(*match.groups()).removeprefix("params/")
            return layout.to_torch(np.asarray(flat[path]))
    raise AssertionError(f"no rule for {key}")


@pytest.fixture(scope="module")
def uniformer(golden):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        data = np.load(golden / "uniformer_v2_a.npz")
        model = UniFormerV2Classifier(wide_encoder(), classes=7, dropout=0.0)
        clip = wide(volume(data["input"]))
        table = UNIFORMER_V2
        variables = doubled(model, [clip], params_of(data), table)
        yield data, model, variables, clip


def test_uniformer_forward(uniformer):
    data, model, variables, clip = uniformer
    logits, state = model.apply(variables, clip, train=False, mutable=["intermediates"])
    inner, b = state["intermediates"]["encoder"], len(clip)
    close(inner["after_patch_embed"][0], volume(data["f64/patch_embed"]))
    close(inner["after_ln_pre"][0], nlc(data["f64/ln_pre"], b))
    for i in range(4):
        close(inner[f"after_block_{i}"][0], lnc(data[f"f64/resblock_{i}"], b))
    for j in range(2):
        close(inner[f"global_{j}"]["dpe"][0], volume(data[f"f64/dpe_{j}"]))
        close(inner[f"after_global_{j}"][0][:, 0], data[f"f64/dec_{j}"][0])
    last = inner["after_block_3"][0]
    close(last, lnc(data["f64/last_tokens"], b))
    close(last[:, :, 0], data["f64/F_C_per_frame"])
    close(last[:, :, 0].mean(1), data["f64/F_C"])
    close(last[:, :, 1:].reshape(b, -1, 64), data["f64/F_V"])
    close(inner["after_global_1"][0][:, 0], data["f64/F_G"])
    close(inner["fused"][0], data["f64/fused"])
    close(
        model.encoder.apply(
            {k: v["encoder"] for k, v in variables.items()}, clip, train=False
        ).pooled,
        data["f64/proj_ln"],
    )
    close(jax.nn.sigmoid(variables["params"]["encoder"]["balance"]), data["f64/alpha"])
    close(logits, data["f64/logits"])


def test_uniformer_train_mode(uniformer):
    data, model, variables, clip = uniformer
    logits, state = model.apply(variables, clip, train=True, mutable=["batch_stats"])
    close(logits, data["train/logits"])
    table = UNIFORMER_V2
    buffers = [k for k in data.files if k.startswith("train/buffer/")]
    seen = 0
    for key in buffers:
        name = key.removeprefix("train/buffer/")
        if not rules.IGNORED.fullmatch(name):
            close(ours_under(name, state, table), data[key])
            seen += 1
    assert seen == 16


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_uniformer_gradients(uniformer, mode):
    """The norm of every parameter's gradient; small ones and the input's, whole."""
    data, model, variables, clip = uniformer
    cotangent = wide(data["grad/cotangent"])

    def total(params, clip):
        logits, _ = model.apply(
            variables | {"params": params},
            clip,
            train=mode == "train",
            mutable=["batch_stats"],
        )
        return (logits * cotangent).sum()

    grads, by_input = jax.jit(jax.grad(total, (0, 1)))(variables["params"], clip)
    table = UNIFORMER_V2
    prefix = f"grad/{mode}/"
    names = data[prefix + "names"]
    assert len(names) == len(jax.tree.leaves(grads)) == 155
    ours = [np.linalg.norm(ours_under(str(name), grads, table)) for name in names]
    np.testing.assert_allclose(ours, data[prefix + "norms"], rtol=1e-10)
    whole = [k for k in data.files if k.startswith(prefix + "full/")]
    assert len(whole) == 52
    for key in whole:
        close(ours_under(key.removeprefix(prefix + "full/"), grads, table), data[key])
    close(by_input[:1, :2], volume(data[prefix + "input"]))


@pytest.fixture(scope="module")
def merclip(golden):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        data = np.load(golden / "merclip_tiny.npz")
        model = MerClip(
            wide_encoder(),
            classes=7,
            embed=32,
            learn_temperature=True,
            head_dropout=0.0,
            dtype=jnp.float64,
        )
        clip = wide(volume(data["in/clip_BNCTHW"][:, 0]))
        state = params_of(data)
        video = {k: v for k, v in state.items() if not k.startswith("text_encoder.")}
        text = {k[13:]: v for k, v in state.items() if k.startswith("text_encoder.")}
        variables = doubled(model, [clip], video, MER_CLIP)
        tower = ClipText(
            vocabulary=64,
            context=20,
            width=32,
            layers=2,
            heads=4,
            out=32,
            dtype=jnp.float64,
        )
        ids = jnp.asarray(data["in/prompt_ids"].astype(np.int32))
        towers = doubled(tower, [ids], text, CLIP_TEXT)
        table, state = tower.apply(towers, ids, mutable=["intermediates"])
        rows = data["in/template_choice"] * int(data["in/num_au_sets"])
        rows = rows + data["in/au_labels"]
        before = state["intermediates"]["before_ln_final"][0]
        yield data, model, variables, clip, table, rows, before


def objective(merclip, params, epoch, *, training):
    """The step's own loss on the golden's batch, from parameters on."""
    data, model, variables, clip, table, rows, _ = merclip
    out, state = model.apply(
        variables | {"params": params},
        clip,
        train=training,
        mutable=["batch_stats", "intermediates"],
    )
    loss, parts = mer_clip_loss.objective(
        mer_clip_loss.LossOptions(),
        out,
        text=table[rows],
        overlap=jnp.eye(len(clip)),
        described=jnp.ones(len(clip), bool),
        labels=jnp.asarray(data["in/labels"].astype(np.int32)),
        epoch=jnp.asarray(epoch),
        epochs=55,
    )
    return loss, (out, parts, state)


def test_merclip_forward(merclip):
    data, model, variables, clip, *_ = merclip
    out, state = model.apply(variables, clip, train=False, mutable=["intermediates"])
    inner, b = state["intermediates"], len(clip)
    video, prefix = inner["encoder"], "f64/eval/"
    close(video["after_patch_embed"][0], volume(data[prefix + "stem_conv_BCTHW"]))
    close(video["after_ln_pre"][0], nlc(data[prefix + "after_ln_pre_NT_L_C"], b))
    for i in range(4):
        theirs = lnc(data[f"{prefix}resblock{i}_L_NT_C"], b)
        close(video[f"after_block_{i}"][0], theirs)
    for j in range(2):
        close(video[f"after_global_{j}"][0][:, 0], data[f"{prefix}dec{j}_1_N_C"][0])
    close(inner["pooled"][0], data[prefix + "pooled_feature_before_projection"])
    close(inner["tokens"][0], data[prefix + "tokens_before_projection"])
    close(out.video, data[prefix + "video_feature_after_projection"])
    close(inner["head_tokens"][0], data[prefix + "tokens_to_head"])
    block_0, block_1 = (data[f"{prefix}head_block{i}_B_N_C"] for i in range(2))
    close(inner["head"]["after_block_0"][0], block_0)
    close(inner["head"]["after_block_1"][0], block_1[:, :1])
    every = HeadBlock(4, dtype=jnp.float64).apply(
        {"params": variables["params"]["head"]["block_1"]},
        inner["head"]["after_block_0"][0],
        queries=37,
        train=False,
    )
    close(every, block_1)
    close(out.logits, data[prefix + "logits"])
    close(jax.nn.softmax(out.logits), data[prefix + "predict_scores"])
    similarity = out.scale * contrastive.similarity(out.video, merclip[4][merclip[5]])
    close(similarity, data[prefix + "similarity_logits"])


def test_merclip_text(merclip):
    data, _, _, _, table, rows, before = merclip
    close(table, data["f64/eval/text_features_all_prompts"])
    close(table[rows], data["f64/eval/text_features"])
    theirs = data["f64/eval/text_before_ln_final_LND"]
    close(before[rows].swapaxes(0, 1), theirs)


@pytest.mark.parametrize("epoch", EPOCHS)
def test_merclip_losses(merclip, epoch):
    data, _, variables, *_ = merclip
    assert tuple(data["in/epochs"]) == EPOCHS
    loss, (_, parts, _) = objective(merclip, variables["params"], epoch, training=False)
    theirs = {
        name: float(data[f"f64/eval/epoch{epoch}/{name}"])
        for name in (
            "sim_loss_v2t",
            "sim_loss_t2v",
            "loss_cls",
            "sim_loss_weight",
            "loss_cls_weight",
            "total_for_grad",
            "total_logged",
        )
    }
    aligned = parts["weight/contrastive"] * parts["loss/contrastive"]
    emotion = parts["weight/classification"] * parts["loss/classification"]
    for ours, wanted in (
        (parts["weight/contrastive"], theirs["sim_loss_weight"]),
        (parts["weight/classification"], theirs["loss_cls_weight"]),
        (aligned, theirs["sim_loss_v2t"] + theirs["sim_loss_t2v"]),
        (emotion, theirs["loss_cls"]),
        (loss, theirs["total_for_grad"]),
        (loss + 2, theirs["total_logged"]),
    ):
        # The weights were logged in float32.
        stored = 1e-7 if np.float32(wanted) == wanted else 1e-10
        assert abs(float(ours) - wanted) <= stored * max(abs(wanted), 1)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_merclip_gradients(merclip, mode):
    data, _, variables, *_ = merclip
    training = mode == "train"
    # Compiled: three times as fast as tracing operation by operation.
    run = jax.jit(
        lambda params: jax.grad(objective, 1, has_aux=True)(
            merclip, params, 20, training=training
        )
    )
    grads, (out, parts, state) = run(variables["params"])
    prefix = f"f64/{mode}_grad_epoch20/"
    stored = [k for k in data.files if k.startswith(prefix)]
    assert len(stored) == (23 if training else 24)
    for key in stored:
        ours = ours_under(key.removeprefix(prefix), grads, MER_CLIP)
        close(ours, data[key])
    if not training:
        return
    close(out.logits, data["f64/train/logits"])
    close(out.video, data["f64/train/video_feature_after_projection"])
    close(state["intermediates"]["head_tokens"][0], data["f64/train/tokens_to_head"])
    similarity = out.scale * contrastive.similarity(out.video, merclip[4][merclip[5]])
    ways = contrastive.contrastive(similarity)
    for loss, way in zip(ways, ("v2t", "t2v"), strict=True):
        ours = float(parts["weight/contrastive"] * loss / 2)
        assert abs(ours - float(data[f"f64/train/epoch20/sim_loss_{way}"])) <= 1e-10
    prefix = "f64/train/buffer_after_one_step/"
    buffers = [k for k in data.files if k.startswith(prefix)]
    names = [k.removeprefix(prefix) for k in buffers]
    names = [name for name in names if not rules.IGNORED.fullmatch(name)]
    assert len(names) == 16
    for name in names:
        stats = {"batch_stats": state["batch_stats"]}
        close(ours_under(name, stats, MER_CLIP), data[prefix + name])
