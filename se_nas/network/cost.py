"""Count the parameters and MACs of a plain network, by one pass on the meta device.

One MAC is one multiply-accumulate of a convolution or a linear layer; the count is the same on every device. Not counted:
products of two tensors that both depend on the input (as in attention), pooling, batch norm, activations and biases.
"""

from __future__ import annotations

import copy

from torch import nn

from se_nas.network.graph import trace
from se_nas.network.inputs import Inputs
from se_nas.se.cost import Cost


def count(network: nn.Module, inputs: Inputs) -> Cost:
    """Parameters (frozen ones too) and MACs of one call. Runs on the meta device, or on the CPU if the network reads values."""
    try:
        graph, _ = trace(copy.deepcopy(network).to("meta").eval(), inputs.to("meta"))
    except Exception:
        graph, _ = trace(copy.deepcopy(network).cpu().eval(), inputs.to("cpu"))
    return Cost(count_params(network), graph.macs)


def count_params(network: nn.Module, trainable: bool = False) -> int:
    """Number of parameters; with ``trainable``, of the trainable ones only."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad or not trainable)
