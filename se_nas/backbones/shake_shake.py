"""Shake-Shake 26 2x96d for 32x32 images (Gastaldi, arXiv 1705.07485): blocks of two branches, mixed at random in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from se_nas.backbones.layers import init_convolutions, make_stage

STAGES = {"layer1": 96, "layer2": 192, "layer3": 384}
"""Channels of each stage. Every stage but the first halves height and width."""

BLOCKS = 4
"""Number of blocks of each stage."""


class ShakeBranches(nn.Module):
    """Two branches, mixed. In training each image has a random share in the forward pass and another in the backward pass; in
    evaluation each branch has half.

    Shapes: (N, in_channels, H, W) -> (N, channels, H / stride, W / stride).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.branch1 = _branch(in_channels, channels, stride)
        self.branch2 = _branch(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.branch1(x), self.branch2(x)
        if not self.training:
            return 0.5 * (first + second)  # type: ignore[no-any-return]
        forward, backward = torch.rand(2, len(x), 1, 1, 1, dtype=first.dtype, device=first.device)
        difference = first - second
        return second + backward * difference + ((forward - backward) * difference).detach()  # type: ignore[no-any-return]


def _branch(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


class ShiftedShortcut(nn.Module):
    """Two 1x1 convolutions on every ``stride``-th pixel (for the second, shifted by one pixel), concatenated; then batch norm."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, channels - channels // 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        shifted = F.pad(x, (-1, 1, -1, 1)) if self.stride > 1 else x
        halves = [conv(y[:, :, :: self.stride, :: self.stride]) for conv, y in ((self.conv1, x), (self.conv2, shifted))]
        return self.bn(torch.cat(halves, 1))  # type: ignore[no-any-return]


class ShakeBlock(nn.Module):
    """Shortcut plus mixed branches.

    The SENet paper does not say whether each branch has an SE block, or the mixture has one. Here the mixture has it, before
    the sum with the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.branches = ShakeBranches(in_channels, channels, stride)
        self.shortcut = nn.Identity() if in_channels == channels else ShiftedShortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.branches(x)  # type: ignore[no-any-return]


class ShakeShake(nn.Module):
    """3x3 convolution, three stages of four blocks, ReLU, mean over height and width, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes).
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16))
        before = 16
        for name, channels in STAGES.items():
            self.add_module(name, make_stage(ShakeBlock, before, channels, BLOCKS, 1 if name == "layer1" else 2))
            before = channels
        self.fc = nn.Linear(before, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in STAGES:
            x = getattr(self, name)(x)
        return self.fc(torch.relu(x).mean((2, 3)))  # type: ignore[no-any-return]


BUILDERS = {"shake_shake_26_2x96d": ShakeShake}
