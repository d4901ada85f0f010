"""Models agree with the official classes on every stored intermediate."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from merclip_jax.losses import contrastive
from merclip_jax.losses.classification import focal
from merclip_jax.losses.progression import progressive_weights
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.emotion_head import HeadBlock
from merclip_jax.models.mer_clip import MerClip
from merclip_jax.models.uniformer_v2 import UniFormerV2, UniFormerV2Classifier
from merclip_jax.weights.families import rules
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.families.mer_clip import MER_CLIP
from merclip_jax.weights.families.uniformer_v2 import UNIFORMER_V2
from merclip_jax.weights.match import to_flax
from merclip_jax.weights.problems import ConversionError


def paper_weights(epoch):
    return progressive_weights(
        epoch, epochs=55, start=2.0, floor=1.0, total=2.0, decay="linear"
    )


def params_of(golden):
    return {k[6:]: golden[k] for k in golden.files if k.startswith("param/")}


def load(model, inputs, state, table):
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), *inputs, **train(model))
    )
    return jax.tree.map(jnp.asarray, to_flax(state, table, shapes))


def train(model):
    return {} if isinstance(model, ClipText) else {"train": False}


def close(ours, theirs, rtol=1e-5):
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * scale)


def lnc(x, b):  # official (L, N*T, C) -> ours (N, T, L, C)
    n, bt, c = x.shape
    return x.transpose(1, 0, 2).reshape(b, bt // b, n, c)


def nlc(x, b):  # official (N*T, L, C) -> ours
    return x.reshape(b, len(x) // b, *x.shape[1:])


def volume(x):  # official (N, C, T, H, W) -> (N, T, H, W, C)
    return x.transpose(0, 2, 3, 4, 1)


def encoder(**options):
    return UniFormerV2(
        width=64,
        layers=4,
        heads=2,
        patch_size=16,
        global_layers=(2, 3),
        global_heads=2,
        **options,
    )


@pytest.fixture(scope="module")
def uniformer(golden):
    data = np.load(golden / "uniformer_v2_a.npz")
    assert json.loads(str(data["config_json"]))["return_list"] == [2, 3]
    model = UniFormerV2Classifier(encoder(), classes=7)
    clip = jnp.asarray(volume(data["input"]))
    variables = load(model, [clip], params_of(data), UNIFORMER_V2)
    logits, state = model.apply(variables, clip, train=False, mutable=["intermediates"])
    return data, model, variables, clip, logits, state["intermediates"]["encoder"]


def test_uniformer_intermediates(uniformer):
    data, _, variables, clip, logits, inner = uniformer
    b = len(clip)
    close(inner["after_patch_embed"][0], volume(data["f64/patch_embed"]))
    close(inner["after_ln_pre"][0], nlc(data["f64/ln_pre"], b))
    for i in range(4):
        close(inner[f"after_block_{i}"][0], lnc(data[f"f64/resblock_{i}"], b))
    for j in range(2):
        close(inner[f"global_{j}"]["dpe"][0], volume(data[f"f64/dpe_{j}"]))
        close(inner[f"after_global_{j}"][0][:, 0], data[f"f64/dec_{j}"][0])
    for kind in ("f32", "f64"):
        last = inner["after_block_3"][0]
        close(last, lnc(data[f"{kind}/last_tokens"], b))
        close(last[:, :, 0].mean(1), data[f"{kind}/F_C"])
        close(inner["after_global_1"][0][:, 0], data[f"{kind}/F_G"])
        close(inner["fused"][0], data[f"{kind}/fused"])
        close(logits, data[f"{kind}/logits"])
    close(last[:, :, 0], data["f64/F_C_per_frame"])
    close(last[:, :, 1:].reshape(b, -1, 64), data["f64/F_V"])
    close(jax.nn.sigmoid(variables["params"]["encoder"]["balance"]), data["f64/alpha"])


def test_uniformer_train_mode(uniformer):
    data, model, variables, clip, _, _ = uniformer
    model = model.clone(
        dropout=0.0, encoder=model.encoder.clone(global_mlp_dropout=0.0)
    )
    logits, state = model.apply(variables, clip, train=True, mutable=["batch_stats"])
    close(logits, data["train/logits"])
    ours = flatten_dict(state["batch_stats"], sep="/")
    table = [r for r in UNIFORMER_V2 if r[1].startswith("batch_stats")]
    theirs = {k[13:]: data[k] for k in data.files if k.startswith("train/buffer/")}
    theirs = flatten_dict(
        to_flax(theirs, table, {"batch_stats": state["batch_stats"]}), sep="/"
    )
    assert len(theirs) == 16
    for path, value in theirs.items():
        close(ours[path.removeprefix("batch_stats/")], value)


@pytest.fixture(scope="module")
def merclip(golden):
    data = np.load(golden / "merclip_tiny.npz")
    model = MerClip(encoder(), classes=7, embed=32, learn_temperature=True)
    clip = jnp.asarray(volume(data["in/clip_BNCTHW"][:, 0]))
    state = params_of(data)
    video = {k: v for k, v in state.items() if not k.startswith("text_encoder.")}
    text = {k[13:]: v for k, v in state.items() if k.startswith("text_encoder.")}
    variables = load(model, [clip], video, MER_CLIP)
    tower = ClipText(vocabulary=64, context=20, width=32, layers=2, heads=4, out=32)
    ids = jnp.asarray(data["in/prompt_ids"].astype(np.int32))
    text_variables = load(tower, [ids], text, CLIP_TEXT)
    return data, model, variables, clip, tower, text_variables, ids


def test_merclip_intermediates(merclip):
    data, model, variables, clip, *_ = merclip
    out, state = model.apply(variables, clip, train=False, mutable=["intermediates"])
    inner, b = state["intermediates"], len(clip)
    video = inner["encoder"]
    close(video["after_patch_embed"][0], volume(data["f64/eval/stem_conv_BCTHW"]))
    close(video["after_ln_pre"][0], nlc(data["f64/eval/after_ln_pre_NT_L_C"], b))
    for i in range(4):
        close(
            video[f"after_block_{i}"][0], lnc(data[f"f64/eval/resblock{i}_L_NT_C"], b)
        )
    for j in range(2):
        close(video[f"after_global_{j}"][0][:, 0], data[f"f64/eval/dec{j}_1_N_C"][0])
    close(inner["pooled"][0], data["f64/eval/pooled_feature_before_projection"])
    close(inner["tokens"][0], data["f64/eval/tokens_before_projection"])
    close(out.video, data["f64/eval/video_feature_after_projection"])
    close(inner["head_tokens"][0], data["f64/eval/tokens_to_head"])
    block_0 = data["f64/eval/head_block0_B_N_C"]
    close(inner["head"]["after_block_0"][0], block_0)
    block_1 = data["f64/eval/head_block1_B_N_C"]
    close(inner["head"]["after_block_1"][0], block_1[:, :1])
    # The head reads token 0 alone; the same weights give the other tokens as well.
    every = HeadBlock(4).apply(
        {"params": variables["params"]["head"]["block_1"]},
        jnp.asarray(block_0),
        queries=37,
        train=False,
    )
    close(every, block_1)
    close(out.logits, data["f64/eval/logits"])
    scores = jax.nn.softmax(out.logits)
    close(scores, data["f64/eval/predict_scores"])
    assert (scores.argmax(-1) == data["f64/eval/predict_labels"]).all()


def test_merclip_text_and_losses(merclip):
    data, model, variables, clip, tower, text_variables, ids = merclip
    table, state = tower.apply(text_variables, ids, mutable=["intermediates"])
    close(table, data["f64/eval/text_features_all_prompts"])
    rows = data["in/template_choice"] * int(data["in/num_au_sets"])
    rows = rows + data["in/au_labels"]
    before = state["intermediates"]["before_ln_final"][0]
    close(before[rows].swapaxes(0, 1), data["f64/eval/text_before_ln_final_LND"])
    close(table[rows], data["f64/eval/text_features"])

    out = model.apply(variables, clip, train=False)
    logits = out.scale * contrastive.similarity(out.video, table[rows])
    close(logits, data["f64/eval/similarity_logits"])
    v2t, t2v = contrastive.contrastive(logits)
    labels = jnp.asarray(data["in/labels"].astype(np.int32))
    emotion = focal(out.logits, labels, gamma=2.0)
    for epoch in data["in/epochs"]:
        clip_weight, emotion_weight = paper_weights(jnp.asarray(int(epoch)))
        for kind in ("f32", "f64"):
            if f"{kind}/eval/epoch{epoch}/loss_cls" not in data.files:
                continue
            at = {
                k.rsplit("/", 1)[1]: data[k]
                for k in data.files
                if k.startswith(f"{kind}/eval/epoch{epoch}/")
            }
            close(clip_weight, at["sim_loss_weight"])
            close(emotion_weight, at["loss_cls_weight"])
            close(clip_weight * v2t / 2, at["sim_loss_v2t"])
            close(clip_weight * t2v / 2, at["sim_loss_t2v"])
            close(emotion_weight * emotion, at["loss_cls"])
            total = clip_weight * (v2t + t2v) / 2 + emotion_weight * emotion
            close(total + 2, at["total_logged"])


def test_merclip_train_mode(merclip):
    data, model, variables, clip, tower, text_variables, ids = merclip
    model = model.clone(
        head_dropout=0.0, encoder=model.encoder.clone(global_mlp_dropout=0.0)
    )
    out, state = model.apply(variables, clip, train=True, mutable=["batch_stats"])
    rows = data["in/template_choice"] * int(data["in/num_au_sets"])
    text = tower.apply(text_variables, ids[rows + data["in/au_labels"]])
    v2t, t2v = contrastive.contrastive(
        out.scale * contrastive.similarity(out.video, text)
    )
    labels = jnp.asarray(data["in/labels"].astype(np.int32))
    emotion = focal(out.logits, labels, gamma=2.0)
    clip_weight, emotion_weight = paper_weights(jnp.asarray(20))
    prefix = "f64/train/epoch20/"
    close(clip_weight * v2t / 2, data[prefix + "sim_loss_v2t"])
    close(clip_weight * t2v / 2, data[prefix + "sim_loss_t2v"])
    close(emotion_weight * emotion, data[prefix + "loss_cls"])


def test_wrong_checkpoints_are_listed_whole(merclip):
    data, model, variables, *_ = merclip
    state = {
        k: v for k, v in params_of(data).items() if not k.startswith("text_encoder.")
    }
    del state["vision_encoder.ln_pre.bias"]
    state["stray"] = np.zeros(3)
    state["vision_encoder.proj"] = np.zeros((3, 2))
    with pytest.raises(ConversionError) as error:
        to_flax(state, MER_CLIP, variables)
    text = str(error.value)
    assert "3 problems" in text and "stray: no place" in text
    assert "encoder/ln_pre/bias: missing" in text
    assert "vision_encoder.proj: (3, 2) does not fit" in text


def test_layouts_invert(golden):
    data = np.load(golden / "merclip_tiny.npz")
    for layout, key in (
        (rules.TUBELET, "vision_encoder.conv1.weight"),
        (rules.QUERY, "vision_encoder.transformer.temporal_cls_token"),
        (rules.DEPTHWISE, "vision_encoder.transformer.dpe.0.weight"),
    ):
        array = data[f"param/{key}"]
        assert (layout.to_torch(layout.to_flax(array)) == array).all()
