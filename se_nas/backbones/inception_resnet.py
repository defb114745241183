"""Inception-ResNet-v2 (Szegedy et al., arXiv 1602.07261) as its authors released it: 10, 20 and 10 residual blocks.

The release has another stem and other widths than the article's figures. The SENet paper does not say which it used.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from se_nas.backbones.layers import ConvNorm, Parallel, init_convolutions

Conv = partial(ConvNorm, eps=1e-3)


class InceptionResidual(nn.Module):
    """relu(x + scale * branch(x)). The branch concatenates several towers; a 1x1 convolution restores the input's channels.

    Shapes: (N, channels, H, W) -> the same.

    Args:
        channels: channels of input and output.
        towers: for each tower, (kernel, width) of its convolutions in order.
        scale: factor of the branch (section 3.3).
        act: whether the block ends in a ReLU.
    """

    def __init__(self, channels: int, towers: list[list[tuple[int | tuple[int, int], int]]], scale: float, act: bool = True) -> None:
        super().__init__()
        widths = [tower[-1][1] for tower in towers]
        joined = Parallel(_tower(channels, tower) for tower in towers)
        self.branch = nn.Sequential(joined, nn.Conv2d(sum(widths), channels, 1))
        self.shortcut = nn.Identity()
        self.scale = scale
        self.act: nn.Module = nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shortcut(x) + self.scale * self.branch(x))  # type: ignore[no-any-return]


def _tower(channels: int, tower: list[tuple[int | tuple[int, int], int]]) -> nn.Sequential:
    layers = []
    for kernel, width in tower:
        layers.append(Conv(channels, width, kernel))
        channels = width
    return nn.Sequential(*layers)


def _block35(scale: float = 0.17) -> InceptionResidual:
    return InceptionResidual(320, [[(1, 32)], [(1, 32), (3, 32)], [(1, 32), (3, 48), (3, 64)]], scale)


def _block17(scale: float = 0.1) -> InceptionResidual:
    return InceptionResidual(1088, [[(1, 192)], [(1, 128), ((1, 7), 160), ((7, 1), 192)]], scale)


def _block8(scale: float = 0.2, act: bool = True) -> InceptionResidual:
    return InceptionResidual(2080, [[(1, 192)], [(1, 192), ((1, 3), 224), ((3, 1), 256)]], scale, act)


class InceptionResNetV2(nn.Module):
    """Stem, three stages of residual blocks with a reduction before the second and third, mean, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes); designed for 299x299, H and W are at least 75.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Conv(in_channels, 32, 3, 2, valid=True),
            Conv(32, 32, 3, valid=True),
            Conv(32, 64, 3),
            nn.MaxPool2d(3, 2),
            Conv(64, 80, 1),
            Conv(80, 192, 3, valid=True),
            nn.MaxPool2d(3, 2),
            Parallel(
                [
                    Conv(192, 96, 1),
                    _tower(192, [(1, 48), (5, 64)]),
                    _tower(192, [(1, 64), (3, 96), (3, 96)]),
                    nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), Conv(192, 64, 1)),
                ]
            ),
        )
        self.stage1 = nn.Sequential(*(_block35() for _ in range(10)))
        self.reduction1 = Parallel(
            [
                Conv(320, 384, 3, 2, valid=True),
                nn.Sequential(_tower(320, [(1, 256), (3, 256)]), Conv(256, 384, 3, 2, valid=True)),
                nn.MaxPool2d(3, 2),
            ]
        )
        self.stage2 = nn.Sequential(*(_block17() for _ in range(20)))
        self.reduction2 = Parallel(
            [
                nn.Sequential(Conv(1088, 256, 1), Conv(256, 384, 3, 2, valid=True)),
                nn.Sequential(Conv(1088, 256, 1), Conv(256, 288, 3, 2, valid=True)),
                nn.Sequential(_tower(1088, [(1, 256), (3, 288)]), Conv(288, 320, 3, 2, valid=True)),
                nn.MaxPool2d(3, 2),
            ]
        )
        self.stage3 = nn.Sequential(*(_block8() for _ in range(9)), _block8(1.0, act=False))
        self.head = Conv(2080, 1536, 1)
        self.fc = nn.Linear(1536, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage1(self.stem(x))
        x = self.stage2(self.reduction1(x))
        x = self.stage3(self.reduction2(x))
        return self.fc(torch.mean(self.head(x), (2, 3)))  # type: ignore[no-any-return]


BUILDERS = {"inception_resnet_v2": InceptionResNetV2}
