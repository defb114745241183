"""Exact parameters and MACs of an SE block in closed form, and of a plain network by one pass without arithmetic.

One MAC is one multiply-accumulate of a convolution or a linear layer, the SE block's own included. Pooling, batch
norm, activations, biases and the final scaling are elementwise or reductions: they are not MACs and are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from se_nas.architecture import SEOptions, SESpec, hidden_width
from se_nas.se import SQUEEZES


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-accumulates of one forward pass of one image."""

    params: int = 0
    macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.params - other.params, self.macs - other.macs)


METRICS = ("params", "macs")
"""The costs that are known before training."""


def se_cost(channels: int, height: int, width: int, spec: SESpec, options: SEOptions) -> Cost:
    """What an SE block adds on a tensor of (channels, height, width): eq. 5 of the paper, and its MACs."""
    hidden = hidden_width(channels, spec.reduction, options.divisor)
    weights = 2 * channels * hidden
    biases = channels + hidden if options.bias else 0
    strength = 1 if options.init == "identity" else 0
    positions = height * width if SQUEEZES[spec.squeeze].spatial else 1
    return Cost(weights + biases + strength, weights * positions)


def count(network: nn.Module, images: Tensor) -> tuple[Cost, Tensor]:
    """Cost of a network as built, by running it once on ``images`` (1, C, H, W), and its output."""
    with FlopCounterMode(display=False) as counter:
        output = network(images)
    params = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Cost(params, counter.get_total_flops() // 2), output
