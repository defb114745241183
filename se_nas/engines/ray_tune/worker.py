"""What runs in a worker process: one trial after another, each in a thread that pauses at its reports."""

from __future__ import annotations

import faulthandler
import gc
import os
import platform
import queue
import shutil
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from se_nas.engines.plan import Job
from se_nas.engines.ray_tune.operators import Operators
from se_nas.engines.recorder import check_finite
from se_nas.errors import InputError, OutOfMemory, TrialFailed
from se_nas.evaluate import Evaluation, Evaluator, takes_checkpoint
from se_nas.space.space import REFERENCES

STATE = "partial.pt"
"""A partial training's file, in a checkpoint and in the worker's own directory."""

PATIENCE = 20.0
"""Seconds that a trial which is to end has for it, before its process is replaced."""


@dataclass(frozen=True)
class Kit:
    """What every worker needs, sent to each once.

    Attributes:
        evaluator: what gives an architecture its metrics.
        operators: those that the person registered in the process of the search.
        device: ``cpu`` or ``cuda``.
        weights: whether trained weights are wanted.
        timeout: seconds that a trial may take; 0 for no limit.
        checkpoint_seconds: at most so much of a training is lost with a worker.
    """

    evaluator: Evaluator
    operators: Operators
    device: str
    weights: bool
    timeout: float
    checkpoint_seconds: float


@dataclass(frozen=True)
class Task:
    """A job as a worker gets it.

    Attributes:
        job: what to try.
        over: why it is over already: a worker that was lost to a time limit is not started on the same again.
        lr: factor on the learning rate (population based training).
    """

    job: Job
    over: str = ""
    lr: float = 1.0

    def __repr__(self) -> str:
        return f"trial {self.job.number}"  # Tune writes it into names of directories


@dataclass(frozen=True)
class Progress:
    """A report of a trial that goes on."""

    epoch: int
    epochs: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """The end of a trial.

    Attributes:
        metrics: of one that is complete.
        status: ``complete``, ``failed``, ``memory`` (the GPU's was too small) or ``broken`` (no trial's fault).
        error: why it is not complete.
        weights: reference to the trained weights in Ray's object store.
        seconds: that it took, in this process.
        worker: where.
    """

    metrics: dict[str, float]
    status: str = "complete"
    error: str | None = None
    weights: Any = None
    seconds: float = 0.0
    worker: str = ""


class _Ended(BaseException):
    """Raised in a trial's thread, out of its report, to end it."""


class Work:
    """One trial in a thread, which waits in each report until `step` is called again.

    Args:
        kit: what to evaluate with.
        task: what.
        directory: of the worker's own, for the partial training.
    """

    def __init__(self, kit: Kit, task: Task, directory: Path) -> None:
        self._kit, self._task = kit, task
        self._state = directory / STATE
        self._state.unlink(missing_ok=True)
        self._messages: queue.Queue[Progress | Outcome] = queue.Queue()
        self._go = threading.Semaphore(0)
        self._ended = False
        self._thread: threading.Thread | None = None
        self.spoilt = False

    def step(self) -> Progress | Outcome:
        """Go on to the next report, or to the end."""
        if self._task.over:
            return Outcome({}, "failed", self._task.over, worker=where(self._kit.device))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name=str(self._task))
            self._thread.start()
        else:
            self._go.release()
        return self._messages.get()

    def end(self) -> bool:
        """End it wherever it is; whether it did end."""
        if self._thread is None:
            return True
        self._ended = True
        self._go.release()
        self._thread.join(PATIENCE)
        self._state.unlink(missing_ok=True)
        return not self._thread.is_alive()

    def save(self, directory: Path) -> None:
        """Copy the partial training, if there is one."""
        if self._state.exists():
            shutil.copyfile(self._state, directory / STATE)

    def load(self, directory: Path) -> None:
        """Begin with a partial training, if there is one."""
        if (directory / STATE).exists():
            shutil.copyfile(directory / STATE, self._state)

    def _run(self) -> None:
        clock, outcome = time.perf_counter(), None
        try:
            outcome = self._evaluate()
        except _Ended:
            return
        seconds = round(time.perf_counter() - clock, 3)
        self._messages.put(replace(outcome, seconds=seconds, worker=where(self._kit.device)))

    def _evaluate(self) -> Outcome:
        try:
            evaluation = self._call()
            check_finite(evaluation.metrics)
            wanted = self._kit.weights and evaluation.weights
            return Outcome(dict(evaluation.metrics), weights=ray.put(evaluation.weights) if wanted else None)
        except (OutOfMemory, torch.cuda.OutOfMemoryError) as error:
            return Outcome({}, "memory", str(error).partition(". Tried")[0])
        except TrialFailed as error:
            return Outcome({}, "failed", str(error))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self.spoilt = "CUDA error" in text  # such an error stays with the process
            if self._task.job.role not in REFERENCES:
                return Outcome({}, "failed", text)
            # not an architecture's fault: the search is set up wrongly
            return Outcome({}, "broken", str(error) if isinstance(error, InputError) else traceback.format_exc())

    def _call(self) -> Evaluation:
        job, evaluator = self._task.job, self._kit.evaluator
        more: dict[str, Any] = {"checkpoint": self._state} if takes_checkpoint(evaluator) else {}
        if self._task.lr != 1.0:
            evaluator = evaluator.with_learning_rate(self._task.lr)  # type: ignore[attr-defined]
        return evaluator(job.architecture, job.seed, job.fidelity, self._kit.device, self._report, **more)

    def _report(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if epoch >= epochs:
            return  # what follows is the end, and that is told at once
        self._messages.put(Progress(epoch, epochs, dict(metrics)))
        self._go.acquire()
        if self._ended:
            raise _Ended


class TrialActor(tune.Trainable):
    """Tune's side of a worker. A step is an epoch; the config holds a `Task`."""

    def setup(self, config: dict[str, Any], kit: Kit) -> None:
        kit.operators.install()
        self._kit = kit
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if not self._work.end() or self._work.spoilt:
            os._exit(1)  # a thread that hangs, or a GPU in disorder: Tune starts another process, and this trial there
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._kit.timeout:
            # a watchdog that needs no Python: it ends a process that hangs in C code, too
            faulthandler.dump_traceback_later(max(self._kit.timeout - self._used, 0.001), exit=True)
        clock = time.monotonic()
        message = self._work.step()
        faulthandler.cancel_dump_traceback_later()
        self._used += time.monotonic() - clock
        if isinstance(message, Outcome):
            self._tidy()
            score = self._score(message.metrics)
            return {"done": True, "outcome": message, "epoch": self._task.job.fidelity.get("epochs", 1), "score": score}
        save = self._resumable and time.monotonic() - self._saved >= self._kit.checkpoint_seconds
        return {"progress": message, "epoch": message.epoch, "score": self._score(message.metrics), "should_checkpoint": save}

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
        self._work = Work(self._kit, self._task, Path(self.logdir))
        self._used, self._saved = 0.0, time.monotonic()
        self._resumable = takes_checkpoint(self._kit.evaluator)

    def _score(self, metrics: Mapping[str, float]) -> float:
        """What a scheduler compares: larger is better, a failed trial the worst."""
        return self._sign * metrics[self._metric] if self._metric in metrics else float("-inf")

    def _tidy(self) -> None:
        """Give memory back: others may share the GPU."""
        if self._kit.device != "cpu" and torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()


def where(device: str) -> str:
    """``ray:HOST:PROCESS:cuda``"""
    return f"ray:{platform.node()}:{os.getpid()}:{device}"
