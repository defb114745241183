"""What became of a trial. Every engine decides it here: complete, failed, out of memory, stopped, or broken."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import torch

from se_nas.engines.plan import Job
from se_nas.errors import InputError, OutOfMemory, TrialFailed
from se_nas.evaluate import Apart, Evaluation, Evaluator, Report
from se_nas.run.trial import Trial
from se_nas.space.architecture import REFERENCES


@dataclass(frozen=True)
class Outcome:
    """How one job ended.

    Attributes:
        status: one of

            - ``complete``: it has metrics.
            - ``failed``: the architecture gives no metrics.
            - ``memory``: the device's memory was too small. With fewer trials on the device it may fit.
            - ``stopped``: a scheduler ended it early.
            - ``broken``: a reference raised an unexpected error. The search is set up wrongly and must end.
        metrics: name -> value; empty unless complete or stopped.
        weights: the trained state dict, or a reference to it in Ray's object store; None where there is none.
        error: why it is not complete; None if it is.
        worker: where it ran, ``local:cpu`` for instance.
        started: time in UTC, ISO 8601.
        seconds: wall-clock time of the evaluation.
        cause: the exception of a broken job, if it was raised in this process.
    """

    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    weights: Any = None
    error: str | None = None
    worker: str = ""
    started: str = ""
    seconds: float = 0.0
    cause: Exception | None = None

    def trial(self, job: Job, started: str = "", fidelity: Mapping[str, int] | None = None) -> Trial:
        """The ledger's line for this outcome. There ``memory`` is ``failed``.

        Args:
            job: the job that ended.
            started: replaces this outcome's own start time.
            fidelity: what a stopped job reached; None for the job's own.

        Raises:
            Exception: for a broken job: its cause, or RuntimeError if the cause stayed in another process.
        """
        if self.status == "broken":
            raise self.cause or RuntimeError(f"trial {job.number} ({job.role}) cannot be run: {self.error}")
        return Trial(
            **{**vars(job), "fidelity": fidelity or job.fidelity},
            status="failed" if self.status == "memory" else self.status,
            metrics=dict(self.metrics),
            error=self.error,
            worker=self.worker,
            started=started or self.started or utc_now(),
            seconds=round(self.seconds, 3),
        )


def evaluate_job(evaluator: Evaluator, job: Job, device: str, report: Report, worker: str) -> Outcome:
    """Evaluate a job's architecture in this process.

    Args:
        evaluator: gives the architecture its metrics.
        job: what to try.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        report: called after each epoch.
        worker: where this runs, for the ledger.

    Returns:
        The outcome. Every ``Exception`` becomes one; KeyboardInterrupt and its like pass through.
    """
    started, clock = utc_now(), time.perf_counter()
    evaluation, status, error, cause = Evaluation({}), "complete", None, None
    try:
        evaluation = evaluator(job.architecture, job.seed, job.fidelity, device, report)
        check_finite(evaluation.metrics)
    except Exception as raised:
        evaluation, (status, error) = Evaluation({}), _judge(raised, job)
        cause = raised if status == "broken" else None  # its frames hold tensors: keep no more of them than needed
    seconds = time.perf_counter() - clock
    return Outcome(status, evaluation.metrics, evaluation.weights, error, worker, started, seconds, cause)


def evaluate_jobs(evaluator: Evaluator, jobs: Sequence[Job], device: str, reports: Sequence[Report], worker: str) -> list[Outcome]:
    """Evaluate jobs in this process: a single one as `evaluate_job` does, several by the evaluator's ``together``.

    Args:
        evaluator: gives the architectures their metrics.
        jobs: what to try, of one seed, fidelity and backbone.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        reports: of each.
        worker: where this runs, for the ledger.

    Returns:
        The outcome of each. Of several, ``seconds`` is the share of the time that all took.

    Raises:
        Apart: if several cannot be evaluated together; nothing was evaluated.
    """
    if len(jobs) == 1:
        return [evaluate_job(evaluator, jobs[0], device, reports[0], worker)]
    started, clock = utc_now(), time.perf_counter()
    found = _together(evaluator, jobs, device, reports)
    if isinstance(found, Apart):
        raise found
    seconds = (time.perf_counter() - clock) / len(jobs)
    outcomes = []
    for job, each in zip(jobs, found, strict=True):
        evaluation, status, error, cause = each, "complete", None, None
        try:
            if isinstance(each, Exception):
                raise each
            check_finite(each.metrics)
        except Exception as raised:
            evaluation, (status, error) = Evaluation({}), _judge(raised, job)
            cause = raised if status == "broken" else None
        outcomes.append(Outcome(status, evaluation.metrics, evaluation.weights, error, worker, started, seconds, cause))
    return outcomes


def _together(evaluator: Any, jobs: Sequence[Job], device: str, reports: Sequence[Report]) -> list[Any] | Apart:
    """An `Evaluation` of each job, or an exception; or why there are none, without the frames of the error, which hold tensors."""
    try:
        found = list(evaluator.together([job.architecture for job in jobs], jobs[0].seed, jobs[0].fidelity, device, reports))
        if len(found) != len(jobs):
            raise ValueError(f"{len(found)} results of {len(jobs)} trials")
        return found
    except Apart as apart:
        return Apart(str(apart), min(apart.most, len(jobs) - 1))
    except (OutOfMemory, torch.cuda.OutOfMemoryError) as error:
        return Apart(_short(error), len(jobs) // 2)
    except Exception as raised:  # one after another, the trial that it is of fails alone
        return Apart(" ".join(f"{type(raised).__name__}: {raised}".split())[:200])


def _short(error: Exception) -> str:
    """What an error of too little memory says, without the figures of torch's allocator."""
    return str(error).partition(". Tried")[0]


def _judge(raised: Exception, job: Job) -> tuple[str, str]:
    """Status and error of what an evaluator raised; called while it is being handled."""
    if isinstance(raised, (OutOfMemory, torch.cuda.OutOfMemoryError)):
        return "memory", _short(raised)
    if isinstance(raised, TrialFailed):
        return "failed", str(raised)
    if job.role in REFERENCES:  # plain and paper must run, whatever is proposed
        return "broken", str(raised) if isinstance(raised, InputError) else traceback.format_exc()
    return "failed", f"{type(raised).__name__}: {raised}"


def lost(job: Job, reason: str, log: str, worker: str) -> Outcome:
    """The outcome of a job whose process ended without one: failed, or broken for a reference.

    Args:
        job: what was tried.
        reason: one line, for the ledger.
        log: what the process wrote last; shown only if the search ends.
        worker: where it ran.
    """
    if job.role in REFERENCES:
        return Outcome("broken", error=f"{reason}\n{log}", worker=worker)
    return Outcome("failed", error=reason, worker=worker)


def took_too_long(timeout: float) -> str:
    """The error of a trial that took more than ``timeout`` seconds."""
    return f"took more than {timeout:g} seconds (--trial-timeout)"


def check_finite(metrics: Mapping[str, float]) -> None:
    """Raise `TrialFailed` if a metric is NaN or infinite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrialFailed(f"{name} is {value}")


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
