"""The video models once more, as slow NumPy loops written from their description.

Nothing of merclip_jax is used or imitated: every function follows one step of the
released code in its order, for one clip, frame, head and tap at a time. Clips are
[b, f, h, w, 3], streams [b, t, 1 + hw, d] with the class token first, weights the
nested dictionaries of the Flax variables as float64. Drop path and dropout are absent.
"""

import copy
import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def quick_gelu(x):
    return x * sigmoid(1.702 * x)


def gelu(x):
    return x * 0.5 * (1 + _erf(x / math.sqrt(2)))


def layer_norm(x, p, epsilon=1e-5):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * p["scale"] + p["bias"]


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def attention(x, context, w, heads, causal=False):
    """`w`: matrix and bias of q, k, v in one [d, 3d], matrix and bias of the output."""
    packed, packed_bias, out, out_bias = w
    d = x.shape[-1]
    q = x @ packed[:, :d] + packed_bias[:d]
    k = context @ packed[:, d : 2 * d] + packed_bias[d : 2 * d]
    v = context @ packed[:, 2 * d :] + packed_bias[2 * d :]
    size = d // heads
    mixed = np.zeros_like(q)
    for head in range(heads):
        channels = slice(head * size, (head + 1) * size)
        for i in range(len(q)):
            seen = i + 1 if causal else len(k)
            scores = k[:seen, channels] @ q[i, channels] / math.sqrt(size)
            mixed[i, channels] = softmax(scores) @ v[:seen, channels]
    return mixed @ out + out_bias


def clip_attention(x, context, p, heads, causal=False):
    out = p["out_proj"]
    w = p["in_proj_kernel"], p["in_proj_bias"], out["kernel"], out["bias"]
    return attention(x, context, w, heads, causal)


def mlp(x, p, activation=quick_gelu):
    return linear(activation(linear(x, p["c_fc"])), p["c_proj"])


def clip_block(x, p, heads, causal=False):
    """CLIP's pre-norm block on one sequence [n, d]."""
    normed = layer_norm(x, p["ln_1"])
    x = x + clip_attention(normed, normed, p["attn"], heads, causal)
    return x + mlp(layer_norm(x, p["ln_2"]), p["mlp"])


def patch_embedding(clip, kernel, temporal_downsample):
    """The strided 3D convolution of the stem, one output vector at a time."""
    taps, p, _, _, d = kernel.shape
    b, frames, height, width, _ = clip.shape
    stride, pad = (2, 1) if temporal_downsample else (1, 0)
    assert taps == (3 if temporal_downsample else 1)
    steps = (frames + 2 * pad - taps) // stride + 1
    out = np.zeros((b, steps, height // p, width // p, d))
    for n, t, y, x in np.ndindex(out.shape[:-1]):
        for tap in range(taps):
            frame = stride * t + tap - pad
            if 0 <= frame < frames:
                pixels = clip[n, frame, y * p : (y + 1) * p, x * p : (x + 1) * p]
                out[n, t, y, x] += np.einsum("ijc,ijcd->d", pixels, kernel[tap])
    return out


def embed_tokens(clip, p, temporal_downsample):
    """Stem, class token, positions: the normalised stream [b, t, 1 + hw, d]."""
    volume = patch_embedding(clip, p["patch_embed"]["kernel"], temporal_downsample)
    b, t, h, w, d = volume.shape
    x = np.zeros((b, t, 1 + h * w, d))
    for n in range(b):
        for i in range(t):
            x[n, i, 0] = p["class_embedding"]
            for row in range(h):
                for column in range(w):
                    x[n, i, 1 + row * w + column] = volume[n, i, row, column]
            x[n, i] += p["positional_embedding"]
    return layer_norm(x, p["ln_pre"]), (h, w)


def batch_norm(x, p, stats, train, group):
    """BatchNorm over all axes but the last; in training, over `group` clips at a time.

    Returns the output and the buffers: torch's update with the unbiased variance,
    averaged over the groups as the buffers of several devices are.
    """
    if not train:
        y = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
        return y * p["scale"] + p["bias"], stats
    group = group or len(x)
    out, means, variances = np.zeros_like(x), [], []
    for start in range(0, len(x), group):
        part = x[start : start + group]
        rows = part.reshape(-1, x.shape[-1])
        mean = rows.sum(0) / len(rows)
        squares = ((rows - mean) ** 2).sum(0)
        y = (part - mean) / np.sqrt(squares / len(rows) + 1e-5)
        out[start : start + group] = y * p["scale"] + p["bias"]
        means.append(0.9 * stats["mean"] + 0.1 * mean)
        variances.append(0.9 * stats["var"] + 0.1 * squares / (len(rows) - 1))
    return out, {"mean": np.mean(means, 0), "var": np.mean(variances, 0)}


def local_mhra(patches, p, stats, train, group):
    """Local temporal relation of patch tokens [b, t, hw, d]."""
    x, new = batch_norm(patches, p["bn"], stats["bn"], train, group)
    reduced = linear(x, p["reduce"])
    mixed = np.zeros_like(reduced)
    b, t = reduced.shape[:2]
    for n in range(b):
        for i in range(t):
            for tap in range(3):
                if 0 <= i + tap - 1 < t:
                    mixed[n, i] += reduced[n, i + tap - 1] * p["kernel"][tap]
            mixed[n, i] += p["bias"]
    return linear(mixed, p["expand"]), {"bn": new}


def local_block(x, p, stats, o, train):
    """Local block on the stream [b, t, 1 + hw, d]."""
    x, new = x.copy(), copy.deepcopy(stats)
    b, t = x.shape[:2]

    def mix(name):
        args = x[:, :, 1:], p[name], stats[name], train, o["bn_group_size"]
        added, new[name] = local_mhra(*args)
        x[:, :, 1:] += added

    if o["local_mhra"] >= 1:
        assert p["lmhra1"]["kernel"].shape == (3, int(x.shape[-1] // o["reduction"]))
        mix("lmhra1")
    for n in range(b):
        for i in range(t):
            normed = layer_norm(x[n, i], p["ln_1"])
            x[n, i] += clip_attention(normed, normed, p["attn"], o["heads"])
    if o["local_mhra"] == 2:
        mix("lmhra2")
    for n in range(b):
        for i in range(t):
            x[n, i] += mlp(layer_norm(x[n, i], p["ln_2"]), p["mlp"])
    return x, new


def position_convolution(patches, kernel, bias, grid):
    """DPE of a global block: depthwise 3x3x3 over one clip's patches [t, hw, d]."""
    t, _, d = patches.shape
    h, w = grid
    volume = patches.reshape(t, h, w, d)
    out = np.zeros_like(volume)
    for i, y, x in np.ndindex(t, h, w):
        for a, b, c in np.ndindex(3, 3, 3):
            at = i + a - 1, y + b - 1, x + c - 1
            if all(0 <= m < size for m, size in zip(at, (t, h, w), strict=True)):
                out[i, y, x] += volume[at] * kernel[a, b, c]
        out[i, y, x] += bias
    return out.reshape(t, h * w, d)


def global_block(q, x, p, o, grid):
    """Global block of one clip: query [1, d]; stream [t, 1 + hw, d], left as it is."""
    e = x.copy()
    e[:, 1:] += position_convolution(x[:, 1:], p["dpe_kernel"], p["dpe_bias"], grid)
    e = layer_norm(e.reshape(-1, x.shape[-1]), p["ln_3"])
    normed = layer_norm(q, p["ln_1"])
    q = q + clip_attention(normed, e, p["attn"], o["global_heads"])
    hidden = round(o["global_mlp_factor"] * x.shape[-1])
    assert p["mlp"]["c_fc"]["kernel"].shape[1] == hidden
    return q + mlp(layer_norm(q, p["ln_2"]), p["mlp"])


def uniformer_v2(variables, clip, o, train=False):
    """Pooled [b, d], raw patch tokens [b, t*hw, d] and the BatchNorm buffers after."""
    p, stats = variables["params"], variables.get("batch_stats", {})
    x, grid = embed_tokens(clip, p, o["temporal_downsample"])
    b, _, _, d = x.shape
    q = np.zeros((b, 1, d)) + p["temporal_cls_token"]
    new, j = {}, 0
    for i in range(o["layers"]):
        name = f"block_{i}"
        x, after = local_block(x, p[name], stats.get(name, {}), o, train)
        if after:
            new[name] = after
        if i in o["global_layers"]:
            for n in range(b):
                q[n] = global_block(q[n], x[n], p[f"global_{j}"], o, grid)
            j += 1
    fused = q[:, 0]
    if not o["frozen"]:
        alpha = sigmoid(p["balance"])
        fused = (1 - alpha) * fused + alpha * x[:, :, 0].mean(1)
    return layer_norm(fused, p["norm"]), x[:, :, 1:].reshape(b, -1, d), new


def uniformer_v2_classifier(variables, clip, o, train=False):
    inner = {kind: tree["encoder"] for kind, tree in variables.items()}
    pooled, _, new = uniformer_v2(inner, clip, o, train)
    return linear(pooled, variables["params"]["classifier"]), {"encoder": new}


def factorized_vit(variables, clip, o):
    """CLIP's ViT on each frame, then blocks over a class token and the frames."""
    p = variables["params"]
    x, _ = embed_tokens(clip, p, False)
    b, t, _, d = x.shape
    pooled = np.zeros((b, d))
    for n in range(b):
        for i in range(t):
            for layer in range(o["layers"]):
                x[n, i] = clip_block(x[n, i], p[f"block_{layer}"], o["heads"])
        sequence = np.zeros((1 + t, d))
        sequence[0] = p["temporal_class_embedding"]
        for i in range(t):
            sequence[1 + i] = layer_norm(x[n, i, 0], p["ln_post"])
        sequence += p["temporal_embedding"]
        for layer in range(o["temporal_layers"]):
            sequence = clip_block(sequence, p[f"temporal_{layer}"], o["heads"])
        pooled[n] = layer_norm(sequence[0], p["norm"])
    return pooled, x[:, :, 1:].reshape(b, -1, d)


def head_block(x, p, heads):
    qkv, out = p["attn"]["qkv"], p["attn"]["proj"]
    w = qkv["kernel"], qkv["bias"], out["kernel"], out["bias"]
    normed = layer_norm(x, p["norm"], 1e-6)
    x = x + attention(normed, normed, w, heads)
    return x + mlp(layer_norm(x, p["norm_mlp"], 1e-6), p["mlp"], gelu)


def emotion_head(tokens, p, blocks, heads):
    """MER-CLIP, eq. 11; without blocks the norm and classifier read token 0."""
    logits = []
    for x in tokens:
        seen = [] if blocks else [x]
        for i in range(blocks):
            x = head_block(x, p[f"block_{i}"], heads)
            seen.append(x)
        normed = [layer_norm(y[0], p["norm"], 1e-6) for y in seen]
        logits.append(np.mean([linear(z, p["classifier"]) for z in normed], 0))
    return np.stack(logits)


def mer_clip(variables, clip, o, train=False):
    """Video feature [b, e], logits [b, k], the buffers after (MER-CLIP, eqs. 3-11)."""
    p = variables["params"]
    inner = {k: v["encoder"] for k, v in variables.items() if "encoder" in v}
    if "temporal_layers" in o["encoder"]:
        m, patches = factorized_vit(inner, clip, o["encoder"])
        new = {}
    else:
        m, patches, new = uniformer_v2(inner, clip, o["encoder"], train)
    video = layer_norm(m @ p["video_projection"], p["video_norm"])
    tokens = np.concatenate([m[:, None], patches], 1)
    tokens = layer_norm(tokens @ p["head_projection"]["kernel"], p["head_norm"])
    logits = emotion_head(tokens, p["head"], o["head_blocks"], o["head_heads"])
    return video, logits, {"encoder": new}


def clip_text(variables, ids, layers, heads):
    """MER-CLIP, eq. 7: features [b, out] at the first largest id."""
    p = variables["params"]
    features = []
    for row in ids:
        x = np.stack([p["token_embedding"][i] for i in row])
        x = x + p["positional_embedding"][: len(row)]
        for i in range(layers):
            x = clip_block(x, p[f"block_{i}"], heads, causal=True)
        x = layer_norm(x, p["ln_final"])
        features.append(x[list(row).index(max(row))] @ p["text_projection"])
    return np.stack(features)
