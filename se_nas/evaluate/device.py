"""The device that a trial runs on, and its random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from se_nas.errors import InputError


def find_device(name: str) -> torch.device:
    """The device of that name: ``cpu``, ``cuda`` (the first one) or ``cuda:0``.

    Raises:
        InputError: if it is unknown, or not there.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"{name!r} is not a device", "take cpu, cuda or cuda:0", "device")
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = device.index or 0
    if index >= count:
        raise InputError(f"{name!r} is not here: torch sees {count} CUDA devices", "take another one, or cpu", "device")
    return torch.device("cuda", index)


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds the device's and the CPU's random numbers and makes cuDNN deterministic; all of it is as before afterwards."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with torch.random.fork_rng([device.index] if device.type == "cuda" else []):
        # not torch.manual_seed: that seeds every CUDA device, and fork_rng keeps the state of one
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = before
