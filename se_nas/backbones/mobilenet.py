"""MobileNet (Howard et al., arXiv 1704.04861), width 1.0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from se_nas.backbones.layers import ConvNorm, init_convolutions, make_stage

STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))
"""(width, number of blocks) of each stage. Every stage but the first halves height and width (table 1)."""


class SeparableBlock(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, each with batch norm and ReLU.

    The SENet paper does not say where its SE blocks sit. Its 4.7M parameters fit only blocks after the pointwise convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvNorm(in_channels, in_channels, 3, stride, groups=in_channels)
        self.pointwise = ConvNorm(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))  # type: ignore[no-any-return]


class MobileNetV1(nn.Module):
    """Stem, stages of separable blocks, mean over height and width, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes).

    Args:
        stages: (width, number of blocks) of each. Every stage but the first halves height and width.
        stem_stride: 1 suits small images.
    """

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, stages: Sequence[tuple[int, int]] = STAGES, stem_stride: int = 2
    ) -> None:
        super().__init__()
        self.stem = ConvNorm(in_channels, 32, 3, stem_stride)
        self.stages = tuple(f"stage{number}" for number in range(1, len(stages) + 1))
        channels = 32
        for name, (width, depth) in zip(self.stages, stages, strict=True):
            self.add_module(name, make_stage(SeparableBlock, channels, width, depth, 1 if name == self.stages[0] else 2))
            channels = width
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(torch.mean(x, (2, 3)))  # type: ignore[no-any-return]


BUILDERS = {"mobilenet_v1": MobileNetV1}
