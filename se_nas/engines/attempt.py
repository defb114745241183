"""One trial in this process: evaluate, and write down what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from se_nas.engines.plan import Job
from se_nas.engines.recorder import check_finite
from se_nas.errors import TrialFailed
from se_nas.evaluate import Evaluation, Evaluator
from se_nas.run.trial import Trial


def attempt(
    evaluator: Evaluator, job: Job, device: str, tell_epoch: Callable[[int, int, int, Mapping[str, float]], None], worker: str
) -> tuple[Trial, Evaluation | None]:
    """Run a job on a device.

    Args:
        evaluator: gives the architecture its metrics.
        job: what to try.
        device: ``cpu`` or ``cuda:N``.
        tell_epoch: hears of each epoch: number of the trial, epoch, epochs, metrics.
        worker: where it runs, for the record.

    Returns:
        The trial, failed or complete, and what the evaluator gave.

    Raises:
        Exception: whatever a reference fails with, unless it is a `TrialFailed`: the search is set up wrongly.
    """
    evaluation, error = None, None
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    try:
        evaluation = evaluator(
            job.architecture, job.seed, job.fidelity, device, lambda epoch, epochs, metrics: tell_epoch(job.number, epoch, epochs, metrics)
        )
        check_finite(evaluation.metrics)
    except TrialFailed as failure:
        evaluation, error = None, str(failure)
    except Exception as failure:
        if job.role != "proposal":
            raise  # not an architecture's fault
        evaluation, error = None, f"{type(failure).__name__}: {failure}"
    trial = Trial(
        **vars(job),
        status="failed" if error else "complete",
        metrics=evaluation.metrics if evaluation else {},
        error=error,
        worker=worker,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - clock, 3),
    )
    return trial, evaluation
