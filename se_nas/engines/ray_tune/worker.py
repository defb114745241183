"""Runs in a worker process: one task after another, each in a thread. A task is a trial, or several that train as one network."""

from __future__ import annotations

import faulthandler
import gc
import os
import platform
import queue
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from se_nas.backbones import BACKBONES
from se_nas.engines.outcome import Outcome, evaluate_jobs
from se_nas.engines.plan import Job
from se_nas.evaluate import Apart, Evaluation, Evaluator, Report, takes_checkpoint
from se_nas.network.blocks import BLOCKS
from se_nas.se.block import GATES, SQUEEZES
from se_nas.space.architecture import Architecture

STATE = "partial.pt"
"""File name of a partial training, in a checkpoint and in the worker's own directory."""

PATIENCE = 20.0
"""Seconds for a thread to end before its process is replaced."""

_REGISTRIES: dict[str, dict[Any, Any]] = {"squeeze": SQUEEZES, "gate": GATES, "block": BLOCKS, "backbone": BACKBONES}


@dataclass(frozen=True)
class Registered:
    """The squeezes, gates, block classes and backbones that a process knows. A worker has not run the user's registrations."""

    entries: Mapping[str, Mapping[Any, Any]]

    @classmethod
    def here(cls) -> Registered:
        """Those of this process."""
        return cls({name: dict(registry) for name, registry in _REGISTRIES.items()})

    def install(self) -> None:
        """Add them to this process's registries."""
        for name, entries in self.entries.items():
            _REGISTRIES[name].update(entries)


@dataclass(frozen=True)
class WorkerKit:
    """What every worker needs. It is sent to each once.

    Attributes:
        evaluator: gives an architecture its metrics.
        registered: what is registered in the process of the search.
        device: ``cpu`` or ``cuda``.
        weights: whether to keep trained weights.
        timeout: seconds that a trial may take; 0 for no limit.
        checkpoint_seconds: a lost worker costs at most so many seconds of training.
    """

    evaluator: Evaluator
    registered: Registered
    device: str
    weights: bool
    timeout: float
    checkpoint_seconds: float


@dataclass(frozen=True)
class Task:
    """What a worker gets at a time.

    Attributes:
        jobs: what to try: one, or several that train as one network.
        over: why there is nothing to run; empty if there is. A trial that hung is not begun again, for instance.
        lr: factor on the learning rate, for population based training.
    """

    jobs: Sequence[Job]
    over: str = ""
    lr: float = 1.0

    @property
    def job(self) -> Job:
        """The only one, where there is a scheduler."""
        (job,) = self.jobs
        return job

    def __repr__(self) -> str:
        return f"trial {self.jobs[0].number}"  # Tune puts it into names of directories


@dataclass(frozen=True)
class EpochReport:
    """How far a running trial is, after one of its epochs."""

    number: int
    epoch: int
    epochs: int
    metrics: Mapping[str, float]


Message = EpochReport | Sequence[Outcome] | Apart
"""From a task's thread. The last one is the outcome of each job, or why they cannot be tried together."""


class _Ended(BaseException):
    """Raised from the report of a task's thread, to end the thread."""


class _Sending:
    """The kit's evaluator for one task: with its checkpoint and learning rate. Weights go into Ray's object store."""

    def __init__(self, kit: WorkerKit, lr: float, state: Path) -> None:
        self._evaluator: Any = kit.evaluator
        self._weights, self._lr = kit.weights, lr
        self._more = {"checkpoint": state} if takes_checkpoint(kit.evaluator) else {}

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        evaluator = self._evaluator if self._lr == 1.0 else self._evaluator.with_learning_rate(self._lr)
        return self._sent(evaluator(architecture, seed, fidelity, device, report, **self._more))

    def together(self, *asked: Any) -> list[Any]:
        """As the evaluator's own. There is no checkpoint: several whose worker dies begin anew."""
        return [self._sent(each) if isinstance(each, Evaluation) else each for each in self._evaluator.together(*asked)]

    def _sent(self, evaluation: Evaluation) -> Evaluation:
        weights: Any = ray.put(evaluation.weights) if self._weights and evaluation.weights else None
        return Evaluation(dict(evaluation.metrics), weights)


class TaskThread:
    """A task in a thread. A single trial waits after each epoch until `step` is called again: a scheduler may end it there.

    Args:
        kit: how to evaluate.
        task: what to evaluate.
        directory: the worker's own; holds the partial training.

    Attributes:
        spoilt: whether a CUDA error has left the process unusable.
    """

    def __init__(self, kit: WorkerKit, task: Task, directory: Path) -> None:
        self._kit, self._task = kit, task
        self._state = directory / STATE
        self._state.unlink(missing_ok=True)
        self._messages: queue.Queue[Message] = queue.Queue()
        self._go = threading.Semaphore(0)
        self._ended = False
        self._thread: threading.Thread | None = None
        self.spoilt = False

    def step(self) -> list[Message]:
        """Run to the end of the next epoch of a trial, or to the end. Returns what has been said since the last step."""
        if self._task.over:
            return [[Outcome("failed", error=self._task.over, worker=where(self._kit.device)) for _ in self._task.jobs]]
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name=str(self._task))
            self._thread.start()
        else:
            self._go.release()
        messages = [self._messages.get()]
        while not self._messages.empty():
            messages.append(self._messages.get())
        return messages

    def end(self) -> bool:
        """Stop the thread at its next report. False if it has not ended within `PATIENCE`."""
        if self._thread is None:
            return True
        self._ended = True
        self._go.release()
        self._thread.join(PATIENCE)
        self._state.unlink(missing_ok=True)
        return not self._thread.is_alive()

    def save(self, directory: Path) -> None:
        """Copy the partial training into a checkpoint, if there is one."""
        if self._state.exists():
            shutil.copyfile(self._state, directory / STATE)

    def load(self, directory: Path) -> None:
        """Take the partial training from a checkpoint, if there is one."""
        if (directory / STATE).exists():
            shutil.copyfile(directory / STATE, self._state)

    def _run(self) -> None:
        kit, task = self._kit, self._task
        reports = [partial(self._report, job.number) for job in task.jobs]
        try:
            evaluator = _Sending(kit, task.lr, self._state)
            outcomes = evaluate_jobs(evaluator, task.jobs, kit.device, reports, where(kit.device))
        except _Ended:
            return
        except Apart as reason:
            self._end_with(reason, str(reason))
            return
        errors = " ".join(outcome.error or "" for outcome in outcomes if outcome.status != "memory")
        self._end_with([replace(outcome, cause=None) for outcome in outcomes], errors)  # an exception need not be picklable

    def _end_with(self, message: Message, errors: str) -> None:
        self.spoilt = "CUDA error" in errors  # it stays with the process
        self._messages.put(message)

    def _report(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if epoch >= epochs:
            return  # the outcome follows at once
        self._messages.put(EpochReport(number, epoch, epochs, dict(metrics)))
        if len(self._task.jobs) == 1:
            self._go.acquire()
        if self._ended:
            raise _Ended


class TrialActor(tune.Trainable):
    """The worker as Tune sees it. A step is an epoch, or less of several trials; the config holds a `Task`."""

    def setup(self, config: dict[str, Any], kit: WorkerKit) -> None:
        kit.registered.install()
        self._kit = kit
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if not self._work.end() or self._work.spoilt:
            os._exit(1)  # the thread hangs or the GPU is unusable: Tune runs this trial in a new process
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._kit.timeout:
            # this watchdog needs no Python, so it also ends a process that hangs in C code
            faulthandler.dump_traceback_later(max(self._kit.timeout * len(self._task.jobs) - self._used, 0.001), exit=True)
        clock = time.monotonic()
        messages = self._work.step()
        faulthandler.cancel_dump_traceback_later()
        self._used += time.monotonic() - clock
        last = messages[-1]
        if isinstance(last, EpochReport):
            save = self._resumable and time.monotonic() - self._saved >= self._kit.checkpoint_seconds
            return {"messages": messages, "epoch": last.epoch, "score": self._score(last.metrics), "should_checkpoint": save}
        self._tidy()
        score = self._score({} if isinstance(last, Apart) else last[0].metrics)
        return {"messages": messages, "done": True, "epoch": self._task.jobs[0].fidelity.get("epochs", 1), "score": score}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self._work.save(Path(checkpoint_dir))
        self._saved = time.monotonic()

    def load_checkpoint(self, checkpoint: Any) -> None:
        self._work.load(Path(checkpoint))

    def cleanup(self) -> None:
        self._work.end()

    def _begin(self, config: dict[str, Any]) -> None:
        task: Task = config["task"]
        self._task = replace(task, lr=config.get("lr", 1.0))
        self._metric, self._sign = config.get("metric", ("accuracy", 1.0))
        self._work = TaskThread(self._kit, self._task, Path(self.logdir))
        self._used, self._saved = 0.0, time.monotonic()
        self._resumable = takes_checkpoint(self._kit.evaluator) and len(self._task.jobs) == 1

    def _score(self, metrics: Mapping[str, float]) -> float:
        """What a scheduler compares. Larger is better; a failed trial is the worst."""
        return self._sign * metrics[self._metric] if self._metric in metrics else float("-inf")

    def _tidy(self) -> None:
        """Free GPU memory for other trials on the same GPU."""
        if self._kit.device != "cpu" and torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()


def fitting(kit: WorkerKit, number: int) -> int:
    """How many of ``number`` trials train together in the memory that is free on this machine. Runs there, before any trial."""
    kit.registered.install()
    evaluator: Any = kit.evaluator
    return int(evaluator.fits_together(kit.device, number))


def where(device: str) -> str:
    """This process, for the ledger: ``ray:HOST:PROCESS:DEVICE``."""
    return f"ray:{platform.node()}:{os.getpid()}:{device}"
