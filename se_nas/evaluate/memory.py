"""How much memory the training of a network takes, estimated on the CPU, and how much is free."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

BATCH = 2  # images in the sample; what autograd keeps grows in proportion
CONTEXT = 600 * 2**20
"""Bytes allowed for a process's CUDA context and libraries: an allowance, not a measurement."""
SLACK = 1.25
"""Factor on what autograd keeps, for work space and fragmentation: an allowance, not a measurement."""


def training_memory(network: nn.Module, size: tuple[int, int, int], batch_size: int, half: bool) -> int:
    """Estimated bytes of a training step: parameters, gradients, momentum, and what autograd keeps for the backward pass.

    Args:
        network: on the CPU; it is run once in training mode.
        size: (C, H, W) of an image.
        batch_size: images per step.
        half: whether activations are kept in 16 bits (mixed precision).
    """
    weights = {p.data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)  # keep it alive, or its address would be used again
        return tensor

    held: list[Tensor] = []
    network.train()
    with torch.random.fork_rng([]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(torch.rand(BATCH, *size))
        del output
    activations = sum(kept.values()) / BATCH * batch_size * (0.5 if half else 1)
    parameters = sum(p.numel() * p.element_size() for p in network.parameters())
    return int(CONTEXT + 3 * parameters + SLACK * activations)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; 0 where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def how_many_fit(each: int, number: int, free: int) -> int:
    """``number``, or that halved until so many trainings of ``each`` bytes (see `training_memory`) fit into the free ones."""
    while number > 1 and free and CONTEXT + number * (each - CONTEXT) > free:
        number //= 2
    return number
