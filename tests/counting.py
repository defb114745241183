"""An independent count of what a network costs: hooks on every convolution and linear layer of the built network."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def count_by_hooks(network: nn.Module, *inputs: torch.Tensor, **named: torch.Tensor) -> tuple[int, int]:
    """Parameters and MACs of one forward pass on inputs of a batch of one."""
    macs = 0

    def add(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(module, _ConvTransposeNd):
            macs += inputs[0].numel() * module.out_channels // module.groups * math.prod(module.kernel_size)
        elif isinstance(module, _ConvNd):
            macs += output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
        else:
            macs += output.numel() * module.in_features

    handles = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, (_ConvNd, nn.Linear))]
    with torch.no_grad():
        network.eval()(*inputs, **named)
    for handle in handles:
        handle.remove()
    return sum(p.numel() for p in network.parameters()), macs
