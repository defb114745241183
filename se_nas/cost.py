"""What an architecture costs, as a value, and the cost of a plain network by one pass without arithmetic.

One MAC is one multiply-accumulate of a convolution or a linear layer, the SE block's own included. Pooling, batch
norm, activations, biases and the final scaling are no MACs. What the SE blocks do of those is counted apart, in units
of its own that are never mixed in (`se_nas.secost` has the convention); of the plain backbone it is not counted.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):  # a tuple: strategies make a great many of them
    """What one forward pass of one image takes; costs add up field by field.

    Attributes:
        params: trainable parameters.
        macs: multiply-accumulates of convolutions and linear layers.
        elementwise: elementwise operations of the SE blocks, one for each element that an operator writes.
        reductions: reduction operations of the SE blocks, one for each element that an operator reduces.
        bytes: that the SE blocks' operators read and write, in float32.
    """

    params: int = 0
    macs: int = 0
    elementwise: int = 0
    reductions: int = 0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(a - b for a, b in zip(self, other, strict=True)))


METRICS = ("params", "macs")
"""The costs that budgets may limit."""


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
