"""Weight files as their owners lay them out, filled at random and small."""

import ast

import numpy as np
from safetensors.numpy import save_file

from merclip_jax.models.mer_clip import Size
from merclip_jax.weights import bundle
from merclip_jax.weights.families import detect
from merclip_jax.weights.families.mer_clip import modules_of
from merclip_jax.weights.formats.sets import WeightSet
from merclip_jax.weights.provenance import of_training

TINY = Size(128, 3, 2, 16, (1, 2), 64, 64, 2, 1)  # head dim 64, as published towers


def fill(shapes, seed=0):
    """Random float32 arrays; variances are positive."""
    draw = np.random.default_rng(seed)
    state = {}
    for key, shape in shapes.items():
        array = draw.normal(size=shape).astype(np.float32) * 0.1
        if key.endswith("running_var"):
            array = np.abs(array) + 0.5
        if key.endswith("num_batches_tracked"):
            array = np.zeros((), np.int64)
        state[key] = np.asarray(array)
    return state


def listed(path):
    """Keys and shapes of a list of an official model's."""
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return {key: ast.literal_eval(shape) for key, shape, _ in lines}


def norm(key, d):
    return {f"{key}.weight": (d,), f"{key}.bias": (d,)}


def linear(key, out, d):
    return {f"{key}.weight": (out, d), f"{key}.bias": (out,)}


def blocks(key, d, layers):
    shapes = {}
    for i in range(layers):
        at = f"{key}.{i}"
        shapes |= {f"{at}.attn.in_proj_weight": (3 * d, d)}
        shapes |= {f"{at}.attn.in_proj_bias": (3 * d,)}
        shapes |= linear(f"{at}.attn.out_proj", d, d) | norm(f"{at}.ln_1", d)
        shapes |= linear(f"{at}.mlp.c_fc", 4 * d, d) | norm(f"{at}.ln_2", d)
        shapes |= linear(f"{at}.mlp.c_proj", d, 4 * d)
    return shapes


def text_shapes(size=TINY, *, vocabulary=100, context=77):
    d = size.text_width
    return {
        "positional_embedding": (context, d),
        "token_embedding.weight": (vocabulary, d),
        "text_projection": (d, size.embed),
        **norm("ln_final", d),
        **blocks("transformer.resblocks", d, size.text_layers),
    }


def clip_shapes(size=TINY, *, side=3, vocabulary=100, context=77):
    """OpenAI's and open_clip's names."""
    d, p = size.width, size.patch_size
    return {
        "logit_scale": (),
        "visual.class_embedding": (d,),
        "visual.positional_embedding": (side * side + 1, d),
        "visual.proj": (d, size.embed),
        "visual.conv1.weight": (d, 3, p, p),
        **norm("visual.ln_pre", d),
        **norm("visual.ln_post", d),
        **blocks("visual.transformer.resblocks", d, size.layers),
        **text_shapes(size, vocabulary=vocabulary, context=context),
    }


def hugging_face(clip):
    """A CLIP state under Hugging Face's names, q, k and v apart."""
    out = {"logit_scale": clip["logit_scale"]}
    out["visual_projection.weight"] = clip["visual.proj"].T.copy()
    out["text_projection.weight"] = clip["text_projection"].T.copy()
    for tower, key in (("vision_model", "visual."), ("text_model", "")):
        at = f"{tower}.embeddings"
        table = clip[f"{key}positional_embedding"]
        out[f"{at}.position_embedding.weight"] = table
        out[f"{at}.position_ids"] = np.arange(len(table))[None]
        for name, array in clip.items():
            if not name.startswith(f"{key}transformer.resblocks."):
                continue
            _, _, i, *rest = name.removeprefix(key).split(".")
            layer = f"{tower}.encoder.layers.{i}"
            rest = ".".join(rest)
            if rest.startswith("attn.in_proj_"):
                for letter, part in zip("qkv", np.split(array, 3), strict=True):
                    new = f"{layer}.self_attn.{letter}_proj.{rest[13:]}"
                    out[new] = part.copy()
                continue
            for ours, theirs in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                rest = rest.replace(ours, theirs)
            out[f"{layer}.{rest}"] = array
    for kind in ("weight", "bias"):
        out[f"vision_model.pre_layrnorm.{kind}"] = clip[f"visual.ln_pre.{kind}"]
        out[f"vision_model.post_layernorm.{kind}"] = clip[f"visual.ln_post.{kind}"]
        out[f"text_model.final_layer_norm.{kind}"] = clip[f"ln_final.{kind}"]
    out["vision_model.embeddings.class_embedding"] = clip["visual.class_embedding"]
    out["vision_model.embeddings.patch_embedding.weight"] = clip["visual.conv1.weight"]
    out["text_model.embeddings.token_embedding.weight"] = clip["token_embedding.weight"]
    return out


def uniformer_shapes(size=TINY, *, structure="ssv2", side=3, classes=5, globals_=2):
    d, p = size.width, size.patch_size
    r, taps = int(d // 1.5), 3 if structure == "ssv2" else 1
    shapes = {
        "class_embedding": (d,),
        "positional_embedding": (side * side + 1, d),
        "conv1.weight": (d, 3, taps, p, p),
        **norm("ln_pre", d),
        "transformer.temporal_cls_token": (1, 1, d),
        "transformer.balance": (d,),
        **blocks("transformer.resblocks", d, size.layers),
    }
    for j in range(globals_):
        at = f"transformer.dec.{j}"
        new = blocks("x", d, 1) | norm("x.0.ln_3", d)
        shapes |= {k.replace("x.0", at): v for k, v in new.items()}
        shapes[f"transformer.dpe.{j}.weight"] = (d, 1, 3, 3, 3)
        shapes[f"transformer.dpe.{j}.bias"] = (d,)
    for i in range(size.layers if structure == "ssv2" else 0):
        for k in (1, 2):
            at = f"transformer.resblocks.{i}.lmhra{k}.pos_embed"
            shapes |= norm(f"{at}.0", d)
            shapes |= {f"{at}.0.running_{s}": (d,) for s in ("mean", "var")}
            shapes[f"{at}.0.num_batches_tracked"] = ()
            shapes |= {f"{at}.1.weight": (r, d, 1, 1, 1), f"{at}.1.bias": (r,)}
            shapes |= {f"{at}.2.weight": (r, 1, 3, 1, 1), f"{at}.2.bias": (r,)}
            shapes |= {f"{at}.3.weight": (d, r, 1, 1, 1), f"{at}.3.bias": (d,)}
    shapes |= norm("transformer.proj.0", d)
    return shapes | linear("transformer.proj.2", classes, d)


def mer_clip_shapes(size=TINY, *, classes=5, vocabulary=100):
    d, e = size.width, size.embed
    encoder = uniformer_shapes(size)
    encoder = {k: v for k, v in encoder.items() if ".proj." not in k or "attn" in k}
    encoder = {k: v for k, v in encoder.items() if not k.startswith("transformer.proj")}
    encoder |= norm("transformer.norm", d) | norm("ln_post1", e) | norm("ln_final", e)
    encoder |= {"proj": (d, e), "to_cls_decoder.weight": (e, d)}
    head = norm("norm", e) | linear("fc_cls", classes, e)
    for b in range(2):
        at = f"blocks.{b}"
        head |= norm(f"{at}.norm", e) | norm(f"{at}.norm_ffn", e)
        head |= linear(f"{at}.attn.to_qkv", 3 * e, e) | linear(f"{at}.attn.proj", e, e)
        head |= linear(f"{at}.ffn.net.0", 4 * e, e) | linear(
            f"{at}.ffn.net.3", e, 4 * e
        )
    text = text_shapes(size, vocabulary=vocabulary)
    return {
        "logit_scale": (),
        **{f"vision_encoder.{k}": v for k, v in encoder.items()},
        **{f"text_encoder.{k}": v for k, v in text.items()},
        **{f"cls_head.{k}": v for k, v in head.items()},
    }


def viclip_state(size=TINY, *, context=32):
    text = fill(text_shapes(size, context=context), 4)
    state = {f"text_encoder.{k}": v for k, v in text.items()}
    return state | {"temp": np.zeros(()), "vision_encoder.conv1.weight": np.zeros(3)}


def states():
    """A random state of every family that has its own names."""
    clip = fill(clip_shapes(), 1)
    return {
        "ssv2": fill(uniformer_shapes(), 2),
        "kinetics": fill(uniformer_shapes(structure="kinetics"), 3),
        "mer_clip": fill(mer_clip_shapes(), 5),
        "clip": clip,
        "hugging_face": hugging_face(clip),
        "viclip": viclip_state(),
    }


def recognised(name, state):
    """The one model that a state holds, under its family's names."""
    (model,) = detect.candidates(name, WeightSet((), state))
    return detect.named(name, model, state)


def keep(path, model, arrays, *, side=48, system=None, earlier=()):
    """A folder as a training keeps a member; returns its path as for `save`."""
    bundle.write(
        path,
        {"video": arrays},
        modules=modules_of(model, image_size=side),
        system=system,
        lineage=of_training(path.name, arrays, title="MER-CLIP", earlier=earlier),
        tokenizer=None,
    )
    return str(path)


def save(path, state):
    """A safetensors file; returns its path as the command line takes it."""
    arrays = {k: np.require(v, requirements="C") for k, v in state.items()}
    save_file(arrays, path)
    return str(path)
