"""How many trials of NNI's training service run at a time, and what each gets."""

from __future__ import annotations

import os
from dataclasses import dataclass

from se_nas.errors import InputError
from se_nas.run.settings import SearchSettings


@dataclass(frozen=True)
class Packing:
    """What NNI is told of trials and GPUs.

    Attributes:
        workers: trials at a time.
        gpus: that a trial is given; None leaves GPUs alone, 0 hides them.
        to_a_gpu: trials that share one GPU.
    """

    workers: int
    gpus: int | None
    to_a_gpu: int


def pack(settings: SearchSettings, threads: int, machines: int) -> Packing:
    """Trials at a time from the settings.

    Args:
        settings: of the search.
        threads: of the CPU that a trial uses.
        machines: how many trials may run on; 0 for this one alone.

    Raises:
        InputError: for a number of GPUs that NNI cannot give.
    """
    here = 0 if machines else _gpus_here()
    asked = settings.gpus_per_trial if settings.gpus_per_trial is not None else (None if machines else min(1, here))
    if settings.device == "cpu":
        asked = 0
    if asked and asked > 1 and asked != int(asked):
        raise InputError(f"{asked:g} GPUs a trial", "take a whole number, or a share of one such as 0.25", "--gpus-per-trial")
    if asked and not machines and asked > here:
        raise InputError(f"{asked:g} GPUs a trial, and this machine has {here}", "take fewer", "--gpus-per-trial")
    to_a_gpu = int(1 / asked) if asked and asked < 1 else 1
    gpus = None if asked is None else -int(-asked // 1)
    return Packing(settings.workers or _room(settings.cpus_per_trial or threads, machines, here, asked, to_a_gpu), gpus, to_a_gpu)


def _room(cores_each: float, machines: int, gpus: int, asked: float | None, to_a_gpu: int) -> int:
    """As many as fit."""
    if machines:
        return machines * to_a_gpu
    if asked:
        return int(gpus // asked) if asked >= 1 else gpus * to_a_gpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(cores // cores_each))


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
