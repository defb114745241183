"""Random weights and statistics with which every part of a network matters: fresh ones hide errors."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from se_nas.exporter.proof.alone import Given
from se_nas.se.block import SEBlock


def randomise(network: nn.Module, given: Given, seed: int) -> None:
    """Give a network weights that leave nothing at one or zero, and batch norm statistics that suit them, in place.

    A fresh batch norm scales by 1 and shifts by 0, a fresh layer scale is near 0, and statistics of 0 and 1 let values
    grow from block to block until gates are shut or full. Here the statistics are those of ``given``, slightly disturbed.

    Args:
        network: the network.
        given: a batch of several; if the network refuses it in training mode, its statistics stay as they are.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    blocks = [module for module in network.modules() if isinstance(module, SEBlock)]
    inside = {id(parameter) for block in blocks for parameter in block.parameters()}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.rand(parameter.shape, generator=generator)
            if id(parameter) in inside:  # positive, lest a ReLU shuts a block, and with sums that differ from channel to channel
                rows = torch.rand(parameter.shape[:1], generator=generator).reshape(-1, *[1] * (parameter.dim() - 1))
                parameter.copy_(4 * noise * rows / parameter[0].numel() if parameter.dim() > 1 else noise)
            elif name.endswith("bias"):
                parameter.copy_(noise * 0.5)
            elif parameter.dim() <= 1 or bool((parameter == parameter.flatten()[0]).all()):
                parameter.copy_(0.5 + noise)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]
    _calibrate(network, norms, given)
    for norm in norms:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        variance.clamp_(min=0.01 * float(variance.mean()))  # of a channel that is shut
        mean += 0.1 * variance.sqrt() * torch.randn(mean.shape, generator=generator)
        variance *= 0.8 + 0.4 * torch.rand(variance.shape, generator=generator)


def _calibrate(network: nn.Module, norms: list[_BatchNorm], given: Given) -> None:
    """Set the statistics to those of these inputs, by one pass in training mode."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            given.of(network.train())
    except Exception:  # said by the proof, which runs the same pass
        pass
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
