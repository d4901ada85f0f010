"""FDP in plain torch.nn, written from the description of its layers and keys.

Only to compare with: every parameter has the released name.
"""

import torch
from torch import nn
from torch.nn import functional as F

DEPTHS = (2, 2, 3, 3, 3)


def divisible(value, divisor=32):
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class Embed(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.stride = stride
        if stride > 1 or inputs != outputs:
            self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        if self.stride > 1:
            x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
        return self.norm(self.conv(x)) if hasattr(self, "conv") else x


class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.group_conv3x3 = nn.Conv2d(width, width, 3, 1, 1, bias=False)

    def forward(self, x):
        return self.group_conv3x3(x)


class Mlp(nn.Module):
    def __init__(self, width, ratio):
        super().__init__()
        hidden = divisible(ratio * width)
        self.conv1 = nn.Conv2d(width, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, width, 1)

    def forward(self, x):
        return self.conv2(F.relu(self.conv1(x)))


class LFA(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.patch_embed = Embed(inputs, width, stride)
        self.mhca, self.norm = Mixer(width), nn.BatchNorm2d(width)
        self.mlp = Mlp(width, 3)

    def forward(self, x):
        x = self.patch_embed(x)
        x = x + self.mhca(x)
        return x + self.mlp(self.norm(x))


class Frames(nn.Module):
    def __init__(self, stem, stages, depths, features):
        super().__init__()
        widths = [1, *stem, stem[-1]]
        pairs = zip(widths[:-1], widths[1:], (2, 1, 1, 2), strict=True)
        self.stem = nn.Sequential(*(ConvNorm(*p) for p in pairs))
        blocks, last = [], stem[-1]
        for i, (width, depth) in enumerate(zip(stages, depths, strict=True)):
            for n in range(depth):
                blocks.append(LFA(last, width, 2 if i and not n else 1))
                last = width
        self.features, self.norm = nn.Sequential(*blocks), nn.BatchNorm2d(last)
        self.proj_head = nn.Sequential(nn.Linear(last, features))

    def forward(self, x):
        x = self.norm(self.features(self.stem(x)))
        return self.proj_head(x.mean((2, 3)))


class Mer(nn.Module):
    def __init__(self, side, hidden, classes):
        super().__init__()
        self.conv3d = nn.Conv3d(1, 8, (3, 3, 8), padding=(1, 1, 0))
        self.fc1 = nn.Linear(8 * (side // 3) ** 2, hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, features):
        side = int(features.shape[-1] ** 0.5)
        y = self.conv3d(features.reshape(-1, 1, side, side, 8))
        pooled = F.max_pool3d(y, (3, 3, 1)).flatten(1)
        return y, self.fc2(F.relu(self.fc1(pooled)))


class SegNet(nn.Module):
    def __init__(self, widths):
        super().__init__()
        widths, last = [*widths, widths[-1]], 8
        for stage, depth in enumerate(DEPTHS, 1):
            for n in range(1, depth + 1):
                self._layer(f"{stage}{n}", last, widths[stage - 1])
                last = widths[stage - 1]
        for stage in range(5, 0, -1):
            for n in range(DEPTHS[stage - 1], 0, -1):
                out = widths[stage - 1] if n > 1 else widths[max(stage - 2, 0)]
                if (stage, n) == (1, 1):
                    self.conv11d = nn.Conv2d(last, 1, 3, 1, 1)
                else:
                    self._layer(f"{stage}{n}d", last, out)
                last = out

    def _layer(self, name, inputs, outputs):
        setattr(self, f"conv{name}", nn.Conv2d(inputs, outputs, 3, 1, 1))
        setattr(self, f"bn{name}", nn.BatchNorm2d(outputs))

    def _run(self, x, name):
        return F.relu(getattr(self, f"bn{name}")(getattr(self, f"conv{name}")(x)))

    def forward(self, x):
        kept = []
        for stage, depth in enumerate(DEPTHS, 1):
            for n in range(1, depth + 1):
                x = self._run(x, f"{stage}{n}")
            x, place = F.max_pool2d(x, 2, 2, return_indices=True)
            kept.append(place)
        for stage in range(5, 0, -1):
            x = F.max_unpool2d(x, kept[stage - 1], 2, 2)
            for n in range(DEPTHS[stage - 1], 0, -1):
                last = (stage, n) == (1, 1)
                x = self.conv11d(x) if last else self._run(x, f"{stage}{n}d")
        return x


class FDP(nn.Module):
    """Frames [b, 8, 1, h, w] -> logits [b, k], images [b, h, w]."""

    def __init__(self, size, *, side=64, classes=5):
        super().__init__()
        self.frame_rep = Frames(size.stem, size.stages, size.depths, side * side)
        self.mer = Mer(side, size.hidden, classes)
        self.dyimg_net = SegNet(size.segnet)

    def forward(self, x):
        # A call for each moment: that is what BatchNorm's statistics are of.
        features = torch.stack([self.frame_rep(x[:, t]) for t in range(8)], 1)
        y, logits = self.mer(features)
        return logits, torch.sigmoid(self.dyimg_net(y[..., 0])[:, 0])
