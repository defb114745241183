"""The cost of a plain network, by one pass without arithmetic.

One MAC is one multiply-accumulate of a convolution or a linear layer. Pooling, batch norm, activations and biases are
no MACs, and of a plain network they are not counted.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from se_nas.se.cost import Cost


def count(network: nn.Module, images: Tensor) -> tuple[Cost, Tensor]:
    """Parameters and MACs of a network as built, by running it once on ``images`` (1, C, H, W), and its output."""
    with FlopCounterMode(display=False) as counter:
        output = network(images)
    params = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Cost(params, counter.get_total_flops() // 2), output


def count_quickly(network: nn.Module, size: tuple[int, int, int]) -> Cost:
    """`count` on an image of (C, H, W), without arithmetic unless the network computes with the values of its tensors."""
    try:
        return count(copy.deepcopy(network).to("meta").eval(), torch.empty(1, *size, device="meta"))[0]
    except Exception:
        return count(network.eval(), torch.zeros(1, *size))[0]
