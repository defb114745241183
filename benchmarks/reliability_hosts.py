"""Hosts of `reliability.py` that no library has: small enough to train for long on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from se_nas.backbones.layers import ConvNorm, init_convolutions, make_stage
from se_nas.backbones.mobilenet import SeparableBlock

STAGES = {"stage1": (32, 2), "stage2": (64, 3), "stage3": (128, 3)}
"""(width, number of blocks) of each stage. Every stage but the first halves height and width."""


class SmallMobileNet(nn.Module):
    """MobileNet (Howard et al., arXiv 1704.04861) with three narrow stages, for images of 16 x 16. No shortcuts.

    Shapes: (N, 3, H, W) -> (N, num_classes).
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3)
        channels = 32
        for name, (width, depth) in STAGES.items():
            self.add_module(name, make_stage(SeparableBlock, channels, width, depth, 1 if name == "stage1" else 2))
            channels = width
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in STAGES:
            x = getattr(self, name)(x)
        return self.fc(torch.mean(x, (2, 3)))  # type: ignore[no-any-return]
