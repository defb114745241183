"""Residual networks: He et al.'s CIFAR networks (6n+2), their ImageNet networks and ResNeXt, as the SENet paper used them.

Module names are torchvision's, so that torchvision's weights load. Two things differ from torchvision:

- In the ImageNet ResNets the stride is on the first 1x1 convolution, as in arXiv 1512.03385 and in the SENet paper's own
  networks. (In the ResNeXts it is on the 3x3, as in torchvision.)
- The CIFAR networks have shortcuts without parameters (option A: subsample, and pad with zero channels).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from se_nas.backbones.layers import init_convolutions, make_stage


class PadShortcut(nn.Module):
    """Shortcut without parameters (option A): take every ``stride``-th pixel, and pad with channels of zeros."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))


class ProjectionShortcut(nn.Sequential):
    """Shortcut by a 1x1 convolution and batch norm (option B)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two convolutions (3x3 in the paper) and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: type[nn.Module], kernel: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel, 1, kernel // 2, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        same = stride == 1 and in_channels == width
        self.downsample = nn.Identity() if same else shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return torch.relu(out + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut. The stride is on the first 1x1; with ``late_stride``, on the 3x3."""

    expansion = 4
    groups = 1
    late_stride = False

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: type[nn.Module], kernel: int = 3) -> None:
        super().__init__()
        out_channels = width * self.expansion
        first, second = (1, stride) if self.late_stride else (stride, 1)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel, second, kernel // 2, groups=self.groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.downsample = nn.Identity() if same else shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return torch.relu(out + self.downsample(x))


class ResNeXtBottleneck(Bottleneck):
    """Bottleneck with 32 groups, half as wide as its output. The stride is on the 3x3 (arXiv 1611.05431)."""

    expansion = 2
    groups = 32
    late_stride = True


class ResNet(nn.Module):
    """Stem, stages of residual blocks, mean over height and width, one linear layer.

    Shapes: (N, in_channels, H, W) -> (N, num_classes).

    Args:
        block: `BasicBlock`, `Bottleneck` or `ResNeXtBottleneck`.
        depths: number of blocks of each stage. Every stage but the first halves height and width.
        widths: width of each stage, before the block's expansion.
        shortcut: shortcut of the blocks that change the shape; others have the identity.
        imagenet_stem: whether the stem is a 7x7 convolution of stride 2 and max pooling; otherwise it is one 3x3 convolution.
        num_classes: number of outputs.
        in_channels: channels of the images.
        kernel: kernel size of the blocks' 3x3 convolutions, odd.

    Raises:
        ValueError: for an even kernel.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        shortcut: type[nn.Module],
        imagenet_stem: bool,
        num_classes: int,
        in_channels: int = 3,
        kernel: int = 3,
    ) -> None:
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is not odd")
        super().__init__()
        channels = 64 if imagenet_stem else widths[0]
        if imagenet_stem:
            self.conv1 = nn.Conv2d(in_channels, channels, 7, 2, 3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1)
        else:
            self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.stages = [f"layer{i}" for i in range(1, len(depths) + 1)]
        for i, (name, depth, width) in enumerate(zip(self.stages, depths, widths, strict=True)):
            make = partial(block, shortcut=shortcut, kernel=kernel)
            self.add_module(name, make_stage(make, channels, width, depth, 2 if i > 0 else 1, block.expansion))
            channels = width * block.expansion
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def cifar_resnet(
    depth: int, num_classes: int = 10, in_channels: int = 3, widths: tuple[int, int, int] = (16, 32, 64), width: float = 1, kernel: int = 3
) -> ResNet:
    """ResNet of depth 6n + 2 for small images (arXiv 1512.03385, section 4.2): 3 stages of n basic blocks.

    ``width`` is a factor of the stages' ``widths``.
    """
    blocks, widths = (depth - 2) // 6, tuple(round(width * each) for each in widths)  # type: ignore[assignment]
    return ResNet(BasicBlock, (blocks,) * 3, widths, PadShortcut, False, num_classes, in_channels, kernel)


def imagenet_resnet(depths: tuple[int, int, int, int], num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """Bottleneck ResNet for 224x224 images (arXiv 1512.03385, table 1)."""
    return ResNet(Bottleneck, depths, (64, 128, 256, 512), ProjectionShortcut, True, num_classes, in_channels)


def resnext(depths: tuple[int, int, int, int], num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNeXt 32x4d for 224x224 images (arXiv 1611.05431, table 1)."""
    return ResNet(ResNeXtBottleneck, depths, (128, 256, 512, 1024), ProjectionShortcut, True, num_classes, in_channels)


BUILDERS = {
    **{f"resnet{depth}": partial(cifar_resnet, depth) for depth in (8, 20, 56, 110)},
    "resnet50": partial(imagenet_resnet, (3, 4, 6, 3)),
    "resnet101": partial(imagenet_resnet, (3, 4, 23, 3)),
    "resnet152": partial(imagenet_resnet, (3, 8, 36, 3)),
    "resnext50": partial(resnext, (3, 4, 6, 3)),
    "resnext101": partial(resnext, (3, 4, 23, 3)),
}
