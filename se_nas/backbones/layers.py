"""What several backbones are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless ``act`` is false, ReLU.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W'); at stride 1 height and width stay, unless ``valid``.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel: size, one number or (height, width).
        stride: of the convolution.
        groups: of the convolution.
        act: whether a ReLU follows.
        valid: no padding.
        eps: of the batch norm.
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
    """Branches that see the same input; their outputs, joined along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


def init_convolutions(network: nn.Module) -> None:
    """He et al.'s initialisation (arXiv 1502.01852) of every convolution."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
