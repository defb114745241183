"""ShuffleNet (Zhang et al., arXiv 1707.01083), 3 groups, width 1x."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from se_nas.backbones.layers import ConvNorm, init_convolutions, make_stage

STEM = 24
"""Channels after the stem."""

GROUPS = 3
STAGES = {"stage2": (240, 4), "stage3": (480, 8), "stage4": (960, 4)}
"""(channels, number of units) of each stage. A stage's first unit halves height and width (table 1)."""


class ChannelShuffle(nn.Module):
    """Distributes the channels of each group over all groups. Shapes: (N, C, H, W) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        return x.reshape(n, GROUPS, channels // GROUPS, height, width).transpose(1, 2).reshape(n, channels, height, width)


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1, and a shortcut (figure 2).

    At stride 1 the branch is added to its input; at stride 2 it is concatenated with the pooled input.
    The SENet paper does not say where its SE blocks sit. Its 2.4M parameters fit blocks at the end of the branch best.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        width = out_channels // 4
        groups = 1 if in_channels == STEM else GROUPS  # the stem gives too few channels for groups (section 3.2)
        branch_channels = out_channels if stride == 1 else out_channels - in_channels
        self.compress = ConvNorm(in_channels, width, 1, groups=groups)
        self.shuffle = ChannelShuffle()
        self.depthwise = ConvNorm(width, width, 3, stride, groups=width, act=False)
        self.expand = ConvNorm(width, branch_channels, 1, groups=GROUPS, act=False)
        self.shortcut: nn.Module = nn.Identity() if stride == 1 else nn.AvgPool2d(3, stride, 1)
        self.joins = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        out = self.expand(self.depthwise(self.shuffle(self.compress(x))))
        shortcut = self.shortcut(x)
        return torch.relu(torch.cat((shortcut, out), 1) if self.joins else shortcut + out)


class ShuffleNetV1(nn.Module):
    """Stem, three stages of shuffle units, mean over height and width, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes).
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(in_channels, STEM, 3, 2), nn.MaxPool2d(3, 2, 1))
        channels = STEM
        for name, (width, depth) in STAGES.items():
            self.add_module(name, make_stage(ShuffleUnit, channels, width, depth, 2))
            channels = width
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in STAGES:
            x = getattr(self, name)(x)
        return self.fc(torch.mean(x, (2, 3)))  # type: ignore[no-any-return]


BUILDERS = {"shufflenet_v1": ShuffleNetV1}
