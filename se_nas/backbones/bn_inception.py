"""BN-Inception (Ioffe & Szegedy, arXiv 1502.03167, figure 5), with the widths of the SENet authors' released model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from se_nas.backbones.layers import ConvNorm, Parallel, init_convolutions

Widths = tuple[int, tuple[int, int], tuple[int, int], int]
"""Widths of an inception module's branches: 1x1 (0 for no such branch); (1x1, 3x3); (1x1, both 3x3); 1x1 after the pooling."""

STAGES: dict[str, dict[str, Widths]] = {
    "inception3": {
        "a": (64, (64, 64), (64, 96), 32),
        "b": (64, (64, 96), (64, 96), 64),
        "c": (0, (128, 160), (64, 96), 0),
    },
    "inception4": {
        "a": (224, (64, 96), (96, 128), 128),
        "b": (192, (96, 128), (96, 128), 128),
        "c": (160, (128, 160), (128, 160), 128),
        "d": (96, (128, 192), (160, 192), 128),
        "e": (0, (128, 192), (192, 256), 0),
    },
    "inception5": {
        "a": (352, (192, 320), (160, 224), 128),
        "b": (352, (192, 320), (192, 224), 128),
    },
}


class Inception(Parallel):
    """Branches of convolutions and a branch of pooling, concatenated.

    A module without the 1x1 branch halves height and width; its pooling keeps all channels.
    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W').
    """

    def __init__(self, in_channels: int, widths: Widths, max_pool: bool) -> None:
        single, (before, once), (before_twice, twice), pooled = widths
        stride = 1 if single else 2
        branches = [
            nn.Sequential(ConvNorm(in_channels, before, 1), ConvNorm(before, once, 3, stride)),
            nn.Sequential(ConvNorm(in_channels, before_twice, 1), ConvNorm(before_twice, twice, 3), ConvNorm(twice, twice, 3, stride)),
        ]
        if single:
            pool = nn.MaxPool2d(3, 1, 1) if max_pool else nn.AvgPool2d(3, 1, 1)
            branches = [ConvNorm(in_channels, single, 1), *branches, nn.Sequential(pool, ConvNorm(in_channels, pooled, 1))]
        else:
            branches.append(nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True)))
        super().__init__(branches)
        self.out_channels = single + once + twice + (pooled or in_channels)


class BNInception(nn.Module):
    """Stem, ten inception modules, mean over height and width, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes); H and W are multiples of 32.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(in_channels, 64, 7, 2),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            ConvNorm(64, 64, 1),
            ConvNorm(64, 192, 3),
            nn.MaxPool2d(3, 2, ceil_mode=True),
        )
        channels = 192
        for stage, modules in STAGES.items():
            blocks = nn.Sequential()
            for name, widths in modules.items():
                block = Inception(channels, widths, max_pool=(stage, name) == ("inception5", "b"))
                blocks.add_module(name, block)
                channels = block.out_channels
            self.add_module(stage, blocks)
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in STAGES:
            x = getattr(self, stage)(x)
        return self.fc(torch.mean(x, (2, 3)))  # type: ignore[no-any-return]


BUILDERS = {"bn_inception": BNInception}
