"""UniFormerV2-B/16 and the emotion head in plain torch: the same matmuls, to be timed.

Written from the shapes alone (16 frames to T' = 8, 197 tokens a frame, 8 global blocks,
a two-block head): a yardstick for speed. Nothing loads weights into it.
"""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, HEADS, REDUCED, EMBED = 768, 12, 512, 512
LAYERS, FIRST_GLOBAL = 12, 4


def attend(q, k, v, heads):
    """Multi-head attention over [..., n, d]."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(-3, -2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2)


def quick_gelu(x):
    """CLIP's activation."""
    return x * torch.sigmoid(1.702 * x)


class Mlp(nn.Module):
    """width -> 4 width -> width."""

    def __init__(self, width, activation):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activation = activation

    def forward(self, x):
        return self.down(self.activation(self.up(x)))


class Attention(nn.Module):
    """Packed projections; keys and values from `context` where one is given."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, context=None):
        if context is None:
            q, k, v = self.qkv(x).chunk(3, -1)
        else:
            width = x.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            q = F.linear(x, weight[:width], bias[:width])
            k, v = F.linear(context, weight[width:], bias[width:]).chunk(2, -1)
        return self.out(attend(q, k, v, self.heads))


class Mixer(nn.Module):
    """Local MHRA on patch tokens [b, t, n, d]."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)
        self.down, self.up = nn.Linear(WIDTH, REDUCED), nn.Linear(REDUCED, WIDTH)
        self.taps = nn.Parameter(torch.randn(3, REDUCED) / 3)

    def forward(self, x):
        y = self.down(self.norm(x.reshape(-1, WIDTH)).reshape(x.shape))
        y = F.pad(y, (0, 0, 0, 0, 1, 1))
        t = x.shape[1]
        return self.up(sum(y[:, i : i + t] * self.taps[i] for i in range(3)))


class LocalBlock(nn.Module):
    """Two mixers, attention within frames, MLP."""

    def __init__(self):
        super().__init__()
        self.mixers = nn.ModuleList([Mixer(), Mixer()])
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.attention, self.mlp = Attention(WIDTH, HEADS), Mlp(WIDTH, quick_gelu)

    def forward(self, x):
        for mixer, norm, branch in zip(
            self.mixers, self.norms, (self.attention, self.mlp), strict=True
        ):
            x = torch.cat([x[:, :, :1], x[:, :, 1:] + mixer(x[:, :, 1:])], 2)
            x = x + branch(norm(x))
        return x


class GlobalBlock(nn.Module):
    """A query reads every token of the clip."""

    def __init__(self):
        super().__init__()
        self.dpe = nn.Conv3d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(3)])
        self.attention, self.mlp = Attention(WIDTH, HEADS), Mlp(WIDTH, quick_gelu)

    def forward(self, query, x):
        b, t, n, d = x.shape
        volume = x[:, :, 1:].reshape(b, t, 14, 14, d).permute(0, 4, 1, 2, 3)
        dpe = self.dpe(volume).permute(0, 2, 3, 4, 1).reshape(b, t, n - 1, d)
        keys = torch.cat([x[:, :, :1], x[:, :, 1:] + dpe], 2).reshape(b, t * n, d)
        query = query + self.attention(self.norms[0](query), self.norms[2](keys))
        return query + self.mlp(self.norms[1](query))


class HeadBlock(nn.Module):
    """Pre-norm transformer block of width 512."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(EMBED), nn.LayerNorm(EMBED)])
        self.attention, self.mlp = Attention(EMBED, 4), Mlp(EMBED, F.gelu)

    def forward(self, x, queries):
        y = self.norms[0](x)
        x = x[:, :queries] + self.attention(y[:, :queries], y)
        return x + self.mlp(self.norms[1](x))


class MerClip(nn.Module):
    """Clips [b, 3, 16, 224, 224] to logits [b, k] and video features [b, 512]."""

    def __init__(self, classes=7):
        super().__init__()
        self.stem = nn.Conv3d(3, WIDTH, (3, 16, 16), (2, 16, 16), (1, 0, 0), bias=False)
        self.token = nn.Parameter(torch.randn(WIDTH) * 0.02)
        self.position = nn.Parameter(torch.randn(197, WIDTH) * 0.02)
        self.query = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.norm, self.fused = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.local = nn.ModuleList([LocalBlock() for _ in range(LAYERS)])
        self.whole = nn.ModuleList([GlobalBlock() for _ in range(FIRST_GLOBAL, LAYERS)])
        self.to_video = nn.Linear(WIDTH, EMBED, bias=False)
        self.to_head = nn.Linear(WIDTH, EMBED, bias=False)
        self.head_norm = nn.LayerNorm(EMBED)
        self.head = nn.ModuleList([HeadBlock(), HeadBlock()])
        self.classify = nn.Linear(EMBED, classes)

    def forward(self, clip):
        x = self.stem(clip).flatten(3).permute(0, 2, 3, 1)
        token = self.token.expand(*x.shape[:2], 1, WIDTH)
        x = self.norm(torch.cat([token, x], 2) + self.position)
        query = self.query.expand(len(x), 1, WIDTH)
        for i, block in enumerate(self.local):
            x = block(x)
            if i >= FIRST_GLOBAL:
                query = self.whole[i - FIRST_GLOBAL](query, x)
        pooled = self.fused((query[:, 0] + x[:, :, 0].mean(1)) / 2)
        tokens = torch.cat([pooled[:, None], x[:, :, 1:].flatten(1, 2)], 1)
        tokens = self.head_norm(self.to_head(tokens))
        logits = 0
        for block, queries in zip(self.head, (tokens.shape[1], 1), strict=True):
            tokens = block(tokens, queries)
            logits = logits + self.classify(tokens[:, 0]) / 2
        return logits, self.to_video(pooled)


def training_step(model, clips, *, autocast=None, forward=None):
    """A function that does a step on `clips`: loss, gradients, clipping, AdamW.

    `autocast` is a dtype of products; `forward` the model as it is compiled.
    """
    device = clips.device.type
    tx = torch.optim.AdamW(
        model.parameters(), lr=5e-5, weight_decay=0.05, fused=device == "cuda"
    )
    labels = torch.zeros(len(clips), dtype=torch.long, device=device)
    forward = forward or model

    def step():
        with torch.autocast(device, autocast, enabled=autocast is not None):
            logits, video = forward(clips)
        loss = F.cross_entropy(logits.float(), labels) + video.float().square().mean()
        tx.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 20.0)
        tx.step()

    return step
