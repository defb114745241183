"""The device that a trial runs on, its threads and its random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from se_nas.errors import InputError
from se_nas.text import shown


def find_device(name: str) -> torch.device:
    """The device with this name: ``cpu``, ``cuda`` (the first one) or ``cuda:0``.

    Raises:
        InputError: if it is unknown, or not there.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"{shown(name)} is not a device", "take cpu, cuda or cuda:0", "device")
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = device.index or 0
    if index >= count:
        raise InputError(f"{shown(name)} is not here: torch sees {count} CUDA devices", "take another one, or cpu", "device")
    return torch.device("cuda", index)


def choose_device(name: str) -> str:
    """``auto`` is the first GPU if there is one, else the CPU.

    Raises:
        InputError: for a device that is not there.
    """
    return str(find_device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name))


SMALL_STEP = 200_000_000
"""MACs of a forward pass of one batch, below which a second thread costs more than it brings (see benchmarks/threads.py)."""


def choose_threads(macs: int, batch_size: int) -> int:
    """Number of CPU threads for a network with this many MACs an image: one for small steps, else torch's own choice."""
    return 1 if macs * batch_size < SMALL_STEP else torch.get_num_threads()


@contextmanager
def reproducible(seed: int, device: torch.device, threads: int) -> Iterator[None]:
    """Seed the random numbers of device and CPU, make cuDNN deterministic and set the CPU threads; undo all of it at the end.

    Sums depend on the number of threads, so the same seed gives the same network only with the same number of threads.
    """
    cudnn = torch.backends.cudnn
    before, threads_before = (cudnn.deterministic, cudnn.benchmark), torch.get_num_threads()
    with torch.random.fork_rng([device.index] if device.type == "cuda" else []):
        # not torch.manual_seed: that seeds every CUDA device, and fork_rng keeps the state of one
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        cudnn.deterministic, cudnn.benchmark = True, False
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = before
            torch.set_num_threads(threads_before)
