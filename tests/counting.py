"""An independent count of what a network costs: hooks on every convolution and linear layer of the built network."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def count_by_hooks(network: nn.Module, images: torch.Tensor) -> tuple[int, int]:
    """Parameters and MACs of one forward pass on images (1, C, H, W)."""
    macs = 0

    def add(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            macs += output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
        else:
            macs += output.numel() * module.in_features

    handles = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        network.eval()(images)
    for handle in handles:
        handle.remove()
    return sum(p.numel() for p in network.parameters()), macs
