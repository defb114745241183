"""How many trials run at a time on Ray, and how many CPUs and GPUs each gets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from se_nas.errors import InputError
from se_nas.run.settings import SearchSettings


@dataclass(frozen=True)
class WorkerResources:
    """What the workers get.

    Attributes:
        workers: number of trials at a time.
        cpus: cores for each.
        gpus: GPUs for each; below 1, a share of one GPU.
    """

    workers: int
    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    @property
    def to_a_gpu(self) -> int:
        """Number of trials that share one GPU; 0 without GPUs."""
        return max(1, math.floor(1 / self.gpus + 1e-9)) if self.gpus else 0

    def looser(self) -> WorkerResources | None:
        """The same with half as many trials on each GPU; None if no GPU is shared."""
        if self.to_a_gpu <= 1:
            return None
        share = 1 / (self.to_a_gpu // 2)
        return replace(self, gpus=share, workers=max(1, math.floor(self.workers * self.gpus / share)))


def choose_resources(settings: SearchSettings, threads: int, cores: float, gpus: float) -> WorkerResources:
    """Resources as the settings ask for them; what they leave open is filled with what fits.

    Args:
        settings: ``workers``, ``cpus_per_trial``, ``gpus_per_trial`` and ``device`` are used.
        threads: CPU threads of a trial.
        cores: number of cores in the machine or cluster.
        gpus: number of GPUs in the machine or cluster.

    Raises:
        InputError: if the settings ask for more GPUs than there are, or for a number that cannot be given.
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
    return WorkerResources(workers, cpus, share)


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
    """Raise if latency would be measured while other trials use the same GPU."""
    if 0 < share < 1 and any("latency" in name for name in settings.objectives):
        raise InputError("latency cannot be measured on a GPU that trials share", "take --gpus-per-trial 1", "--gpus-per-trial")


def check_memory(need: int, resources: WorkerResources, memory: int) -> None:
    """Check that the trials on one GPU fit into its memory. One trial alone is always allowed, since this is an estimate.

    Args:
        need: estimated bytes that training the largest candidate needs.
        resources: of the workers.
        memory: bytes of the smallest GPU.

    Raises:
        InputError: if they do not fit.
    """
    fitting = max(memory // need, 1)
    if resources.to_a_gpu > fitting:
        size, largest = f"{memory / 2**30:.1f} GiB", f"{need / 2**30:.1f} GiB"
        raise InputError(
            f"{resources.to_a_gpu} trials to a GPU of {size}, where the largest candidate needs about {largest}",
            f"take --gpus-per-trial {math.ceil(100 / fitting) / 100:g} or more, or a smaller train.batch_size",
            "--gpus-per-trial",
        )
