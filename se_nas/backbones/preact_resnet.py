"""Pre-activation residual networks for 32x32 images: ResNet-164 (He et al., arXiv 1603.05027) and wide ones
(Zagoruyko & Komodakis, arXiv 1605.07146)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from se_nas.backbones.layers import init_convolutions, make_stage


class PreactBasicBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU. A projection shortcut takes the activated input."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.projects = in_channels != width
        self.downsample = nn.Conv2d(in_channels, width, 1, stride, bias=False) if self.projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        activated = torch.relu(self.bn1(x))
        out = self.conv2(torch.relu(self.bn2(self.conv1(activated))))
        return out + self.downsample(activated if self.projects else x)  # type: ignore[no-any-return]


class PreactBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each after batch norm and ReLU. A projection shortcut takes the activated input."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.projects = in_channels != out_channels
        self.downsample = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if self.projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        activated = torch.relu(self.bn1(x))
        out = self.conv2(torch.relu(self.bn2(self.conv1(activated))))
        out = self.conv3(torch.relu(self.bn3(out)))
        return out + self.downsample(activated if self.projects else x)  # type: ignore[no-any-return]


class PreactResNet(nn.Module):
    """3x3 convolution, three stages of blocks, batch norm and ReLU, mean over height and width, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes).

    Args:
        block: `PreactBasicBlock` or `PreactBottleneck`.
        depth: number of blocks of each stage.
        factor: the stages' widths are 16, 32 and 64 times this.
        num_classes: number of outputs.
        in_channels: channels of the images.
    """

    def __init__(
        self, block: type[PreactBasicBlock] | type[PreactBottleneck], depth: int, factor: int, num_classes: int = 10, in_channels: int = 3
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        channels = 16
        self.stages = ["layer1", "layer2", "layer3"]
        for name, width in zip(self.stages, (16 * factor, 32 * factor, 64 * factor), strict=True):
            self.add_module(name, make_stage(block, channels, width, depth, 1 if name == "layer1" else 2, block.expansion))
            channels = width * block.expansion
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(torch.relu(self.bn(x)).mean((2, 3)))  # type: ignore[no-any-return]


BUILDERS = {
    "resnet164": partial(PreactResNet, PreactBottleneck, 18, 1),
    "wrn_16_8": partial(PreactResNet, PreactBasicBlock, 2, 8),
}
