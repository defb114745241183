"""SENet-154 without its SE blocks: the SENet paper's best network (appendix "SENet-154", and its released model)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from se_nas.backbones.layers import ConvNorm, init_convolutions, make_stage

STAGES = {"layer1": (256, 3), "layer2": (512, 8), "layer3": (1024, 36), "layer4": (2048, 3)}
"""(channels, number of blocks) of each stage. Every stage but the first halves height and width."""


class SENetBottleneck(nn.Module):
    """ResNeXt 64x4d bottleneck whose first 1x1 is half as wide. The stride is on the 3x3 convolution, and on the shortcut's 3x3."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, channels // 2, 1)
        self.conv2 = ConvNorm(channels // 2, channels, 3, stride, groups=64)
        self.conv3 = ConvNorm(channels, channels, 1, act=False)
        same = in_channels == channels
        self.downsample = nn.Identity() if same else ConvNorm(in_channels, channels, 1 if stride == 1 else 3, stride, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv3(self.conv2(self.conv1(x))) + self.downsample(x))


class SENet154(nn.Module):
    """Stem of three 3x3 convolutions, four stages of bottlenecks, mean over height and width, dropout, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes).
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(in_channels, 64, 3, 2), ConvNorm(64, 64, 3), ConvNorm(64, 128, 3), nn.MaxPool2d(3, 2, ceil_mode=True)
        )
        before = 128
        for name, (channels, depth) in STAGES.items():
            self.add_module(name, make_stage(SENetBottleneck, before, channels, depth, 1 if name == "layer1" else 2))
            before = channels
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(before, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in STAGES:
            x = getattr(self, name)(x)
        return self.fc(self.dropout(torch.mean(x, (2, 3))))  # type: ignore[no-any-return]


BUILDERS = {"senet154": SENet154}
