"""How many trials run at a time, and what each gets of the CPUs and GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from se_nas.errors import InputError
from se_nas.run.settings import SearchSettings


@dataclass(frozen=True)
class Packing:
    """Who gets what.

    Attributes:
        workers: trials at a time.
        cpus: cores of each.
        gpus: GPUs of each, or a share of one.
    """

    workers: int
    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    @property
    def to_a_gpu(self) -> int:
        """Trials that share one GPU."""
        return max(1, math.floor(1 / self.gpus + 1e-9)) if self.gpus else 0

    def looser(self) -> Packing | None:
        """With half as many trials to a GPU; None where each has one alone already."""
        if self.to_a_gpu <= 1:
            return None
        share = 1 / (self.to_a_gpu // 2)
        return replace(self, gpus=share, workers=max(1, math.floor(self.workers * self.gpus / share)))


def pack(settings: SearchSettings, threads: int, cores: float, gpus: float) -> Packing:
    """What the settings ask for, and where they leave it open, what fits.

    Args:
        settings: workers, CPUs and GPUs of each, device.
        threads: that a trial wants on the CPU.
        cores: of the machine or cluster.
        gpus: of the machine or cluster.

    Raises:
        InputError: if a trial asks for GPUs that are not there or cannot be had.
    """
    share = _share(settings, gpus)
    _check_latency(settings, share)
    fitting = math.floor(gpus / share + 1e-9) if share else math.floor(cores / (settings.cpus_per_trial or threads))
    if share and settings.workers > fitting:
        raise InputError(
            f"{settings.workers} workers with {share:g} GPUs each need {settings.workers * share:g}, and {gpus:g} are there",
            f"take at most --workers {fitting}, or a smaller share",
            "--gpus-per-trial",
        )
    workers = settings.workers or max(1, fitting)
    cpus = settings.cpus_per_trial or (max(1, math.floor(cores / workers)) if share else threads)
    return Packing(workers, cpus, share)


def _share(settings: SearchSettings, gpus: float) -> float:
    share = settings.gpus_per_trial
    if share is None:
        share = 1.0 if gpus and settings.device != "cpu" else 0.0
    if share > 1 and share != int(share):
        raise InputError(f"{share:g} GPUs cannot be given to a trial", "take a share of one, or a whole number", "--gpus-per-trial")
    if share > gpus:
        raise InputError(
            f"a trial asks for {share:g} GPUs, and {gpus:g} are there", "take fewer, or --gpus-per-trial 0", "--gpus-per-trial"
        )
    if share and settings.device == "cpu":
        raise InputError(f"trials on the CPU ask for {share:g} GPUs each", "take --device auto, or --gpus-per-trial 0", "--gpus-per-trial")
    if not share and settings.device.startswith("cuda"):
        raise InputError("trials on a GPU have none", "take --gpus-per-trial 1, on a machine that has one", "--device")
    return share


def _check_latency(settings: SearchSettings, share: float) -> None:
    """A latency that is measured while others use the same GPU says nothing."""
    if 0 < share < 1 and any("latency" in name for name in settings.objectives):
        raise InputError("latency cannot be measured on a GPU that trials share", "take --gpus-per-trial 1", "--gpus-per-trial")


def check_memory(need: int, packing: Packing, memory: int) -> None:
    """Raise where so many trials cannot share a GPU.

    Args:
        need: bytes that the largest candidate is estimated to need.
        packing: how many share one.
        memory: bytes of the smallest GPU.
    """
    fitting = max(memory // need, 1)
    if packing.to_a_gpu > fitting:
        size, largest = f"{memory / 2**30:.1f} GiB", f"{need / 2**30:.1f} GiB"
        raise InputError(
            f"{packing.to_a_gpu} trials to a GPU of {size}, where the largest candidate needs about {largest}",
            f"take --gpus-per-trial {math.ceil(100 / fitting) / 100:g} or more, or a smaller train.batch_size",
            "--gpus-per-trial",
        )
