"""Layers that several backbones share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless ``act`` is false, ReLU.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W'). At stride 1, H and W do not change, unless ``valid``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: size of the kernel, odd: one number, or (height, width).
        stride: stride of the convolution.
        groups: groups of the convolution.
        act: whether to end with a ReLU.
        valid: whether to leave out the padding.
        eps: epsilon of the batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
        valid: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = (0, 0) if valid else (height // 2, width // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps)
        if act:
            self.relu = nn.ReLU()


class Parallel(nn.ModuleList):
    """Branches on the same input; concatenates their outputs along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


def make_stage(
    block: Callable[[int, int, int], nn.Module], in_channels: int, width: int, depth: int, stride: int, expansion: int = 1
) -> nn.Sequential:
    """A stage of blocks. The first block takes the stage's stride and changes the channels.

    Args:
        block: makes a block from (in_channels, width, stride); the block has ``width * expansion`` output channels.
        in_channels: channels of the stage's input.
        width: width of the blocks.
        depth: number of blocks.
        stride: stride of the first block.
        expansion: output channels of a block, divided by its width.
    """
    return nn.Sequential(*(block(width * expansion if i else in_channels, width, 1 if i else stride) for i in range(depth)))


def init_convolutions(network: nn.Module) -> None:
    """Initialise every convolution as He et al. do (arXiv 1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
