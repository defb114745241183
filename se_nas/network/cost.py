"""The cost of a plain network, by one pass without arithmetic.

One MAC is one multiply-accumulate of a convolution or a linear layer, on whatever device it runs. Products of two things
that are both computed from the inputs (attention's), pooling, batch norm, activations and biases are no MACs.
"""

from __future__ import annotations

import copy

from torch import nn

from se_nas.network.graph import trace
from se_nas.network.inputs import Inputs
from se_nas.se.cost import Cost


def count(network: nn.Module, inputs: Inputs) -> Cost:
    """Parameters, frozen or not, and MACs of one call of a network as built, without arithmetic unless it computes with values."""
    try:
        graph, _ = trace(copy.deepcopy(network).to("meta").eval(), inputs.to("meta"))
    except Exception:
        graph, _ = trace(copy.deepcopy(network).cpu().eval(), inputs.to("cpu"))
    return Cost(count_params(network), graph.macs)


def count_params(network: nn.Module, trainable: bool = False) -> int:
    """Elements of a network's parameters; of the trainable ones alone if so asked."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad or not trainable)
