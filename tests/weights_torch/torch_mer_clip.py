"""MER-CLIP in plain torch.nn, written from the description of its equations and keys.

Only to compare with: every parameter has the authors' name, so that `load_state_dict`
with strict names is a test too. Tokens are [batch, time, 1 + patches, width].
"""

import torch
from torch import nn
from torch.nn import functional as F


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


class MLP(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        return self.c_proj(quick_gelu(self.c_fc(x)))


class MHRA(nn.Module):
    def __init__(self, d):
        super().__init__()
        r = int(d // 1.5)
        self.pos_embed = nn.Sequential(
            nn.BatchNorm3d(d),
            nn.Conv3d(d, r, 1),
            nn.Conv3d(r, r, (3, 1, 1), padding=(1, 0, 0), groups=r),
            nn.Conv3d(r, d, 1),
        )

    def forward(self, x):
        b, t, n, d = x.shape
        side = int((n - 1) ** 0.5)
        patches = x[:, :, 1:].reshape(b, t, side, side, d).permute(0, 4, 1, 2, 3)
        y = self.pos_embed(patches).permute(0, 2, 3, 4, 1).reshape(b, t, n - 1, d)
        return torch.cat([x[:, :, :1], x[:, :, 1:] + y], dim=2)


class Local(nn.Module):
    def __init__(self, d, heads, mixer=MHRA):
        super().__init__()
        self.lmhra1, self.lmhra2 = mixer(d), mixer(d)
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True)
        self.ln_1, self.ln_2, self.mlp = nn.LayerNorm(d), nn.LayerNorm(d), MLP(d)

    def forward(self, x):
        x = self.lmhra1(x)
        y = self.ln_1(x).flatten(0, 1)
        x = x + self.attn(y, y, y, need_weights=False)[0].reshape(x.shape)
        x = self.lmhra2(x)
        return x + self.mlp(self.ln_2(x))


class Global(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True)
        self.ln_1, self.ln_2, self.ln_3 = (nn.LayerNorm(d) for _ in range(3))
        self.mlp = MLP(d)

    def forward(self, query, context):
        y = self.ln_3(context)
        query = query + self.attn(self.ln_1(query), y, y, need_weights=False)[0]
        return query + self.mlp(self.ln_2(query))


class Trunk(nn.Module):
    def __init__(self, d, layers, heads, global_layers, *, mixer=MHRA):
        super().__init__()
        self.global_layers = list(global_layers)
        self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.balance = nn.Parameter(torch.zeros(d))
        self.norm = nn.LayerNorm(d)
        self.resblocks = nn.ModuleList(Local(d, heads, mixer) for _ in range(layers))
        convolution = [nn.Conv3d(d, d, 3, padding=1, groups=d) for _ in global_layers]
        self.dpe = nn.ModuleList(convolution)
        self.dec = nn.ModuleList(Global(d, heads) for _ in global_layers)

    def forward(self, x):
        b, t, n, d = x.shape
        side = int((n - 1) ** 0.5)
        query = self.temporal_cls_token.expand(b, 1, d)
        for i, block in enumerate(self.resblocks):
            x = block(x)
            if i in self.global_layers:
                j = self.global_layers.index(i)
                patches = x[:, :, 1:].reshape(b, t, side, side, d)
                moved = self.dpe[j](patches.permute(0, 4, 1, 2, 3))
                moved = moved.permute(0, 2, 3, 4, 1).reshape(b, t, n - 1, d)
                context = torch.cat([x[:, :, :1], x[:, :, 1:] + moved], dim=2)
                query = self.dec[j](query, context.reshape(b, t * n, d))
        share = torch.sigmoid(self.balance)
        fused = (1 - share) * query[:, 0] + share * x[:, :, 0].mean(1)
        return self.norm(fused), x[:, :, 1:].reshape(b, t * (n - 1), d)


class Vision(nn.Module):
    def __init__(self, size):
        super().__init__()
        d, e, p = size.width, size.embed, size.patch_size
        self.class_embedding = nn.Parameter(torch.zeros(d))
        self.positional_embedding = nn.Parameter(torch.zeros((224 // p) ** 2 + 1, d))
        self.proj = nn.Parameter(torch.zeros(d, e))
        self.conv1 = nn.Conv3d(
            3, d, (3, p, p), stride=(2, p, p), padding=(1, 0, 0), bias=False
        )
        self.ln_pre, self.ln_post1 = nn.LayerNorm(d), nn.LayerNorm(e)
        self.ln_final = nn.LayerNorm(e)
        self.to_cls_decoder = nn.Linear(d, e, bias=False)
        self.transformer = Trunk(d, size.layers, size.heads, size.global_layers)

    def forward(self, clip):
        x = self.conv1(clip).flatten(3).permute(0, 2, 3, 1)
        cls = self.class_embedding.expand(*x.shape[:2], 1, x.shape[3])
        x = torch.cat([cls, x], dim=2) + self.positional_embedding
        pooled, patches = self.transformer(self.ln_pre(x))
        tokens = torch.cat([pooled[:, None], patches], dim=1)
        video = self.ln_post1(pooled @ self.proj)
        return video, self.ln_final(self.to_cls_decoder(tokens))


class Kinetics(nn.Module):
    """UniFormerV2 as trained on Kinetics: no local MHRA, no kernel over time."""

    def __init__(self, size, side, classes):
        super().__init__()
        d, p = size.width, size.patch_size
        last = range(size.layers - 4, size.layers)
        self.class_embedding = nn.Parameter(torch.zeros(d))
        self.positional_embedding = nn.Parameter(torch.zeros(side * side + 1, d))
        self.conv1 = nn.Conv3d(3, d, (1, p, p), stride=(1, p, p), bias=False)
        self.ln_pre = nn.LayerNorm(d)
        self.transformer = Trunk(
            d, size.layers, size.heads, last, mixer=lambda d: nn.Identity()
        )
        self.transformer.proj = nn.Sequential(
            self.transformer.norm, nn.Identity(), nn.Linear(d, classes)
        )

    def forward(self, clip):
        x = self.conv1(clip).flatten(3).permute(0, 2, 3, 1)
        cls = self.class_embedding.expand(*x.shape[:2], 1, x.shape[3])
        x = torch.cat([cls, x], dim=2) + self.positional_embedding
        pooled, _ = self.transformer(self.ln_pre(x))  # `norm` is `proj.0` itself
        return self.transformer.proj[2](pooled)


class HeadAttention(nn.Module):
    def __init__(self, e):
        super().__init__()
        self.to_qkv, self.proj = nn.Linear(e, 3 * e), nn.Linear(e, e)

    def forward(self, x):
        b, n, e = x.shape
        q, k, v = self.to_qkv(x).reshape(b, n, 3, 4, e // 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, e))


class FeedForward(nn.Module):
    def __init__(self, e):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(e, 4 * e), nn.GELU(), nn.Identity(), nn.Linear(4 * e, e)
        )

    def forward(self, x):
        return self.net(x)


class HeadBlock(nn.Module):
    def __init__(self, e):
        super().__init__()
        self.norm, self.norm_ffn = nn.LayerNorm(e, 1e-6), nn.LayerNorm(e, 1e-6)
        self.attn, self.ffn = HeadAttention(e), FeedForward(e)

    def forward(self, x):
        x = x + self.attn(self.norm(x))
        return x + self.ffn(self.norm_ffn(x))


class Head(nn.Module):
    def __init__(self, e, classes):
        super().__init__()
        self.blocks = nn.ModuleList(HeadBlock(e) for _ in range(2))
        self.norm, self.fc_cls = nn.LayerNorm(e, 1e-6), nn.Linear(e, classes)

    def forward(self, x):
        logits = []
        for block in self.blocks:
            x = block(x)
            logits.append(self.fc_cls(self.norm(x[:, 0])))
        return sum(logits) / len(logits)


class TextBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True)
        self.ln_1, self.ln_2, self.mlp = nn.LayerNorm(d), nn.LayerNorm(d), MLP(d)

    def forward(self, x):
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=future, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Text(nn.Module):
    def __init__(self, size):
        super().__init__()
        d = size.text_width
        self.positional_embedding = nn.Parameter(torch.zeros(77, d))
        self.text_projection = nn.Parameter(torch.zeros(d, size.embed))
        self.token_embedding = nn.Embedding(49408, d)
        self.ln_final, self.transformer = nn.LayerNorm(d), nn.Module()
        blocks = [TextBlock(d, size.text_heads) for _ in range(size.text_layers)]
        self.transformer.resblocks = nn.ModuleList(blocks)

    def forward(self, ids):
        x = self.token_embedding(ids) + self.positional_embedding
        for block in self.transformer.resblocks:
            x = block(x)
        return self.ln_final(x)[range(len(ids)), ids.argmax(-1)] @ self.text_projection


class MerClip(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.vision_encoder, self.text_encoder = Vision(size), Text(size)
        self.cls_head = Head(size.embed, classes)

    def forward(self, clip):
        video, tokens = self.vision_encoder(clip)
        return video, self.cls_head(tokens)
